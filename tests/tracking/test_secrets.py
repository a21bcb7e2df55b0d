"""A password in the address of the server is in no file that anything writes, and in nothing that is said."""

import json
import os
import re
import subprocess
import sys

import pytest

from jetloom.tracking.store import prepare
from jetloom.tracking.table import export
from tests.support.servers import free_port

pytestmark = pytest.mark.slow
SECRET = "geh3im-w0rt"
RECIPE = (
    "--set",
    "epochs=1",
    "--set",
    "batch_size=64",
    "--store",
    "mlflow.json",
    "--scratch",
    "scratch",
    "--threads",
    1,
)


def verb(directory, environment, *arguments: str, ok: bool = True) -> None:
    """Run `jetloom`; what it says goes into a log, as in the workflow."""
    with (directory / "said.log").open("ab") as log:
        command = [sys.executable, "-m", "jetloom.cli", *map(str, arguments)]
        done = subprocess.run(command, stdout=log, stderr=log, cwd=directory, env=os.environ | environment)
    assert (done.returncode == 0) is ok, (directory / "said.log").read_text()[-3000:]


def holding_secret(*directories) -> list[str]:
    return [
        str(file)
        for directory in directories
        for file in directory.rglob("*")
        if file.is_file() and SECRET.encode() in file.read_bytes()
    ]


def chain(directory, manifest, environment) -> None:
    """What the workflow does, from the store to the report and the table of runs."""
    run, model = directory / "run", ("--model", "pfn", "--preset", "tiny")
    verb(directory, environment, "mlflow", "init", "by-hand/toy", "--directory", directory, "--output", "mlflow.json")
    verb(directory, environment, "train", manifest, *model, *RECIPE, "--output", run)
    check = (run / "best.ckpt", manifest, "--training", run / "training.json", "--split", "val", "--threads", 1)
    verb(directory, environment, "evaluate", *check, "--set", "bootstrap=5", "--output", run)
    quick = ("--set", "batch_sizes=[1]", "--set", "particles=[8]", "--set", "seconds=0.01", "--threads", 1)
    verb(directory, environment, "cost", manifest, *model, *quick, "--output", directory / "cost.json")
    (directory / "config.yaml").write_text("experiment: by-hand\n")
    files = ("--metrics", run / "metrics.json", "--costs", directory / "cost.json")
    verb(directory, environment, "report", *files, "--predictions", run / "predictions.parquet",
         "--training", run / "training.json", "--histories", run / "history.csv", "--manifests", manifest,
         "--config", directory / "config.yaml", "--title", "x", "--output", directory / "report")  # fmt: skip
    figures = ("--figures", directory / "report/figures", "--config", directory / "config.yaml", "--no-onnx")
    verb(directory, environment, "mlflow", "log", *files, *figures, "--output", directory / "tracked.json")
    verb(directory, environment, "mlflow", "export", directory / "runs.html")


def test_nothing_says_the_password_of_a_server(group, manifest, tmp_path) -> None:
    environment = {"MLFLOW_TRACKING_URI": re.sub("//", f"//someone:{SECRET}@", group.uri)}
    chain(tmp_path, manifest, environment)
    told = json.loads((tmp_path / "tracked.json").read_text())
    assert told["not_sent"] == {}
    assert list(told["sent"]) == ["toy/pfn/seed1"]
    assert list(told["registered"]) == ["toy-pfn"]
    assert (tmp_path / "report/index.html").is_file()
    assert "***" in (tmp_path / "run/training.json").read_text()
    assert holding_secret(tmp_path, group.directory) == []


def test_nothing_says_the_password_of_a_database_or_a_token(group, run_training, tmp_path, monkeypatch, capfd) -> None:
    uri = f"postgresql://jetloom:{SECRET}@/postgres?host={group.directory / 'socket'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", f"{SECRET}-token")
    prepare(None, ["exp/toy-direct"], tmp_path, tmp_path / "mlflow.json")
    content = json.loads((tmp_path / "mlflow.json").read_text())
    content["experiments"]["exp/toy"] = content["experiments"]["exp/toy-direct"]
    (tmp_path / "mlflow.json").write_text(json.dumps(content))
    output = run_training(store=tmp_path / "mlflow.json", epochs=1)
    assert json.loads((output / "training.json").read_text())["mlflow"]["not_sent"] == 0
    export(None, tmp_path, tmp_path / "runs.csv")
    said = capfd.readouterr()
    assert SECRET not in said.out + said.err
    assert holding_secret(tmp_path, group.directory) == []


def test_a_dead_server_makes_nothing_say_it(manifest, tmp_path) -> None:
    """Errors quote addresses: neither they nor what waits to be sent may."""
    environment = {"MLFLOW_TRACKING_URI": f"http://someone:{SECRET}@127.0.0.1:{free_port()}"}
    refused = ("mlflow", "init", "by-hand/toy", "--directory", tmp_path, "--output", "mlflow.json")
    verb(tmp_path, environment, *refused, ok=False)
    verb(tmp_path, environment, *refused, "--offline")
    content = json.loads((tmp_path / "mlflow.json").read_text()) | {"offline": False}
    (tmp_path / "mlflow.json").write_text(json.dumps(content))
    model = ("--model", "pfn", "--preset", "tiny")
    verb(tmp_path, environment, "train", manifest, *model, *RECIPE, "--output", "run")
    verb(tmp_path, environment, "mlflow", "sync", "run", ok=False)
    assert (tmp_path / "run/unsent.jsonl").is_file()
    assert "it does not answer" in (tmp_path / "said.log").read_text()
    assert holding_secret(tmp_path) == []
