"""Trainings of a task that shows nothing of its own, and trainings without an evaluation."""

import json
from dataclasses import replace

import pytest

from jetloom.report.build import report
from jetloom.report.record.provenance import write
from jetloom.report.shows import read, show_of
from jetloom.tasks.shows import Show

from .fabricate import fabricate

pytestmark = pytest.mark.seconds


def test_a_task_without_a_show_has_what_all_have():
    assert type(show_of("of_nobody")) is Show


def test_a_training_without_evaluation_shows_its_curve_and_its_cost(tmp_path):
    given = fabricate(tmp_path / "tagger", {"jetclass-sim": ["part"]}, [1], jets=300)
    other = fabricate(tmp_path / "other", {"jetclass-sim": ["salt"]}, [1, 2], jets=300)
    for path in other.training:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"task": {"name": "masked", "settings": {}}}))
    both = replace(
        given,
        training=[*given.training, *other.training],
        histories=[*given.histories, *other.histories],
        costs=[*given.costs, *other.costs],
    )
    assert [item.name for item in read(both).datasets] == ["jetclass-sim", "jetclass-sim-masked-unevaluated"]
    tables = report(both, tmp_path / "report")
    shown = tmp_path / "report/figures/jetclass-sim-masked-unevaluated"
    assert {path.name for path in shown.glob("*.png")} == {"training.png", "scaling.png", "throughput.png"}
    text = (tmp_path / "report/index.html").read_text()
    assert "Trained, not evaluated: SAL\u2011T." in text
    assert tables["jetclass-sim-masked-unevaluated-overview"].columns[:4] == ["model", "title", "seeds", "parameters"]
    write(tmp_path / "provenance.json", both, tmp_path / "report", tables)
    alone = report(replace(both, metrics=[], predictions=[], examples=[]), tmp_path / "alone")
    assert "jetclass-sim-classification-unevaluated" in alone
