"""What pre-training buys: arms, their differences to scratch, and what those are worth in labels."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jetloom.drawing.style import looks, publication_style, save
from jetloom.report.draw import looks_of
from jetloom.report.page.first_screen import answer
from jetloom.report.tables import of_dataset
from jetloom.results.collect import collect
from jetloom.results.collection import Collection, DataSet
from jetloom.statistics.values import Value
from jetloom.tasks.classification.labels import arms, label_ratio, labels, scratch_of, table_of_labels
from jetloom.tasks.classification.over_seeds import paired_difference
from jetloom.tasks.classification.scores import Scores
from jetloom.tasks.classification.show import SHOW
from tests.report import fabricate as module
from tests.report.fabricate import fabricate

SCAN = {100: 2.4, 1000: 2.8, "all": 3.2}
GAIN = {"part": 0.0, "tuned": 0.3}
"""Skill of each arm at each number, and of each arm over scratch."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Two arms of ParT, and a tagger of which there is one number only."""
    names = {
        f"{arm}-n{number}" if number != "all" else arm: (arm, number, skill + gain)
        for arm, gain in GAIN.items()
        for number, skill in SCAN.items()
    }
    home = tmp_path_factory.mktemp("labels")
    with pytest.MonkeyPatch.context() as patch:
        for name, (arm, number, skill) in names.items():
            title = {"part": "ParT", "tuned": "tuned"}[arm]
            patch.setitem(module.TITLES, name, title if number == "all" else f"{title}, {number:,} labels")
            patch.setitem(module.SKILL, name, skill)
        results = fabricate(home, {"jetclass-sim": [*names, "salt"]}, [1, 2, 3])
    for path in results.training:
        content = json.loads(path.read_text())
        arm, number, _ = names.get(content["run"]["model"], ("salt", "all", 0))
        content["architecture"] = "salt" if arm == "salt" else "part"
        content["training"] |= {"labelled_jets": number, "validation": "scaled"}
        content["training"] |= {"initial_weights": "a.ckpt"} if arm == "tuned" else {}
        path.write_text(json.dumps(content))
    return collect(results).datasets[0]


@pytest.mark.seconds
def test_arms_are_models_at_several_numbers(dataset: DataSet) -> None:
    found = arms(dataset)
    assert [(arm.name, arm.title, list(arm.points)) for arm in found] == [
        ("part", "ParT", [100, 1000, 8000]),
        ("tuned", "tuned", [100, 1000, 8000]),
    ]
    assert scratch_of(found[1], found) is found[0]
    assert scratch_of(found[0], found) is None


def test_other_figures_show_the_most_labels_alone(dataset: DataSet) -> None:
    assert [entry.model for entry in dataset.with_most_labels.entries] == ["part", "tuned", "salt"]
    assert dataset.with_most_labels.with_most_labels is dataset.with_most_labels
    colors = looks([entry.model for entry in dataset.entries])
    with publication_style():
        drawn = SHOW.figures["rejection"].of(dataset, colors, [dataset])
        of_labels = SHOW.figures_of_size["labels"].of(dataset, colors, [dataset])
    assert {row[2] for row in drawn.rows} == {"part", "tuned", "salt"}
    assert {row[2] for row in of_labels.rows} == {100, 1000, 8000}
    [wrong, gain] = [plot for plot in of_labels.plots if "Rejection" not in plot.y.label and "[" in plot.y.label]
    assert [(curve.title, list(curve.x)) for curve in wrong.curves] == [
        ("ParT", [100, 1000, 8000]),
        ("tuned", [100, 1000, 8000]),
    ]
    assert [curve.title for curve in gain.curves] == ["tuned"], "the other one is what it is compared with"
    of_tuned = [row for row in of_labels.rows if row[:2] == ["wrong_percent", "tuned"]]
    assert [list(wrong.curves[1].y), list(gain.curves[0].y)] == [[row[place] for row in of_tuned] for place in (3, 8)]


def test_the_page_has_the_figure_and_a_look_for_each_arm(dataset: DataSet, tmp_path: Path) -> None:
    """Colours tell arms apart, not numbers of labels."""
    colors = looks_of(Collection([dataset]))
    assert colors["part-n100"] == colors["part-n1000"] == colors["part"] == looks(["part"])["part"]
    assert len({colors[name].color for name in ("part", "tuned", "salt")}) == 3
    assert {"labels", "pairs", "rejections", "overview"} <= of_dataset(Collection([dataset]), dataset).keys()
    assert answer(dataset.with_most_labels)[0].startswith("tuned is the most accurate")


def test_equal_networks_are_not_ranked_by_their_cost(dataset: DataSet) -> None:
    shown = dataset.with_most_labels
    assert "fewest FLOPs" in answer(shown)[1]
    equal = replace(shown, entries=[replace(entry, cost=shown.entries[0].cost) for entry in shown.entries])
    assert answer(equal)[1].startswith("All of them take as many FLOPs (")


def test_differences_are_paired_by_seed_and_by_jet(dataset: DataSet) -> None:
    scratch, tuned = arms(dataset)
    first, second = tuned.points[1000], scratch.points[1000]
    right = [
        np.array([result.read(Scores).correct for result in entry.results], dtype=float) for entry in (first, second)
    ]
    change = right[0] - right[1]
    by_seed = change.mean(axis=1)
    found = paired_difference(first, second)
    assert found.value == pytest.approx(change.mean())
    jets = change.mean(axis=0).std() / math.sqrt(change.shape[1])
    assert found.uncertainty == pytest.approx(math.hypot(jets, by_seed.std(ddof=1) / math.sqrt(3)))
    assert paired_difference(first, first) == (0, 0)


@pytest.mark.parametrize(
    ("accuracy", "labels", "expected"),
    [
        # Half-way between 100 and 10,000 labels from scratch are 1,000.
        (0.55, 100, (10, 10 ** (1 + 2 * 0.02 / 0.1 * -1), 10 ** (1 + 2 * 0.02 / 0.1), "")),
        (0.50, 100, (1, 1, 10 ** (2 * 0.02 / 0.1), "")),
        (0.65, 1000, (10, 10, 10, ">")),
        (0.40, 100, (1, 1, 1, "<")),
    ],
)
def test_label_ratio(accuracy: float, labels: int, expected: tuple[float, float, float, str]) -> None:
    value = Value(accuracy, accuracy - 0.02, accuracy + 0.02, None, 1)
    found = label_ratio(value, labels, [(100, 0.5), (10_000, 0.6)])
    assert found[:3] == pytest.approx(expected[:3])
    assert found.limit == expected[3]


def test_an_accuracy_that_falls_again_does_not_count() -> None:
    value = Value(0.55, 0.55, 0.55, None, 1)
    assert label_ratio(value, 1000, [(100, 0.5), (1000, 0.55), (3000, 0.52), (10_000, 0.6)]).value == pytest.approx(1)
    flat = [(100, 0.55), (1000, 0.55)]
    assert [label_ratio(value, number, flat).value for number in (100, 1000)] == pytest.approx([1, 0.1])


def test_the_table(dataset: DataSet) -> None:
    table = table_of_labels(dataset)
    # The record of what each number was made from asks for it.
    assert table.records.columns[0] == "model"
    rows = [dict(zip(table.records.columns, row, strict=True)) for row in table.records.values]
    assert [(row["arm"], row["labelled_jets"]) for row in rows] == [
        (arm, number) for arm in ("part", "tuned") for number in (100, 1000, 8000)
    ]
    assert [row["difference"] for row in rows[:3]] == [None] * 3
    assert all(row["scratch"] == "part" and row["difference"] > 2 * row["uncertainty"] for row in rows[3:])
    assert all(row["label_ratio"] > 1 for row in rows[3:5])
    assert rows[5]["limit"] == ">"
    texts = [[cell.text for cell in cells] for _, cells in table.rows]
    assert texts[2][:2] == ["ParT", "8,000 (all)"]
    assert texts[5][4].startswith("> ")
    assert "a quarter as many" in table.note


def test_the_figure(dataset: DataSet, tmp_path: Path) -> None:
    colors = looks([entry.model for entry in dataset.entries])
    with publication_style():
        drawing = labels(dataset, colors)
        save(drawing, tmp_path / "labels")
    assert Image.open(tmp_path / "labels.png").width > 1000
    assert [axis.get_xlabel() for axis in drawing.figure.axes if axis.get_xlabel()] == ["Labelled training jets"] * 3
    of = {(row[0], row[1], row[2]): row for row in drawing.rows}
    assert {key[0] for key in of} == {"wrong_percent", "rejection_Hqql", "rejection_Tbl"}
    scratch, tuned = arms(dataset)
    for number in (100, 1000, 8000):
        row, other = of["wrong_percent", "tuned", number], of["wrong_percent", "part", number]
        values = [result.metrics["values"]["accuracy"]["value"] for result in tuned.points[number].results]
        assert row[3] == pytest.approx(100 * (1 - sum(values) / 3))
        assert row[4] < row[3] < row[5]
        assert row[8] == pytest.approx(row[3] - other[3])
        assert row[9] == pytest.approx(
            100 * paired_difference(tuned.points[number], scratch.points[number]).uncertainty
        )
        assert other[7:] == ["", None, None]
        assert row[7] == "part"


def test_nothing_where_there_is_one_number(tmp_path: Path) -> None:
    [dataset] = collect(fabricate(tmp_path, {"jetclass-sim": ["part", "salt"]}, [1])).datasets
    assert table_of_labels(dataset) is None
    assert labels(dataset, looks(["part", "salt"])) is None
    assert dataset.with_most_labels is dataset
