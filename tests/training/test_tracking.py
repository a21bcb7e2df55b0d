"""What MLflow is told, and what happens if it does not listen."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from jetloom.config import parse_experiment
from jetloom.errors import JetloomError
from jetloom.masking import masked
from jetloom.training import tracking
from jetloom.training.callbacks import Keeper
from jetloom.tracking.store import choose_uri, open_client, open_store, prepare, unmasked
from jetloom.training.tracking import DataInput, Tracker, log_evaluation
from tests.training.outcome import assert_same
from tests.training.test_resume import OFTEN, Killed, die_after

DATA = DataInput("toy", "0123456789" * 6, "tensors/manifest.json", 600)


def summary(output: Path) -> dict:
    return json.loads((output / "training.json").read_text())


def run_of(output: Path):
    told = summary(output)["mlflow"]
    return open_client(told["uri"]).get_run(told["run_id"])


def write_store(path: Path, uri: str) -> Path:
    path.write_text(json.dumps({"uri": uri, "experiments": {"exp/toy": "1"}}))
    return path


def test_a_run_tells_everything(run_training, results, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    output = run_training(store=results / "mlflow.json", epochs=4, batch_size=16)
    run, told = run_of(output), summary(output)
    assert run.info.run_name == "Small · seed 1"
    assert run.info.status == "FINISHED"
    assert told["mlflow"]["not_sent"] == 0
    assert run.info.experiment_id == told["mlflow"]["experiment_id"]

    expected = {"model": "small", "architecture": "transformer", "seed": "1", "training.epochs": "4"}
    expected |= {"training.optimizer": "ranger", "option.heads": "2", "option.dropout": "0.1"}
    assert expected.items() <= run.data.params.items()
    # What was not said counts too.
    assert "option.readout" in run.data.params
    tags = {"experiment": "exp", "dataset": "toy", "model": "small", "seed": "1", "job": "4711"}
    assert tags.items() <= run.data.tags.items()
    assert run.data.tags["snakemake.rule"] == "train_model"
    assert run.data.tags["git.commit"] == (told["git"]["commit"] or "unknown")
    assert {"git.dirty", "data.digest"} <= run.data.tags.keys()

    client = open_client(told["mlflow"]["uri"])
    epochs = client.get_metric_history(run.info.run_id, "val/accuracy")
    rows = [line.split(",") for line in (output / "history.csv").read_text().splitlines()[1:]]
    assert [point.value for point in epochs] == pytest.approx([float(row[5]) for row in rows])
    assert [point.step for point in epochs] == [int(row[1]) for row in rows]
    steps = client.get_metric_history(run.info.run_id, "train/step_loss")
    assert [point.step for point in steps] == list(range(20, 153, 20))
    assert "system/process_memory_mb" in run.data.metrics

    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "toy"
    assert told["data_digest"].startswith(given.dataset.digest)
    assert [tag.value for tag in given.tags] == ["training"]
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert files == {"best.ckpt", "history.csv"}
    assert (results / "mlartifacts").is_dir()


def test_evaluation_goes_into_the_same_run(run_training, results, tmp_path) -> None:
    told = summary(run_training(store=results / "mlflow.json", epochs=1))["mlflow"]
    (tmp_path / "metrics.json").write_text("{}")
    assert log_evaluation(told["uri"], told["run_id"], {"test/accuracy": 0.75}, [tmp_path / "metrics.json"])
    client = open_client(told["uri"])
    run = client.get_run(told["run_id"])
    assert run.data.metrics["test/accuracy"] == 0.75
    assert run.info.status == "FINISHED"
    assert "metrics.json" in {item.path for item in client.list_artifacts(told["run_id"])}


def test_a_resumed_training_is_one_run(run_training, results, tmp_path, monkeypatch) -> None:
    prepare(None, ["exp/toy"], tmp_path / "own", tmp_path / "mlflow.json")
    store = tmp_path / "mlflow.json"
    whole = run_training("whole")
    with monkeypatch.context() as patch:
        die_after(patch, 12)
        save = Keeper.save

        def save_slowly(*arguments) -> None:
            # Until the run exists: a training is rarely killed in its first second.
            while not (tmp_path / "killed-scratch" / "mlflow.json").is_file():
                time.sleep(0.05)
            save(*arguments)

        patch.setattr(Keeper, "save", save_slowly)
        with pytest.raises(Killed):
            run_training("killed", store=store, checkpoint_minutes=OFTEN)
    first = json.loads((tmp_path / "killed-scratch" / "mlflow.json").read_text())["run_id"]
    killed = run_training("killed", store=store)
    assert_same(whole, killed)
    run = run_of(killed)
    assert run.info.run_id == first
    assert run.info.status == "FINISHED"
    assert run.data.tags["resumed"] == "true"
    assert len(run.inputs.dataset_inputs) == 1
    client = open_client(summary(killed)["mlflow"]["uri"])
    assert len(client.search_runs([run.info.experiment_id])) == 1
    assert len(client.get_metric_history(first, "val/loss")) == 3


def test_sigterm_shows_as_killed(run_training, results, tmp_path, monkeypatch) -> None:
    save = Keeper.save

    def save_and_signal(*arguments) -> None:
        save(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "save", save_and_signal)
        with pytest.raises(SystemExit):
            run_training(store=results / "mlflow.json")
    uri, _ = open_store(results / "mlflow.json", "exp/toy")
    run_id = json.loads((tmp_path / "a-scratch" / "mlflow.json").read_text())["run_id"]
    assert open_client(uri).get_run(run_id).info.status == "KILLED"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_server(run_training, tmp_path, monkeypatch, capsys) -> None:
    uri = f"http://someone:geheim@127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    store = write_store(tmp_path / "mlflow.json", masked(uri))
    whole, output = run_training("whole"), run_training(store=store)
    assert_same(whole, output)
    told = summary(output)["mlflow"]
    assert told["run_id"] is None
    # Nine figures for each of three epochs at least, and two files.
    assert told["not_sent"] >= 3 * 7 + 2
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1
    assert "geheim" not in said.out + said.err + (output / "training.json").read_text()


def test_server_that_never_answers(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(tracking, "CLOSE_TIMEOUT", 2.0)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        uri = f"http://127.0.0.1:{listening.getsockname()[1]}"
        tracker = Tracker(uri, "1", "name", tmp_path / "run.json", {"a": 1}, {}, DATA)
        began = time.monotonic()
        for step in range(1000):
            tracker.log({"loss": 1.0}, step)
        assert time.monotonic() - began < 0.5
        tracker.close("FINISHED")
        assert time.monotonic() - began < 5
    assert tracker.lost >= 1000
    assert capsys.readouterr().err.count("MLflow at") == 1


def test_points_wait_for_a_server_that_returns(results, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tracking, "PAUSE", 0.1)
    uri, experiment = open_store(results / "mlflow.json", "exp/toy")
    down = True
    real = tracking.open_client

    def sometimes(uri: str):
        if down:
            raise ConnectionError("down")
        return real(uri)

    monkeypatch.setattr(tracking, "open_client", sometimes)
    tracker = Tracker(uri, experiment, "name", tmp_path / "run.json", {"a": 1}, {}, DATA)
    for step in range(1200):
        tracker.log({"loss": float(step)}, step)
    time.sleep(1.5)
    assert tracker.lost >= 1200
    down = False
    tracker.close("FINISHED")
    assert tracker.lost == 0
    client = open_client(uri)
    assert len(client.get_metric_history(tracker.run_id, "loss")) == 1200
    (given,) = client.get_run(tracker.run_id).inputs.dataset_inputs
    assert len(given.dataset.digest) == 36


def test_what_does_not_fit_in_memory_is_counted(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tracking, "KEPT", 10)
    monkeypatch.setattr(tracking, "open_client", lambda uri: (_ for _ in ()).throw(ConnectionError("down")))
    tracker = Tracker("http://x", "1", "name", tmp_path / "run.json", {}, {}, DATA)
    for step in range(30):
        tracker.log({"loss": 1.0}, step)
    tracker.close("FINISHED")
    assert tracker.lost >= 30


WRITE = """
import sys
from pathlib import Path
from jetloom.tracking.store import open_store
from jetloom.training.tracking import DataInput, Tracker
import jetloom.training.tracking as tracking
tracking.PERIOD = 0.001
uri, experiment = open_store(Path(sys.argv[1]), "exp/toy")
tracker = Tracker(uri, experiment, sys.argv[2], Path(sys.argv[3]), {"a": 1}, {}, DataInput("toy", "1", "x", 1))
import time
for step in range(400):
    tracker.log({"one": step, "two": step}, step)
    time.sleep(0.005)
tracker.close("FINISHED")
sys.exit(tracker.lost)
"""


def test_several_write_to_one_sqlite(results, tmp_path) -> None:
    store = results / "mlflow.json"
    several = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(store), f"writer {n}", str(tmp_path / f"{n}.json")])
        for n in range(3)
    ]
    assert [process.wait(120) for process in several] == [0, 0, 0]
    client = open_client(open_store(store, "exp/toy")[0])
    for n in range(3):
        run_id = json.loads((tmp_path / f"{n}.json").read_text())["run_id"]
        for name in ("one", "two"):
            values = [point.value for point in client.get_metric_history(run_id, name)]
            assert sorted(values) == list(range(400))


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


@pytest.mark.slow
def test_server_dies_in_mid_training(run_training, tmp_path, monkeypatch, capsys) -> None:
    """A real server, killed with all its workers in mid-training, after the figures of one epoch."""
    port = free_port()
    uri, database = f"http://127.0.0.1:{port}", f"sqlite:///{tmp_path / 'server.db'}"
    arguments = ["server", "--backend-store-uri", database, "--port", str(port), "--workers", "1"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *arguments, "--artifacts-destination", str(tmp_path / "artifacts")],
        env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(600):
            time.sleep(0.1)
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).read()
                break
            except OSError:
                assert server.poll() is None
        prepare(uri, ["exp/toy"], tmp_path, tmp_path / "mlflow.json")
        save, epochs = Keeper.save, 0

        def save_and_end_the_server(*arguments) -> None:
            nonlocal epochs
            save(*arguments)
            epochs += 1
            if epochs == 2:
                while not (tmp_path / "a-scratch" / "mlflow.json").is_file():
                    time.sleep(0.05)
                time.sleep(2.5)
                os.killpg(server.pid, signal.SIGKILL)

        monkeypatch.setattr(Keeper, "save", save_and_end_the_server)
        began = time.monotonic()
        output = run_training(store=tmp_path / "mlflow.json", epochs=5)
        assert time.monotonic() - began < 40
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    told = summary(output)["mlflow"]
    assert len(capsys.readouterr().err.splitlines()) == 1
    sent = open_client(database).get_metric_history(told["run_id"], "val/accuracy")
    assert len(sent) == 1
    # Four epochs of seven figures and two files did not arrive, and the run does not pretend to have ended.
    assert told["not_sent"] >= 4 * 7 + 2
    assert open_client(database).get_run(told["run_id"]).info.status == "RUNNING"


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
    uri, experiment = open_store(results / "mlflow.json", "exp/toy")
    client = open_client(uri)
    client.delete_experiment(experiment)
    prepare(None, ["exp/toy"], results, results / "mlflow.json")
    assert client.get_experiment(experiment).lifecycle_stage == "active"
    assert open_store(results / "mlflow.json", "exp/toy") == (uri, experiment)
