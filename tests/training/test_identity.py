"""What a directory holds stays if it was made from the same, and is given up if it was not."""

import json
import signal
from pathlib import Path

import pytest

from jetloom.training.callbacks import Checkpoints
from jetloom.training.checkpoint import load
from tests.support.tensors import write_tensors

pytestmark = pytest.mark.seconds


class StoppedError(Exception):
    """Instead of a kill."""


@pytest.fixture
def stopped_after(monkeypatch):
    """End a training in the middle, with what a kill would leave."""

    def stop(checkpoints: int) -> None:
        save, count = Checkpoints.save, 0

        def save_and_stop(self, *arguments):
            nonlocal count
            save(self, *arguments)
            count += 1
            if count == checkpoints:
                raise StoppedError

        monkeypatch.setattr(Checkpoints, "save", save_and_stop)

    yield stop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def facts(output: Path) -> dict:
    return json.loads((output / "training.json").read_text())


def rows(output: Path) -> list[str]:
    """Of history.csv, but for the seconds."""
    return [line.rpartition(",")[0] for line in (output / "history.csv").read_text().splitlines()]


def test_other_data_do_not_go_on_with_what_is_left(run_training, stopped_after, monkeypatch, tmp_path, capsys):
    """The best epoch of jets that are gone must not be reported for those that are there."""
    other = write_tensors(tmp_path / "other", train=560, separation=0.5)
    with monkeypatch.context():
        stopped_after(2)
        with pytest.raises(StoppedError):
            run_training("a")
    monkeypatch.undo()
    assert (tmp_path / "a-scratch/last.ckpt").is_file()
    capsys.readouterr()
    output = run_training("a", data=other)
    said = capsys.readouterr().out
    assert "Starting afresh:" in said and "another data" in said
    assert facts(output)["resumed"] == 0
    fresh = run_training("fresh", data=other)
    assert rows(output) == rows(fresh)
    assert facts(output)["identity"] == facts(fresh)["identity"]
    assert facts(output)["identity"]["made_from"]["data"] == facts(output)["data_digest"]


def test_the_same_goes_on(run_training, stopped_after, monkeypatch, tmp_path):
    with monkeypatch.context():
        stopped_after(2)
        with pytest.raises(StoppedError):
            run_training("a")
    monkeypatch.undo()
    assert facts(run_training("a"))["resumed"] == 1


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"seed": 2}, "seed"),
        ({"learning_rate": 0.01}, "recipe"),
        ({"options": {"embedding": [8], "blocks": 1, "heads": 2}}, "options"),
    ],
)
def test_other_settings_do_not_go_on(run_training, stopped_after, monkeypatch, capsys, change, part):
    with monkeypatch.context():
        stopped_after(1)
        with pytest.raises(StoppedError):
            run_training("a")
    monkeypatch.undo()
    assert facts(run_training("a", **change))["resumed"] == 0
    assert f"another {part}\n" in capsys.readouterr().out


def test_weights_of_the_same_name_and_other_content_start_afresh(
    run_training, stopped_after, monkeypatch, tmp_path, capsys
):
    weights = run_training("first") / "best.ckpt"
    with monkeypatch.context():
        stopped_after(1)
        with pytest.raises(StoppedError):
            run_training("tuned", initial_weights=str(weights))
    monkeypatch.undo()
    weights.write_bytes((run_training("second", seed=2) / "best.ckpt").read_bytes())
    capsys.readouterr()
    assert facts(run_training("tuned", initial_weights=str(weights)))["resumed"] == 0
    assert "another starting weights" in capsys.readouterr().out


def test_a_finished_training_stays_as_it_is(run_training, capsys):
    output = run_training("a")
    before = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    capsys.readouterr()
    assert run_training("a", workers=1, compile="off", checkpoint_minutes=3.0) == output
    assert "it stays as it is" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in output.iterdir()} == before


@pytest.mark.parametrize("name", ["best.ckpt", "training.json", "history.csv"])
def test_a_damaged_or_missing_file_is_made_again(run_training, name):
    output = run_training("a")
    before = rows(output)
    content = (output / name).read_bytes()
    if name == "history.csv":
        (output / name).unlink()
    else:
        (output / name).write_bytes(content[: len(content) // 2])
    assert rows(run_training("a")) == before
    assert load(output / "best.ckpt")["identity"] == facts(output)["identity"]
