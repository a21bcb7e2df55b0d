"""What MLflow is told, and what happens if it does not listen."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from jetloom.config import Training, parse_experiment
from jetloom.errors import JetloomError
from jetloom.system.masking import masked
from jetloom.tracking import tracker as tracking
from jetloom.tracking.description import DataInput, Description, describe
from jetloom.tracking.spool import Left
from jetloom.tracking.store import Store, choose_uri, open_client, open_store, prepare, unmasked
from jetloom.tracking.sync import send
from jetloom.tracking.tracker import Tracker
from jetloom.training.callbacks import Checkpoints
from jetloom.training.reporting import TrackerCallback
from tests.support.kills import OFTEN, Killed, die_after
from tests.support.outcome import assert_same
from tests.support.servers import free_port, wait_until

pytestmark = pytest.mark.seconds

DATA = DataInput("toy/train", "0123456789" * 6, "tensors/manifest.json", 600, "training")
SMALL = Description("exp/toy", "small-kin-s1", "small-kin", "0123", {"a": "1", "seed": "1"}, {"title": "Small"}, [DATA])


def summary(output: Path) -> dict:
    return json.loads((output / "training.json").read_text())


def run_of(output: Path):
    told = summary(output)["mlflow"]
    return open_client(told["uri"]).get_run(told["run_id"])


def run_id_in(scratch: Path) -> str | None:
    file = scratch / "mlflow.json"
    return json.loads(file.read_text())["run_id"] if file.is_file() else None


def write_store(path: Path, uri: str) -> Path:
    path.write_text(json.dumps({"uri": uri, "experiments": {"exp/toy": "1"}}))
    return path


def test_a_run_tells_everything(run_training, results, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    output = run_training(store=results / "mlflow.json", epochs=4, batch_size=16)
    run, told = run_of(output), summary(output)
    assert run.info.run_name == "small-kin-s1"
    assert run.info.status == "FINISHED"
    assert told["mlflow"]["not_sent"] == 0
    assert run.info.experiment_id == told["mlflow"]["experiment_id"]

    expected = {"model": "small", "architecture": "transformer", "seed": "1", "epochs": "4"}
    expected |= {"optimizer": "ranger", "model.heads": "2", "model.dropout": "0.1", "features": "kin"}
    assert expected.items() <= run.data.params.items()
    # What was not said counts too; what is not set says nothing.
    assert "model.readout" in run.data.params
    assert "None" not in run.data.params.values()
    tags = {"experiment": "exp", "dataset": "toy", "model": "small", "seed": "1", "slurm.job_id": "4711"}
    assert tags.items() <= run.data.tags.items()
    assert run.data.tags["snakemake.rule"] == "train_model"
    assert run.data.tags["snakemake.wildcards"] == "dataset=toy,model=small,seed=1"
    assert run.data.tags["git.commit"] == (told["git"]["commit"] or "unknown")
    assert run.data.tags["data.manifest_sha"] == told["data_digest"]
    assert {"git.dirty", "config.sha", "stage"} <= run.data.tags.keys()

    client = open_client(told["mlflow"]["uri"])
    epochs = client.get_metric_history(run.info.run_id, "val/accuracy")
    rows = [line.split(",") for line in (output / "history.csv").read_text().splitlines()[1:]]
    assert [point.value for point in epochs] == pytest.approx([float(row[5]) for row in rows])
    assert [point.step for point in epochs] == [int(row[1]) for row in rows]
    steps = client.get_metric_history(run.info.run_id, "train/step_loss")
    assert [point.step for point in steps] == list(range(20, 153, 20))
    assert "system/process_memory_mb" in run.data.metrics

    given = {item.dataset.name: item for item in run.inputs.dataset_inputs}
    assert {"toy/train", "toy/val"} <= given.keys()
    assert all(told["data_digest"].startswith(item.dataset.digest) for item in given.values())
    assert [tag.value for tag in given["toy/train"].tags] == ["training"]
    assert json.loads(given["toy/train"].dataset.profile) == {"num_rows": 600}
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert files == {"best.ckpt", "history.csv", "config.yaml", "environment.txt"}
    assert (results / "mlartifacts").is_dir()
    resolved = yaml.safe_load(text_of(client, run, "config.yaml"))
    assert resolved["training"] == told["training"]
    assert resolved["model"].items() >= told["options"].items()
    assert f"torch=={version('torch')}" in text_of(client, run, "environment.txt").splitlines()


def text_of(client, run, name: str) -> str:
    return Path(client.download_artifacts(run.info.run_id, name)).read_text()


def test_seeds_share_a_parent(run_training, tmp_path) -> None:
    prepare(None, ["exp/toy"], tmp_path, tmp_path / "mlflow.json")
    store = tmp_path / "mlflow.json"
    seeds = [run_of(run_training(f"s{seed}", store=store, seed=seed, epochs=1)) for seed in (1, 2)]
    other = run_of(run_training("other", store=store, epochs=2))
    client = open_client(summary(tmp_path / "s1")["mlflow"]["uri"])
    one, two, another = (run.data.tags["mlflow.parentRunId"] for run in (*seeds, other))
    assert one == two != another
    parent = client.get_run(one)
    assert parent.info.run_name == "small-kin"
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {key: value for key, value in seeds[0].data.params.items() if key != "seed"}
    assert parent.data.tags["config.sha"] == seeds[0].data.tags["config.sha"]
    assert "seed" not in parent.data.tags
    assert len(client.search_runs([parent.info.experiment_id])) == 5


def test_a_configuration_is_what_is_learnt() -> None:
    def config(**training) -> str:
        run = {"experiment": "x", "dataset": "toy", "model": "pfn", "seed": 1, "title": "PFN"}
        data = {"digest": "0" * 12, "feature_set": "kin"}
        recipe = Training(**training).model_dump(mode="json")
        return describe(run, architecture="pfn", preset=None, options={}, tasks=[], training=recipe, data=data, jets={},
                        manifest="manifest.json").config  # fmt: skip

    assert config() == config(workers=4, compile="off", checkpoint_minutes=1) == config(labelled_jets="all")
    changes = ({"devices": 2}, {"nodes": 2}, {"epochs": 3}, {"labelled_jets": 100}, {"layer_decay": 0.8})
    assert len({config(), *(config(**change) for change in changes)}) == 6


def test_labelled_jets_are_a_parameter() -> None:
    def parameter(**training) -> str:
        run = {"experiment": "x", "dataset": "toy", "model": "pfn-n100", "seed": 1, "title": "PFN, 100 labels"}
        data = {"digest": "0" * 12, "feature_set": "kin"}
        recipe = Training(**training).model_dump(mode="json")
        described = describe(run, architecture="pfn", preset=None, options={}, tasks=[], training=recipe, data=data,
                             jets={}, manifest="manifest.json")  # fmt: skip
        return described.parameters["labelled_jets"]

    assert (parameter(), parameter(labelled_jets=100)) == ("all", "100")


def test_a_resumed_training_is_one_run(run_training, results, tmp_path, monkeypatch) -> None:
    prepare(None, ["exp/toy"], tmp_path / "own", tmp_path / "mlflow.json")
    store = tmp_path / "mlflow.json"
    whole = run_training("whole")
    with monkeypatch.context() as patch:
        die_after(patch, 12)
        save = Checkpoints.save

        def save_slowly(*arguments) -> None:
            # Until the run exists: a training is rarely killed in its first second.
            while not run_id_in(tmp_path / "killed-scratch"):
                time.sleep(0.05)
            save(*arguments)

        patch.setattr(Checkpoints, "save", save_slowly)
        with pytest.raises(Killed):
            run_training("killed", store=store, checkpoint_minutes=OFTEN)
    first = run_id_in(tmp_path / "killed-scratch")
    killed = run_training("killed", store=store)
    assert_same(whole, killed)
    run = run_of(killed)
    assert run.info.run_id == first
    assert run.info.status == "FINISHED"
    assert run.data.tags["resumed"] == "true"
    assert len({item.dataset.name for item in run.inputs.dataset_inputs}) == len(run.inputs.dataset_inputs)
    client = open_client(summary(killed)["mlflow"]["uri"])
    assert len(client.search_runs([run.info.experiment_id])) == 2, "itself and its parent"
    assert len(client.get_metric_history(first, "val/loss")) == 3


def test_epochs_that_a_kill_kept_from_the_store_arrive_with_the_next_try(run_training, tmp_path, monkeypatch) -> None:
    """The checkpoint of an epoch is written before its figures: those of the second epoch are lost with the process."""
    prepare(None, ["exp/toy"], tmp_path / "own", tmp_path / "mlflow.json")
    log = TrackerCallback._log

    def killed_before_the_second(self, row) -> None:
        if row["epoch"] == 1:
            raise Killed
        log(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(TrackerCallback, "_log", killed_before_the_second)
        with pytest.raises(Killed):
            run_training("killed", store=tmp_path / "mlflow.json")
    points = tmp_path / "killed-scratch/mlflow.jsonl"
    with points.open("a") as file:
        file.write('["val/loss", 0.')
    run = run_of(run_training("killed", store=tmp_path / "mlflow.json"))
    client = open_client(open_store(tmp_path / "mlflow.json", "exp/toy").uri)
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "val/loss")]
    assert sorted(steps) == [10, 20, 30]


def test_sigterm_shows_as_killed(run_training, results, tmp_path, monkeypatch) -> None:
    save = Checkpoints.save

    def save_and_signal(*arguments) -> None:
        save(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_signal)
        with pytest.raises(SystemExit):
            run_training(store=results / "mlflow.json")
    client = open_client(open_store(results / "mlflow.json", "exp/toy").uri)
    assert client.get_run(run_id_in(tmp_path / "a-scratch")).info.status == "KILLED"


def test_no_server(run_training, tmp_path, monkeypatch, capsys) -> None:
    uri = f"http://someone:geheim@127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    store = write_store(tmp_path / "mlflow.json", masked(uri))
    whole, output = run_training("whole"), run_training(store=store)
    assert_same(whole, output)
    told = summary(output)["mlflow"]
    assert told["run_id"] is None
    # Seven figures for each of three epochs at least, and two files.
    assert told["not_sent"] >= 3 * 7 + 2
    left = Left.read(output / "unsent.jsonl")
    assert [point.value for point in left.points if point.name == "epoch"] == [0, 1, 2]
    assert left.files == ["best.ckpt", "history.csv"]
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1
    written = [file.read_text() for file in output.iterdir() if file.suffix != ".ckpt"]
    assert "geheim" not in said.out + said.err + "".join(written)


def test_server_that_never_answers(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(tracking, "CLOSE_TIMEOUT", 2.0)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        uri = f"http://127.0.0.1:{listening.getsockname()[1]}"
        tracker = Tracker(Store(uri, "exp/toy", "1"), SMALL, tmp_path)
        began = time.monotonic()
        for step in range(1000):
            tracker.log({"loss": 1.0}, step)
        assert time.monotonic() - began < 0.5
        tracker.close("FINISHED")
        assert time.monotonic() - began < 5
    assert tracker.lost >= 1000
    assert [point.step for point in Left.read(tmp_path / "unsent.jsonl").points[:1000]] == list(range(1000))
    assert capsys.readouterr().err.count("MLflow at") == 1


def test_points_wait_for_a_server_that_returns(results, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tracking, "PAUSE", 0.1)
    store = open_store(results / "mlflow.json", "exp/toy")
    down, refused = True, []
    real = tracking.open_client

    def sometimes(uri: str):
        if down:
            refused.append(uri)
            raise ConnectionError("down")
        return real(uri)

    monkeypatch.setattr(tracking, "open_client", sometimes)
    tracker = Tracker(store, SMALL, tmp_path)
    for step in range(1200):
        tracker.log({"loss": float(step)}, step)
    wait_until(lambda: len(refused) > 1)
    assert tracker.lost >= 1200
    down = False
    tracker.close("FINISHED")
    assert tracker.lost == 0
    assert not (tmp_path / "unsent.jsonl").exists()
    client = open_client(store.uri)
    assert len(client.get_metric_history(tracker.run_id, "loss")) == 1200
    (given,) = client.get_run(tracker.run_id).inputs.dataset_inputs
    assert len(given.dataset.digest) == 36


def test_a_short_training_leaves_all_to_be_sent_by_others(results, tmp_path, monkeypatch) -> None:
    """Nor does it load MLflow; one that lasts is in the store while it runs, one that fails as soon as it has."""
    store = open_store(results / "mlflow.json", "exp/toy")
    client = open_client(store.uri)
    loaded = []
    monkeypatch.setattr(tracking, "PERIOD", 0.05)
    monkeypatch.setattr(tracking, "open_client", lambda uri: loaded.append(uri) or client)

    def training(name: str, live_after: float) -> Tracker:
        (tmp_path / name).mkdir()
        tracker = Tracker(store, SMALL, tmp_path / name, live_after)
        tracker.log({"loss": 1.5}, 3)
        return tracker

    short, failing, long = training("short", 60), training("failing", 60), training("long", 0.2)
    short.close("FINISHED")
    assert (short.run_id, loaded) == (None, [])
    left = tmp_path / "short/unsent.jsonl"
    run_id = send(client, left)
    assert client.get_run(run_id).info.status == "FINISHED" and not left.exists()
    assert [(point.value, point.step) for point in client.get_metric_history(run_id, "loss")] == [(1.5, 3)]
    wait_until(lambda: long.run_id is not None)
    assert client.get_run(long.run_id).info.status == "RUNNING"
    failing.close("FAILED")
    assert client.get_run(failing.run_id).info.status == "FAILED"
    long.close("FINISHED")
    assert not (tmp_path / "long/unsent.jsonl").exists()


def test_a_full_disk_is_counted(tmp_path, monkeypatch, capsys) -> None:
    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracking, "KEPT", 10)
    monkeypatch.setattr(tracking.Spool, "append", full)
    monkeypatch.setattr(tracking.Left, "write", full)
    tracker = Tracker(Store("http://x", "exp/toy", "1"), SMALL, tmp_path)
    for step in range(30):
        tracker.log({"loss": 1.0}, step)
    tracker.close("FINISHED")
    assert tracker.lost >= 30
    assert capsys.readouterr().err.count("No space left on device") == 1


WRITE = """
import sys
from pathlib import Path
from jetloom.tracking.store import open_store
import jetloom.tracking.tracker as tracking
from jetloom.tracking.description import Description
tracking.PERIOD = 0.001
small = Description("exp/toy", "small-kin-s1", "small-kin", "together", {"a": "1"}, {"title": "Small"})
tracker = tracking.Tracker(open_store(Path(sys.argv[1]), "exp/toy"), small, Path(sys.argv[2]))
import time
for step in range(400):
    tracker.log({"one": step, "two": step}, step)
    time.sleep(0.005)
tracker.close("FINISHED")
sys.exit(tracker.lost)
"""


def test_several_write_to_one_sqlite(results, tmp_path) -> None:
    """At the same moment, as seeds that start together: nothing is lost, and they find one parent."""
    store = results / "mlflow.json"
    directories = [tmp_path / str(n) for n in range(3)]
    for directory in directories:
        directory.mkdir()
    several = [subprocess.Popen([sys.executable, "-c", WRITE, str(store), str(directory)]) for directory in directories]
    assert [process.wait(120) for process in several] == [0, 0, 0]
    client = open_client(open_store(store, "exp/toy").uri)
    parents = set()
    for directory in directories:
        run = client.get_run(run_id_in(directory))
        parents.add(run.data.tags["mlflow.parentRunId"])
        for name in ("one", "two"):
            values = [point.value for point in client.get_metric_history(run.info.run_id, name)]
            assert sorted(values) == list(range(400))
    assert len(parents) == 1


@pytest.mark.slow
def test_several_make_one_sqlite(tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from jetloom.tracking.store import prepare; here = Path(sys.argv[1]); "
        "prepare(None, ['exp/toy', 'exp/other'], here, here / sys.argv[2])"
    )
    several = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"{n}.json"], stderr=subprocess.PIPE)
        for n in range(3)
    ]
    assert [process.wait(120) for process in several] == [0, 0, 0]
    assert len({(tmp_path / f"{n}.json").read_text() for n in range(3)}) == 1


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
        ("https://user:geheim@host/path", "https://***@host/path"),
        ("https://geheim@host", "https://***@host"),
        ("postgresql://user:geh@eim@host/db", "postgresql://user:***@host/db"),
        ("postgresql+psycopg2://user@host/db", "postgresql+psycopg2://user@host/db"),
        ("mysql://host/db?user=me&password=geheim&ssl=1", "mysql://host/db?user=me&password=***&ssl=1"),
        ("https://host?api_key=geheim", "https://host?api_key=***"),
        ("cannot reach https://u:geheim@host now", "cannot reach https://***@host now"),
    ],
)
def test_passwords_are_masked(uri: str, shown: str) -> None:
    assert masked(uri) == shown


def test_password_from_the_environment_only(tmp_path, monkeypatch) -> None:
    secret = "postgresql://me:geheim@host/db"
    with pytest.raises(JetloomError, match="holds a password") as error:
        choose_uri(secret, tmp_path)
    assert "geheim" not in str(error.value)
    minimal = {"experiment": "x", "datasets": ["jetclass-sim"], "models": ["part"], "seeds": [1], "preset": "tiny"}
    with pytest.raises(JetloomError, match=r"tracking\.uri: .*holds a password") as error:
        parse_experiment(minimal | {"tracking": {"uri": secret}})
    assert "geheim" not in str(error.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", secret)
    assert choose_uri(None, tmp_path) == secret
    assert unmasked(masked(secret)) == secret
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:geheim@other/db")
    with pytest.raises(JetloomError, match="MLFLOW_TRACKING_URI has to name the store"):
        unmasked(masked(secret))


def test_store_file(tmp_path, results) -> None:
    with pytest.raises(JetloomError, match="no such store; `jetloom mlflow init` writes one"):
        open_store(tmp_path / "nothing.json", "exp/toy")
    with pytest.raises(JetloomError, match="'exp/other' is not in this store"):
        open_store(results / "mlflow.json", "exp/other")
    with pytest.raises(JetloomError, match="is a file store, which MLflow no longer writes"):
        choose_uri("file:///somewhere/mlruns", tmp_path)
    with pytest.raises(JetloomError, match="MLflow at http://127"):
        prepare(f"http://127.0.0.1:{free_port()}", ["exp/toy"], tmp_path, tmp_path / "mlflow.json")
    assert not (tmp_path / "mlflow.json").exists()


def test_deleted_experiment_comes_back(results) -> None:
    store = open_store(results / "mlflow.json", "exp/toy")
    client = open_client(store.uri)
    client.delete_experiment(store.experiment_id)
    prepare(None, ["exp/toy"], results, results / "mlflow.json")
    assert client.get_experiment(store.experiment_id).lifecycle_stage == "active"
    assert open_store(results / "mlflow.json", "exp/toy") == store
