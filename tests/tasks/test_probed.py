"""What the page shows of pre-trainings: probes beside those of random encoders, and views of a jet."""

import csv
import json
import re

import numpy as np
import pytest

from jetloom.drawing.style import looks, publication_style
from jetloom.report.build import report
from jetloom.report.figures import figures_of
from jetloom.report.shows import read, show_of
from jetloom.results.inputs import Inputs
from jetloom.tasks.contrastive.figures import PANELS
from tests.report.fabricate import fabricate

PROBE = {"training_jets": 8000, "test_jets": 3000, "neighbours": 20, "strength": 0.1}
GAIN = {"part": 0.03, "salt": 0.002, "linformer": 0.01}
OWN = {
    "contrastive": {"partner_accuracy": 0.9, "alignment": 0.2},
    "masked_token": {"token_accuracy": 0.05, "nats": 4.5, "unigram_nats": 6.0, "nats_gained": 1.5},
}


def value(middle: float, error: float) -> dict[str, float]:
    return {"value": middle, "low": middle - error, "high": middle + error}


def pre_trainings(directory, task: str, models: list[str], seeds: list[int]) -> Inputs:
    given = fabricate(directory, {"jetclass-sim": models}, seeds)
    record = {"task": {"name": task, "settings": {}}}
    for metrics, training, history in zip(given.metrics, given.training, given.histories, strict=True):
        content = json.loads(metrics.read_text())
        for name in ("values", "confusion", "roc", "background"):
            del content[name]
        gain = GAIN[content["run"]["model"]]
        values = {name: value(middle, 0.01) for name, middle in OWN[task].items()}
        for name in ("probe", "knn"):
            values[f"{name}_accuracy"], values[f"random_{name}_accuracy"] = (
                value(0.42 + gain, 0.009),
                value(0.42, 0.009),
            )
            values[f"{name}_gain"] = value(gain, 0.003)
        metrics.write_text(json.dumps(content | record | {"probe": PROBE, "values": values}))
        training.write_text(json.dumps(json.loads(training.read_text()) | record))
        _history(history, task)
    return given


def _history(path, task: str) -> None:
    names = {"contrastive": ["loss", "accuracy", "alignment", "uniformity"],
             "masked_token": ["loss", "accuracy", "masked", "unigram"]}[task]  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        columns = [f"{side}_{name}" for side in ("train", "val") for name in names]
        writer.writerow(["epoch", "step", *columns, "learning_rate", "seconds"])
        for epoch in range(12):
            writer.writerow([epoch, 62 * (epoch + 1), *(6.0 / (epoch + 1) for _ in columns), 1e-3, 5.0])


def dataset_of(given: Inputs):
    (dataset,) = read(given).datasets
    return dataset


@pytest.mark.parametrize("task", OWN)
def test_the_random_encoder_is_in_the_table(tmp_path, task):
    dataset = dataset_of(pre_trainings(tmp_path, task, ["linformer", "part", "salt"], [1, 2]))
    show = show_of(task)
    assert [entry.model for entry in show.ranked(dataset)] == ["part", "linformer", "salt"]
    table = show.tables(dataset, [dataset])["probes"]
    assert [cell.text for cell in table.columns].count("Random encoder") == 2
    assert "8,000 training jets" in table.note and "3,000 test jets" in table.note
    assert [row[0] for row in table.rows] == ["part", "linformer", "salt"]
    assert table.rows[0][1][1].text.startswith("0.45") and table.rows[0][1][2].text.startswith("0.42")
    assert "pre-training, without labels" in show.heading(dataset)


@pytest.mark.parametrize(
    ("model", "words"), [("part", "3.00 ± 0.30 points more than on a random"), ("salt", "no clear gain over a random")]
)
def test_the_first_sentence_says_whether_anything_was_gained(tmp_path, model, words):
    dataset = dataset_of(pre_trainings(tmp_path, "contrastive", [model], [1]))
    assert words in show_of("contrastive").verdict(dataset, dataset.entries)


def test_views_of_a_jet(tmp_path):
    dataset = dataset_of(pre_trainings(tmp_path, "contrastive", ["part"], [1]))
    kind = figures_of(dataset)["views"]
    with publication_style():
        drawing, again = (kind.of(dataset, looks(["part"]), [dataset]) for _ in range(2))
    place = drawing.columns.index("view")
    rows = {name: [row for row in drawing.rows if row[place] == name] for name in PANELS}
    number = len(dataset.entries[0].results[0].examples["jets"][-1]["pt"])
    assert [len(rows[name]) for name in PANELS] == [number, number, number + number // 2, number, number,
                                                    number + number // 2]  # fmt: skip
    pt = {name: np.array([row[3] for row in some]) for name, some in rows.items()}
    angles = {name: np.array([row[1:3] for row in some]) for name, some in rows.items()}
    for name in PANELS:
        assert pt[name].sum() == pytest.approx(pt["a jet"].sum(), rel=1e-4)
    np.testing.assert_allclose(*(np.linalg.norm(angles[name], axis=1) for name in ("a jet", "rotated")), rtol=1e-4)
    assert np.ptp(angles["translated"] - angles["a jet"], axis=0).max() < 1e-5
    assert "rotation, splitting and smearing" in show_of("contrastive").words(dataset)["augmentations"]
    assert again.rows == drawing.rows


def test_guessing_is_the_unigram(tmp_path):
    dataset = dataset_of(pre_trainings(tmp_path, "masked_token", ["part"], [1]))
    level = show_of("masked_token").guessing(dataset)["loss"]
    assert level == pytest.approx(np.mean(dataset.entries[0].results[0].history["val_unigram"]))


@pytest.mark.slow
@pytest.mark.parametrize("task", OWN)
def test_the_page_is_made(tmp_path, task):
    given = pre_trainings(tmp_path / "results", task, ["part", "salt"], [1])
    report(given, tmp_path / "report")
    page = (tmp_path / "report/index.html").read_text()
    assert "Frozen encoders" in page and "Random encoder" in page
    assert ("Views of a jet" in page) == (task == "contrastive")
    assert not re.search(r"\{(augmentations|thing)\}", page)
