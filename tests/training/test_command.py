"""`jetloom train` as a process: what it says, what it leaves, and that no server can hold it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jetloom.tracking.store import open_client, prepare
from tests.support.trainings import OPTIONS

SECRET = "geheim4711"


def train_by_command(manifest: Path, output: Path, store: Path, **environment: str) -> subprocess.CompletedProcess:
    options = [f"--option={key}={json.dumps(value)}" for key, value in OPTIONS.items()]
    return subprocess.run(
        [
            *(sys.executable, "-m", "jetloom.cli", "train", str(manifest), "--model=transformer", "--set=epochs=2"),
            *(f"--output={output}", f"--scratch={output}-scratch", f"--store={store}", "--experiment=exp"),
            *("--threads=1", "--title=Small", *options),
        ],
        env=os.environ | environment, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_key_in_the_address_is_written_nowhere(manifest, tmp_path, monkeypatch, capfd) -> None:
    # SQLite opens a file: URI and passes over parameters that it does not know.
    uri = f"sqlite:///file:{tmp_path}/secret.db?mode=rwc&token={SECRET}&uri=true"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "written").mkdir()
    store = tmp_path / "written" / "mlflow.json"
    prepare(None, ["exp/toy"], tmp_path / "written", store)
    first = store.read_text()
    prepare(None, ["exp/toy"], tmp_path / "written", store)
    assert store.read_text() == first
    assert "token=***" in first
    ended = train_by_command(manifest, tmp_path / "written" / "a", store)
    assert ended.returncode == 0, ended.stderr
    told = json.loads((tmp_path / "written" / "a" / "training.json").read_text())["mlflow"]
    assert told["not_sent"] == 0
    run = open_client(uri).get_run(told["run_id"])
    assert run.info.run_name == "transformer-kin-s1"
    said = capfd.readouterr()
    assert SECRET not in ended.stdout + ended.stderr + said.out + said.err + first
    assert SECRET not in str(run.to_dictionary())
    for path in (tmp_path / "written").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_server_that_takes_connections_and_is_silent(manifest, tmp_path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        uri = f"http://127.0.0.1:{listening.getsockname()[1]}"
        store = tmp_path / "mlflow.json"
        store.write_text(json.dumps({"uri": uri, "experiments": {"exp/toy": "1"}}))
        began = time.monotonic()
        ended = train_by_command(manifest, tmp_path / "a", store)
        took = time.monotonic() - began
    assert ended.returncode == 0, ended.stderr
    # 60 s for the server, the rest to start and to train.
    assert took < 100
    assert ended.stderr.count("MLflow at") == 1
    assert "Traceback" not in ended.stderr
    told = json.loads((tmp_path / "a" / "training.json").read_text())["mlflow"]
    assert told["run_id"] is None
    assert told["not_sent"] >= 2 * 7 + 2


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_mistakes_are_one_line(manifest, tmp_path, results, damaged: bool) -> None:
    store, message = tmp_path / "no.json", r"jetloom: .*no\.json: no such store; `jetloom mlflow init` writes one\n"
    if damaged:
        # A first try leaves the directory as this training's own; what another one has left there would go.
        train_by_command(manifest, tmp_path / "a", store)
        store, message = results / "mlflow.json", r"jetloom: .*last\.ckpt: not a readable checkpoint \(.+\)\n"
        (tmp_path / "a-scratch" / "last.ckpt").write_bytes(b"dead")
    ended = train_by_command(manifest, tmp_path / "a", store)
    assert ended.returncode == 1
    assert re.fullmatch(message, ended.stderr), ended.stderr
    assert not (tmp_path / "a").exists()
