"""Bias and resolution against known responses and against the exact bootstrap."""

from types import SimpleNamespace

import numpy as np
import pytest

from jetloom.config import Evaluation
from jetloom.errors import JetloomError
from jetloom.statistics import response as responses
from jetloom.tasks.regression.measure import merit, spread
from jetloom.tasks.task import Question, Seen

TASK = SimpleNamespace(columns=["predicted_jet_mass"], scale="jet_pt")
ASKED = Question(Evaluation(bootstrap=100), None, {}, 1)


def seen(predicted: np.ndarray, truth: np.ndarray, pt: np.ndarray | None = None) -> Seen:
    values = [np.asarray(array, np.float32)[:, None] for array in (predicted, truth)]
    return Seen(*values, np.zeros(len(truth), np.int16), None if pt is None else np.asarray(pt, np.float32))


def test_a_gaussian_response_has_its_width():
    rng = np.random.default_rng(3)
    truth = rng.uniform(50, 200, 200_000)
    found = merit(TASK, seen(truth * rng.normal(1.02, 0.08, len(truth)), truth), ASKED)["values"]
    # The central 68 % of a Gaussian end at 0.9945 sigma.
    assert found["resolution"]["value"] == pytest.approx(0.9945 * 0.08, rel=0.01)
    assert found["bias"]["value"] == pytest.approx(0.02, abs=0.0006)
    # Standard error of a median: 1.2533 sigma / sqrt(N); the interval covers 68 %.
    half = (found["bias"]["high"] - found["bias"]["low"]) / 2
    assert half == pytest.approx(1.2533 * 0.08 / np.sqrt(len(truth)), rel=0.25)


def test_bins_of_many_jets_give_the_same_as_single_jets(monkeypatch):
    response = np.random.default_rng(4).normal(1, 0.1, 20_000)
    binned = spread(response, 0.68, 400, 1)
    monkeypatch.setattr(responses, "BINS", 20_000)
    exact = spread(response, 0.68, 400, 1)
    for name in ("bias", "resolution"):
        assert binned[name]["value"] == exact[name]["value"]
        widths = [item[name]["high"] - item[name]["low"] for item in (binned, exact)]
        assert widths[0] == pytest.approx(widths[1], rel=0.2)


def test_intervals_cover_as_often_as_they_say():
    inside = []
    for seed in range(200):
        found = spread(np.random.default_rng(seed).normal(1, 0.1, 400), 0.68, 100, seed)
        inside.append(found["resolution"]["low"] <= 0.09945 <= found["resolution"]["high"])
    # Binomial: 0.68 +- 0.033.
    assert 0.55 < np.mean(inside) < 0.8


def test_jets_without_a_target_are_left_out_and_counted():
    truth = np.r_[np.full(50, 80.0), np.full(10, np.nan)]
    found = merit(TASK, seen(np.full(60, 88.0), truth, np.linspace(500, 1000, 60)), ASKED)
    assert (found["jets"], found["left_out"]) == (50, 10)
    assert found["values"]["bias"]["value"] == pytest.approx(0.1, rel=1e-5)
    assert found["values"]["resolution"]["value"] == 0
    assert sum(found["bins"]["jets"]) == 50
    assert found["bins"]["bias"] == [None] * 8, "less than twenty jets in each"


def test_response_in_bins_of_the_scale():
    rng = np.random.default_rng(5)
    pt = rng.uniform(500, 1000, 80_000)
    truth = np.full(len(pt), 100.0)
    bins = merit(TASK, seen(truth * rng.normal(1, pt / 10_000), truth, pt), ASKED)["bins"]
    middle = (np.array(bins["edges"][1:]) + np.array(bins["edges"][:-1])) / 2
    found = np.array([item["value"] for item in bins["resolution"]])
    np.testing.assert_allclose(found, 0.9945 * middle / 10_000, rtol=0.03)
    assert (bins["observer"], sum(bins["jets"])) == ("jet_pt", 80_000)


def test_too_few_jets_and_a_diverged_training_are_errors():
    with pytest.raises(JetloomError, match="predicted_jet_mass: 3 jets have a target; expected at least 20"):
        merit(TASK, seen(np.ones(3), np.ones(3)), ASKED)
    with pytest.raises(JetloomError, match="not finite"):
        merit(TASK, seen(np.full(30, np.nan), np.ones(30)), ASKED)
