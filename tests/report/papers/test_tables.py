"""Tables of papers: what is like with like, differences by hand, marks, and every way of writing them."""

import copy
import csv
import io
import math
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from jetloom.catalogue import cards
from jetloom.config import resolve_training
from jetloom.drawing.style import looks
from jetloom.report.papers.flops import profiler_flops
from jetloom.report.papers.published import names, published
from jetloom.report.papers.rebuilt import garwood, measured, pull, rebuild
from jetloom.report.tables import of_dataset, of_papers
from jetloom.report.tables.render import csv_text, html, latex, markdown
from jetloom.results.collect import collect
from jetloom.results.collection import Collection
from jetloom.results.inputs import Inputs
from jetloom.results.over_seeds import over_seeds
from jetloom.statistics.values import Value
from jetloom.tasks.classification.over_seeds import combined_interval

from ..fabricate import fabricate


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Inputs:
    return fabricate(tmp_path_factory.mktemp("papers"), {"jetclass": ["part", "parmat"]}, [1, 2], jets=600)


@pytest.fixture
def published_like(stored) -> Collection:
    """Results that say of themselves to be what the ParT paper did."""
    collection = collect(stored)
    [dataset] = collection.datasets
    dataset.manifest.update(simulated=False, dataset="jetclass", feature_set="full", max_particles=128)
    dataset.manifest["splits"]["train"]["jets"] = 100_000_000
    dataset.manifest["splits"]["test"]["jets"] = 20_000_000
    for entry in dataset.entries:
        entry.cost["parameters"] = {"part": 2_143_486, "parmat": 5_317_758}[entry.model]
        for result in entry.results:
            recipe = cards.model_card(entry.model).presets["jetclass"].training
            result.training.update(options={}, training=resolve_training(recipe).model_dump(mode="json"))
    return collection


def line(collection: Collection, name: str = "part_jetclass", row: str = "part"):
    rebuilt = next(item for item in rebuild(collection) if item.name == name)
    return rebuilt, next(item for item in rebuilt.lines if item.name == row)


def rows(collection: Collection, name: str = "part_jetclass") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(of_papers(collection)[name]))))


def test_every_published_table_can_be_read_and_says_where_each_value_is_from():
    assert len(names()) >= 8
    for name in names():
        table = published(name)
        for key, row in table.rows.items():
            assert row.model is None or row.model in cards.names("models")
            for metric in row.values:
                value = table.value(key, metric)
                assert value.source.text
                assert value.value > 0
                if metric in ("accuracy", "auc"):
                    assert 0.5 < value.value < 1
    assert published("part_top").value("part", "rejection_50")[:3] == ("413", 413.0, 16.0)
    assert published("part_jetclass").value("part", "accuracy").rounding == pytest.approx(0.001 / math.sqrt(12))


def test_results_of_the_same_making_are_like_with_like(published_like):
    _, part = line(published_like)
    assert part.alike, part.differences
    table = of_papers(published_like)["part_jetclass"]
    kinds = [cells[1].text for _, cells in table.rows if cells[0].text == "ParT"]
    assert kinds == ["ours", "published", "difference [σ]"]
    assert "Like with like: ParT" in table.note
    [accuracy] = [row for row in rows(published_like) if row["model"] == "part" and row["metric"] == "accuracy"]
    assert accuracy["like_with_like"] == "True"
    assert accuracy["status"] == "read"
    assert len(accuracy["data_digest"]) == 64
    assert accuracy["commit"].startswith("0123456")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest, training: manifest.update(simulated=True), "simulated jets, not the public set"),
        (lambda manifest, training: manifest.update(feature_set="kin"), "inputs kin, published full"),
        (lambda manifest, training: manifest.update(max_particles=64), "64 particles, published 128"),
        (lambda manifest, training: manifest["splits"]["train"].update(jets=2_000_000),
         "2,000,000 training jets, published 100,000,000"),
        (lambda manifest, training: manifest["splits"]["test"].update(jets=1000),
         "1,000 test jets, published 20,000,000"),
        (lambda manifest, training: manifest.update(classes=["QCD", "Hbb"]), "2 classes, published 10"),
        (lambda manifest, training: training.update(architecture="salt"), "architecture salt, published part"),
        (lambda manifest, training: training["options"].update(blocks=4), "option blocks = 4, published 8"),
        (lambda manifest, training: training["training"].update(epochs=5), "epochs 5, published 50"),
        (lambda manifest, training: training["training"].update(optimizer="adam"), "optimizer adam, published ranger"),
        (lambda manifest, training: training["training"].update(devices=4), "4 devices of 512 jets a step"),
        (lambda manifest, training: training["training"].update(initial_weights="a.ckpt"),
         "fine-tuned, published from scratch"),
        (lambda manifest, training: training.update(data_digest="0"), "trained on other data than tested on"),
    ],
)  # fmt: skip
def test_whatever_differs_is_said_and_ends_the_comparison(published_like, change, words):
    [dataset] = published_like.datasets
    change(dataset.manifest, dataset.entries[0].results[1].training)
    _, part = line(published_like)
    assert not part.alike
    assert words in part.differences
    table = of_papers(published_like)["part_jetclass"]
    assert "difference [σ]" not in [cells[1].text for model, cells in table.rows if model == "part"]
    assert f"no reproduction and no difference: ParT ({words}" in table.note
    ours = [row for row in rows(published_like) if row["model"] == "part" and row["ours"]]
    assert {row["like_with_like"] for row in ours} == {"False"}
    assert {row["sigma"] for row in ours} == {""}


def test_another_size_is_not_like_with_like(published_like):
    published_like.datasets[0].entries[0].cost["parameters"] = 2_000_000
    assert line(published_like)[1].differences == ("2,000,000 parameters, published 2,140,000",)


def test_another_data_set_has_no_line_in_the_table(stored):
    collection = collect(stored)
    [dataset] = collection.datasets
    dataset.manifest["dataset"] = "jetclass-sim"
    renamed = Collection([replace(dataset, name="jetclass-sim")])
    assert rebuild(renamed) == []


def test_difference_in_units_of_the_combined_uncertainty_by_hand(published_like):
    rebuilt, part = line(published_like)
    ours = over_seeds(part.entry, "accuracy")
    theirs = rebuilt.table.value("part", "accuracy")
    statistical = (ours.high - ours.low) / 2
    published_error = math.hypot(statistical * math.sqrt(600 / 20e6), 0.001 / math.sqrt(12))
    scatter = ours.spread / math.sqrt(2)
    side = ours.value - ours.low if ours.value > 0.861 else ours.high - ours.value
    expected = (ours.value - 0.861) / math.hypot(side, scatter, published_error)
    assert pull(ours, theirs, "accuracy", rebuilt.table, 600) == pytest.approx(expected)

    figure = Value(12000.0, 11000.0, 13500.0, None, 1)
    theirs = rebuilt.table.value("part", "rejection_Hbb")
    fewer, _ = garwood(2e6 / 10638)
    low, _ = combined_interval(figure)
    error = math.hypot(2e6 / fewer - 10638, 1 / math.sqrt(12))
    expected = (12000 - 10638) / math.hypot(12000 - low, error)
    assert pull(figure, theirs, "rejection_Hbb", rebuilt.table, 600) == pytest.approx(expected)
    assert pull(Value(None, 9000.0, None, None, 1), theirs, "rejection_Hbb", rebuilt.table, 600) is None


def test_printed_spreads_are_used_as_they_are():
    table = published("salt_hls4ml")
    theirs = table.value("salt", "rejection_mean")
    sigma = pull(Value(66.0, 65.0, 67.0, None, 1), theirs, "rejection_mean", table, 1000)
    assert sigma == pytest.approx(1.5 / math.hypot(1.0, 0.7, 0.1 / math.sqrt(12)), rel=0.02)


@pytest.mark.parametrize("name", ["salt_hls4ml", "salt_modelnet10"])
def test_the_profilers_count_is_that_of_the_papers_code(name):
    table, classes = published(name), {"salt_hls4ml": 5, "salt_modelnet10": 10}[name]
    for key, row in table.rows.items():
        if row.model and (value := table.value(key, "profiler_flops")):
            assert profiler_flops(row.model, row.options, table.max_particles, 3, classes) == value.value, key
    assert profiler_flops("part", {}, 128, 17, 10) is None
    assert profiler_flops("salt", {"layers": 2}, 128, 3, 10) is None


def test_costs_and_rejections_are_measured(published_like):
    [dataset] = published_like.datasets
    entry = dataset.entries[0]
    assert measured(entry, dataset, "device_hours").value == pytest.approx((68.5 + 75.5) / 2 / 3600)
    for result in entry.results:
        result.training["training"].update(devices=2, nodes=3)
    assert measured(entry, dataset, "device_hours").value == pytest.approx(6 * (68.5 + 75.5) / 2 / 3600)
    assert measured(entry, dataset, "flops_50").value == entry.cost["flops"]
    assert measured(entry, dataset, "rejection_Hbb").low > 1
    assert measured(entry, dataset, "rejection_30") is None, "nine signal classes: which one?"
    assert measured(entry, dataset, "rejection_mean") is None, "not asked for in the evaluation"


def test_recalled_and_quoted_values_carry_a_mark_and_a_footnote(published_like):
    table = of_papers(published_like)["part_jetclass"]
    plain = next(cells for _, cells in table.rows if cells[0].text == "ParT (plain)")
    by_column = {column.hint: cell for column, cell in zip(table.columns, plain, strict=True) if column.hint}
    assert by_column["accuracy"].mark == "†"
    assert by_column["rejection_Hcc"].mark == "‡"
    assert {mark for mark, _ in table.footnotes} >= {"†", "‡", "[1]"}
    assert any("recalled" in words for _, words in table.footnotes)
    for text in (html(table, {}), latex(table), markdown(table)):
        assert "recalled, not read again" in text
    assert {row["status"] for row in rows(published_like)} >= {"read", "second-hand", "recalled"}


def test_no_digit_beyond_the_uncertainty(published_like):
    for table in of_papers(published_like).values():
        for _, cells in table.rows:
            for cell in cells:
                known = [item for item in (*cell.uncertainties, cell.below) if item]
                if known and "published" not in (cells[1].text,):
                    decimals = {len(item.partition(".")[2]) for item in (cell.text, *known)}
                    assert len(decimals) == 1, cell
                    assert (
                        max(len(item.strip("−+").replace(".", "").replace(",", "").strip("0")) for item in known) <= 2
                    )


def test_a_changed_working_tree_is_marked_in_every_table(published_like):
    [dataset] = published_like.datasets
    clean = [*of_dataset(published_like, dataset).values(), *of_papers(published_like).values()]
    assert not any("uncommitted" in html(table, {}) for table in clean)
    dataset.entries[0].results[0].training["git"]["dirty"] = True
    for table in (*of_dataset(published_like, dataset).values(), *of_papers(published_like).values()):
        if table.title.startswith("Against ") and "ParT" in table.title:
            continue
        assert "uncommitted" in html(table, {}), table.title


def tables(collection: Collection):
    [dataset] = collection.datasets
    return [*of_dataset(collection, dataset).values(), *of_papers(collection).values()]


def test_every_form_holds_every_row(published_like):
    for table in tables(published_like):
        lines = [text for text in markdown(table).splitlines() if text.startswith("|")]
        assert len(lines) == len(table.rows) + 2
        assert len({len(re.findall(r"(?<!\\)\|", text)) for text in lines}) == 1
        body = latex(table).split(r"\midrule")[1].split(r"\bottomrule")[0]
        written = [text for text in body.splitlines() if text.endswith(r"\\")]
        assert len(written) == len(table.rows)
        assert {len(re.findall(r"(?<!\\)&", text)) for text in written} == {len(table.columns) - 1}
        content = list(csv.reader(io.StringIO(csv_text(table))))
        assert len({len(row) for row in content}) == 1
        assert html(table, looks(published_like.models)).count("<tr>") == len(table.rows) + 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs")
def test_latex_compiles(published_like, tmp_path):
    dirty = copy.deepcopy(tables(published_like)[0])
    text = "\n\\clearpage\n".join(latex(table) for table in [*tables(published_like), dirty])
    document = tmp_path / "tables.tex"
    document.write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[paperwidth=90cm]{geometry}\n"
        f"\\begin{{document}}\n{text}\n\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="latin-1")
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "tables.log").read_text(encoding="latin-1")
    assert "Overfull" not in log
    assert not re.findall(r"^! |Missing character|undefined", log, flags=re.M)
    assert (tmp_path / "tables.pdf").stat().st_size > 10_000
