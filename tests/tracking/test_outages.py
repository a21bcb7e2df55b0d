"""A real server with PostgreSQL that dies, stays away, comes back: what a training said arrives, in its own run."""

import csv
import json
import os
import subprocess
import sys

import pytest

from jetloom.errors import JetloomError
from jetloom.tracking import tracker
from jetloom.tracking.run import StoredRun
from jetloom.tracking.store import open_client, prepare
from jetloom.tracking.sync import sync
from jetloom.training.callbacks import Checkpoints
from tests.support.servers import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def told(group, tmp_path, monkeypatch):
    """The file of a store on the server, which is asked often."""
    monkeypatch.setattr(tracker, "PERIOD", 0.1)
    monkeypatch.setattr(tracker, "PAUSE", 0.5)
    prepare(group.uri, ["exp/toy"], tmp_path, tmp_path / "mlflow.json")
    yield tmp_path / "mlflow.json"
    if group.process is None:
        group.start()


def after_epoch(monkeypatch, actions) -> None:
    """Do something when the checkpoint of an epoch has been written."""
    save, epochs = Checkpoints.save, []

    def save_and_act(*arguments) -> None:
        save(*arguments)
        epochs.append(1)
        actions.get(len(epochs), lambda: None)()

    monkeypatch.setattr(Checkpoints, "save", save_and_act)


def check_complete(group, output) -> str:
    """The store has every figure of every epoch, once, and the files; returns the id of the run."""
    client = open_client(group.uri)
    identity = json.loads((output / "training.json").read_text())["mlflow"]
    (experiment,) = [item for item in client.search_experiments() if item.name == "exp/toy"]
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`jetloom.key` = '{identity['key']}'")
    rows = list(csv.DictReader((output / "history.csv").open()))
    for metric, column in (("val/accuracy", "val_accuracy"), ("train/loss", "train_loss"), ("epoch", "epoch")):
        sent = client.get_metric_history(run.info.run_id, metric)
        assert [point.step for point in sent] == [int(row["step"]) for row in rows]
        assert [point.value for point in sent] == pytest.approx([float(row[column]) for row in rows])
    assert run.info.status == "FINISHED"
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert files == {"best.ckpt", "history.csv", "config.yaml", "environment.txt"}
    assert not (output / "unsent.jsonl").exists()
    return run.info.run_id


def test_killed_and_restarted_in_mid_training(run_training, group, told, tmp_path, monkeypatch, capsys) -> None:
    first = []

    def kill_it() -> None:
        wait_until(lambda: json.loads((tmp_path / "a-scratch" / "mlflow.json").read_text())["run_id"])
        first.append(json.loads((tmp_path / "a-scratch" / "mlflow.json").read_text())["run_id"])
        group.kill()

    after_epoch(monkeypatch, {2: kill_it, 5: group.start})
    output = run_training(store=told, epochs=7)
    assert json.loads((output / "training.json").read_text())["mlflow"]["not_sent"] == 0
    assert check_complete(group, output) == first[0]


def test_what_a_dead_server_missed_is_sent_into_the_same_run(
    run_training, group, told, tmp_path, monkeypatch, capsys
) -> None:
    def kill_it() -> None:
        wait_until(lambda: json.loads((tmp_path / "a-scratch" / "mlflow.json").read_text())["run_id"])
        group.kill()

    after_epoch(monkeypatch, {2: kill_it})
    output = run_training(store=told, epochs=5)
    identity = json.loads((output / "training.json").read_text())["mlflow"]
    # Three epochs of seven figures and two files at least.
    assert identity["not_sent"] >= 3 * 7 + 2
    with pytest.raises(JetloomError, match="1 of 1 runs are not in the store yet; give the command again later"):
        sync([tmp_path])
    assert "NOT sent: MLflow at http://127.0.0.1" in capsys.readouterr().out
    group.start()
    assert open_client(group.uri).get_run(identity["run_id"]).info.status == "RUNNING", "it does not pretend"
    # The verb itself, as a user gives it.
    command = [sys.executable, "-m", "jetloom.cli", "mlflow", "sync", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"exp/toy small-kin-s1: {identity['not_sent'] - 2} points sent" in done.stdout
    assert check_complete(group, output) == identity["run_id"]
    sync([tmp_path])
    assert "Nothing waits to be sent" in capsys.readouterr().out


def test_a_node_without_network(run_training, group, tmp_path, monkeypatch) -> None:
    """Nothing is asked of the server; a sync that is cut off completes the same run when it is given again."""
    prepare(group.uri, ["exp/toy"], tmp_path, tmp_path / "mlflow.json", offline=True)
    with monkeypatch.context() as patch:
        patch.setattr(tracker, "open_client", lambda uri: pytest.fail("no network here"))
        output = run_training(store=tmp_path / "mlflow.json", epochs=2)
    assert json.loads((output / "training.json").read_text())["mlflow"]["run_id"] is None
    with monkeypatch.context() as patch:
        patch.setattr(StoredRun, "send_file", lambda *_: (_ for _ in ()).throw(ConnectionError("cut off")))
        with pytest.raises(JetloomError, match="not in the store yet"):
            sync([output])
    assert (output / "unsent.jsonl").is_file()
    sync([output])
    check_complete(group, output)


def test_what_cannot_be_sent_is_one_line(tmp_path) -> None:
    with pytest.raises(JetloomError, match="no such file or directory; expected a directory of results"):
        sync([tmp_path / "nowhere"])
    (tmp_path / "unsent.jsonl").write_text("{}\n")
    with pytest.raises(JetloomError, match="not what a training leaves to be sent to MLflow"):
        sync([tmp_path])
    assert os.listdir(tmp_path) == ["unsent.jsonl"]
