"""`jetloom compare`: what differs between experiments, in how they were made and in what they reach."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jetloom.cli import main
from jetloom.errors import JetloomError
from jetloom.report.record.provenance import write
from jetloom.report.tables.comparison import compare
from jetloom.results.collect import collect
from jetloom.results.collection import Collection
from jetloom.tasks.classification.over_seeds import accuracy_difference
from jetloom.tasks.classification.scores import Scores

from .fabricate import fabricate, predicted


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> list[Path]:
    """Two finished experiments: the same jets, other seeds, one more model in the second."""
    made = []
    for name, models, seeds in (("first", ["part", "salt"], [1, 2]), ("second", ["part", "salt", "linformer"], [3])):
        home = tmp_path_factory.mktemp(name) / name
        results = fabricate(home, {"jetclass-sim": models}, seeds, jets=600)
        report = home / "report"
        report.mkdir()
        (report / "index.html").write_text("page")
        write(home / "provenance.json", results, report, {})
        made.append(home)
    return made


@pytest.fixture
def experiments(homes) -> dict[str, Collection]:
    from jetloom.results.inputs import inputs

    return {home.name: collect(inputs(home)) for home in homes}


def column(table, title: str) -> int:
    return [cell.text for cell in table.columns].index(title)


def test_the_same_model_in_each_and_the_difference(experiments):
    table = compare(experiments)["jetclass-sim"]
    part = [cells for model, cells in table.rows if model == "part"]
    assert [cells[1].text for cells in part] == ["first", "second", "second − first [σ]"]
    assert len([cells for model, cells in table.rows if model == "linformer"]) == 1, "one experiment has it"
    first, second = (next(entry for entry in item.datasets[0].entries if entry.model == "part")
                     for item in experiments.values())  # fmt: skip
    expected = accuracy_difference(second, first)
    records = table.records.values
    found = next(
        dict(zip(table.records.columns, row, strict=True))
        for row in records
        if row[0] == "part" and row[3] == "accuracy"
    )
    assert found["difference"] == pytest.approx(expected.value)
    assert found["sigma"] == pytest.approx(abs(expected.value) / expected.uncertainty)
    assert part[2][2].text in (f"+{expected.sigma:.1f}", f"−{expected.sigma:.1f}")
    assert all(math.isfinite(row[4]) for row in records)


def test_what_was_made_otherwise_is_listed(experiments):
    second = experiments["second"].datasets[0]
    for result in second.entries[0].results:
        result.training["training"]["batch_size"] = 256
    table = compare(experiments)["jetclass-sim"]
    differs = next(cells[column(table, "Differs in")].text for model, cells in table.rows[1:] if model == "part")
    assert "batch_size: 128 → 256" in differs
    assert "seeds: [1, 2] → [3]" in differs
    assert "commit" not in differs


def test_devices_make_another_result_and_workers_do_not(experiments):
    """More devices take more jets a step."""
    for result in experiments["second"].datasets[0].entries[0].results:
        result.training["training"] |= {"devices": 4, "workers": 7, "checkpoint_minutes": 1.0}
    table = compare(experiments)["jetclass-sim"]
    differs = next(cells[column(table, "Differs in")].text for model, cells in table.rows[1:] if model == "part")
    assert "devices: 1 → 4" in differs or "devices: none → 4" in differs
    assert "workers" not in differs and "checkpoint_minutes" not in differs


def test_other_test_jets_give_no_difference(experiments, tmp_path):
    for entry in experiments["second"].datasets[0].entries:
        for index, result in enumerate(entry.results):
            scores = result.read(Scores)
            observers = dict(scores.observers)
            observers["jet_pt"] = observers["jet_pt"] + 1
            path = tmp_path / f"{entry.model}{result.seed}"
            predicted(path, np.stack([scores.score(index) for index in range(10)], axis=1), scores.label, observers)
            entry.results[index] = replace(result, predictions_file=path)
    table = compare(experiments)["jetclass-sim"]
    line = next(cells for model, cells in table.rows if "[σ]" in cells[1].text)
    assert {cell.text for cell in line[2:]} == {"–"}
    assert not table.records.rows
    assert any("other test jets, not comparable" in cells[-1].text for _, cells in table.rows)


def test_nothing_in_common_is_an_error(experiments):
    renamed = experiments["second"].datasets[0]
    other = Collection([replace(renamed, name="elsewhere")])
    with pytest.raises(JetloomError, match=r"no data set is in two .*first: jetclass-sim; second: elsewhere"):
        compare({"first": experiments["first"], "second": other})


def test_the_verb_prints_or_writes(homes, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, homes)])
    assert not ended.value.code
    assert "| Tagger | Experiment |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["compare", *map(str, homes), "--output", str(tmp_path / "out")])
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".html", ".tex", ".csv", ".md"}
    with (tmp_path / "out/jetclass-sim.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 4
    with pytest.raises(SystemExit, match="given twice"):
        main(["compare", str(homes[0]), str(homes[0])])
