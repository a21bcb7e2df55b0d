"""All runs as a static table."""

import csv

import pytest

from jetloom.errors import JetloomError
from jetloom.tracking.store import open_client, open_store
from jetloom.tracking.table import export


def test_every_run_is_a_row(store, tmp_path) -> None:
    uri, _, experiment, *_ = open_store(store, "exp/toy")
    client = open_client(uri)
    for seed in (1, 2):
        run = client.create_run(experiment, run_name=f"small <{seed}>", tags={"git.commit": "abc"}).info.run_id
        client.log_param(run, "epochs", 3)
        client.log_metric(run, "test/auc", 0.5 + seed / 10)
        client.set_terminated(run)
    export(uri, tmp_path, tmp_path / "runs.csv")
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert {row["run"]: float(row["metric test/auc"]) for row in rows} == {"small <1>": 0.6, "small <2>": 0.7}
    assert {(row["experiment"], row["status"], row["commit"], row["parameter epochs"]) for row in rows} == {
        ("exp/toy", "FINISHED", "abc", "3")
    }
    export(None, tmp_path, tmp_path / "runs.html")
    page = (tmp_path / "runs.html").read_text()
    assert "small &lt;1&gt;" in page
    assert "<script" not in page and "http" not in page, "it needs nothing else"


def test_mistakes_are_one_line(tmp_path) -> None:
    with pytest.raises(JetloomError, match=r"expected a name that ends in \.csv or \.html"):
        export(None, tmp_path, tmp_path / "runs.pdf")
    with pytest.raises(JetloomError, match="no store yet; run the workflow first"):
        export(None, tmp_path, tmp_path / "runs.csv")
