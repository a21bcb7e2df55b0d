"""MLflow's own pages in a real browser, on a real server: the runs are listed, and five can be compared."""

import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from jetloom.tracking.store import open_client, prepare
from tests.support.browser import CHROMIUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (apt-get install chromium)"),
]


def visit(address: str, home: Path, *flags: str) -> str:
    """The document after its scripts have run, without a window."""
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1500,1100",
        f"--user-data-dir={home / 'profile'}", "--virtual-time-budget=20000", *flags, address,
    ]  # fmt: skip
    environment = os.environ | {"HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment).stdout


def words(document: str) -> str:
    return re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", " ", document, flags=re.S))


def picture(address: str, home: Path, name: str) -> None:
    """A screenshot; kept where JETLOOM_SCREENSHOTS says, which is how those of the documentation are made."""
    visit(address, home, f"--screenshot={home / name}")
    with Image.open(home / name) as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50, "not an empty page"
    if kept := os.environ.get("JETLOOM_SCREENSHOTS"):
        shutil.copy(home / name, kept)


def test_runs_are_listed_and_compared(group, run_training, tmp_path) -> None:
    prepare(group.uri, ["exp/toy"], tmp_path, tmp_path / "mlflow.json")
    client = open_client(group.uri)
    experiment = client.get_experiment_by_name("exp/toy").experiment_id
    before = {run.info.run_id for run in client.search_runs([experiment])}
    for seed in range(11, 16):
        # Five configurations: each has a parent of its own, which is the row that the page shows.
        run_training(f"s{seed}", store=tmp_path / "mlflow.json", seed=seed, epochs=3, batch_size=4 * seed)
    runs = client.search_runs([experiment])
    made = [run for run in runs if run.info.run_id not in before and run.data.tags["jetloom.level"] == "seed"]
    assert len(made) == 5

    page = f"{group.uri}/#/experiments/{experiment}/runs"
    listed = words(visit(page, tmp_path, "--dump-dom"))
    assert "exp/toy" in listed
    assert listed.count("Pin run") >= 5
    assert "small-kin" in listed

    ids = ",".join(f'"{run.info.run_id}"' for run in made)
    address = f'{group.uri}/#/compare-runs?runs=[{ids}]&experiments=["{experiment}"]'
    document = visit(address, tmp_path, "--dump-dom")
    compared = words(document)
    assert "Comparing 5 Runs" in compared
    for name in ("model.heads", "learning_rate", "optimizer", "val/accuracy", "train/loss"):
        assert name in compared
    assert "js-plotly-plot" in document, "the metrics are drawn"
    picture(page, tmp_path, "mlflow-runs.png")

    # The first click of whoever has never been here, and what it leads to.
    for run in runs:
        if run.info.run_id not in before and run.data.tags["jetloom.level"] == "model":
            for name, value in {"test/accuracy": 0.625, "test/accuracy_spread": 0.0078, "test/auc": 0.875}.items():
                client.log_metric(run.info.run_id, name, value)
    first = visit(f"{group.uri}/#/experiments/{experiment}", tmp_path, "--dump-dom")
    [link] = re.findall(r'href="(#[^"]*)"[^>]*>Which model is best\?', first)
    best = f"{group.uri}/{unescape(link)}"
    table = visit(best, tmp_path, "--dump-dom")
    for text in ("test/accuracy", "test/accuracy_spread", "test/auc", "0.625", "0.0078", "0.875"):
        assert text in words(table), text
    assert "small-kin-s11" not in words(table), "one row for each model"
    picture(best, tmp_path, "mlflow-best.png")
    picture(address, tmp_path, "mlflow-compare.png")
