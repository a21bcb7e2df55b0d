"""The tables of energies and of networks in fewer bits, and pages of results that have neither."""

import json

import pytest

from jetloom.report.page.render import words_of
from jetloom.report.shows import read
from jetloom.report.tables import of_dataset
from jetloom.report.tables.energy import energies
from jetloom.report.tables.quantised import in_fewer_bits
from jetloom.report.tables.render import csv_text, html, markdown
from tests.report.fabricate import fabricate

MODELS = {"jetclass-sim": ["part", "salt"]}


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def results(tmp_path):
    """Two taggers of two seeds: int8 of one loses a point, the other one does not export."""
    given = fabricate(tmp_path / "results", MODELS, [1, 2], jets=300)

    def fewer(content):
        if content["run"]["model"] == "salt":
            content["quantised"] = {"int8": {"refused": "salt cannot be had in int8 (RuntimeError: no)"}}
            return
        values = json.loads(json.dumps(content["values"]))
        off = 0.01 if content["run"]["seed"] == 1 else 0.03
        values["accuracy"] = {key: value - off for key, value in values["accuracy"].items()}
        loss = {"accuracy": {"value": off, "low": off - 0.002, "high": off + 0.002}}
        made = {"how": "as it is", "megabytes": 2.25, "onnxruntime": "1.0.0", "values": values, "lost": loss}
        content["quantised"] = {"int8": made}

    for path in given.metrics:
        change(path, fewer)
    for path in given.costs:
        change(path, lambda content: content.update(moved=2 * content["macs"], clock="half", schema_version=2))
        change(path, lambda content: [point.update(steady=False, spread=0.2) for point in content["latency"]])
    return given


def test_what_is_lost_and_what_is_refused(results):
    (dataset,) = read(results).datasets
    table = in_fewer_bits(dataset)
    [(first, cells), (second, refused)] = table.rows
    assert (first, second) == ("part", "salt")
    # Two seeds, 1 and 3 points: the mean, and jets and seeds in quadrature, hypot(0.2, 1.0).
    assert (cells[1].text, cells[3].text, cells[3].uncertainties) == ("int8", "2.0", ("1.0",))
    (entry,) = [item for item in dataset.entries if item.model == "part"]
    before = sum(item.metrics["values"]["accuracy"]["value"] for item in entry.results) / 2
    assert cells[2].order == pytest.approx(before - 0.02)
    assert cells[-1].text == "2.25"
    assert refused[2].text == "not available" and refused[2].hint.startswith("salt cannot be had")
    assert "int8: as it is" in table.note and "salt cannot be had in int8" in table.note
    assert "part,int8,," in csv_text(table)
    assert "**In fewer bits**" in markdown(table)


def test_energies_follow_the_counts(results):
    (dataset,) = read(results).datasets
    table = energies(dataset)
    assert [cell.text for cell in table.columns[3:]] == [
        "float32, 45 nm [µJ]", "bf16, 45 nm [µJ]", "int8, 45 nm [µJ]",
        "float32, 7 nm [µJ]", "bf16, 7 nm [µJ]", "int8, 7 nm [µJ]",
    ]  # fmt: skip
    (cells,) = [cells for model, cells in table.rows if model == "part"]
    macs = 600_000
    assert cells[1].order == macs
    # 4.6 pJ a multiply-add, and 10 pJ for each 8 bytes of 2 numbers of 4 bytes.
    assert cells[3].order == pytest.approx(macs * (4.6 + 2 * 4 * 10 / 8))
    assert cells[6].order == pytest.approx(macs * 1.69) and cells[6].hint == "arithmetic alone"
    assert "Horowitz, ISSCC 2014" in table.note and "a byte moved 1.25" in table.note


def test_the_tables_stand_on_the_page_and_busy_times_are_marked(results):
    collection = read(results)
    (dataset,) = collection.datasets
    tables = of_dataset(collection, dataset)
    assert list(tables)[-3:] == ["quantised", "energy", "runs"]
    page = html(tables["overview"], {})
    assert "<sup>§</sup>" in page and "the machine was busy" in page
    assert words_of(dataset)["clock"] == "half"


def test_results_of_earlier_versions_are_still_read(tmp_path):
    collection = read(fabricate(tmp_path / "results", MODELS, [1], jets=300))
    (dataset,) = collection.datasets
    tables = of_dataset(collection, dataset)
    assert not {"quantised", "energy"} & tables.keys()
    assert "the machine was busy" not in html(tables["overview"], {})
    assert words_of(dataset)["clock"] == "median of the repetitions and their central 68 %"
