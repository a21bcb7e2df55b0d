"""Predictions are read piece by piece, and do not pile up in memory."""

import json
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jetloom.drawing.style import looks
from jetloom.report import tables
from jetloom.report.figures import figures_of
from jetloom.report.page.first_screen import answer
from jetloom.results import predictions
from jetloom.results.collect import collect
from jetloom.tasks.classification.figures import scores as draw_scores
from tests.report.fabricate import fabricate, predicted

pytestmark = pytest.mark.seconds

JETS = 200_000
BYTES = 4 * (10 + 5) + 2
"""Of a jet in a file: ten scores, five observers, a label."""


@pytest.fixture
def stored(tmp_path):
    generator = np.random.default_rng(5)
    scores, label = generator.random((1000, 3), dtype=np.float32), generator.integers(3, size=1000)
    scores[17] = 0.25
    return scores, label, predicted(tmp_path / "p", scores, label, {"jet_pt": np.arange(1000)}, ["a", "b.c", "d e"])


def test_what_is_read_is_what_was_written(stored, monkeypatch):
    scores, label, item = stored
    monkeypatch.setattr(predictions, "ROWS", 64)
    parts = list(item.parts())
    assert len(parts) > 10
    assert np.array_equal(np.concatenate([part for part, _ in parts]), scores)
    assert np.array_equal(np.concatenate([part for _, part in parts]), label)
    assert [np.array_equal(item.score(index), scores[:, index]) for index in range(item.classes)] == [True] * 3
    assert np.array_equal(item.label, label)
    assert np.array_equal(item.correct, scores.argmax(axis=1) == label)
    assert item.correct.dtype == bool
    assert list(item.observers) == ["jet_pt"]
    assert np.array_equal(item.observers["jet_pt"], np.arange(1000))
    with pytest.raises(KeyError):
        item.observers["label"]


@pytest.mark.parametrize("name", ["jetclass-sim", "shapes-sim"])
def test_the_size_of_the_pieces_changes_no_figure(tmp_path, monkeypatch, name):
    (dataset,) = collect(fabricate(tmp_path, {name: ["salt"]}, [1, 2], jets=600)).datasets
    drawings = []
    for rows in (1000, 50):
        monkeypatch.setattr(predictions, "ROWS", rows)
        drawings.append(draw_scores(dataset, looks(["salt"])))
    plt.close("all")
    assert drawings[0].rows == drawings[1].rows


def _peak(home, seeds: int) -> tuple[int, int]:
    """Bytes of NumPy and Python at the peak of a report, and what Arrow still holds at its end."""
    given = fabricate(home, {"jetclass-sim": ["part", "salt"]}, list(range(1, seeds + 1)), jets=100)
    generator = np.random.default_rng(1)
    label = np.arange(JETS) % 10
    for path in given.predictions:
        facts = json.loads(pq.read_schema(path).metadata[b"jetloom"])
        names = [name for name in pq.read_schema(path).names if name.startswith("jet_")]
        observers = {name: generator.uniform(0, 128, JETS) for name in names}
        scores = generator.random((JETS, 10), dtype=np.float32)
        predicted(path, scores, label, observers, facts["classes"], facts)
    del scores, observers
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    collection = collect(given)
    (dataset,) = collection.datasets
    answer(dataset)
    tables.of_dataset(collection, dataset)
    for name in ("scores", "dependence", "observables"):
        figures_of(dataset)[name].of(dataset, looks(collection.models), collection.datasets)
        plt.close("all")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, pa.total_allocated_bytes() - before


def test_more_trainings_take_no_more_memory(tmp_path, monkeypatch):
    # A file has many pieces, as a large one has.
    monkeypatch.setattr(predictions, "ROWS", JETS // 20)
    few, _ = _peak(tmp_path / "few", 1)
    many, left = _peak(tmp_path / "many", 4)
    # Six more trainings; half of the predictions of one is more than figures of merit and histories take.
    assert many - few < JETS * BYTES / 2
    assert left < JETS * BYTES / 2
