"""Linear probe and nearest neighbours against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from jetloom.config import Evaluation
from jetloom.errors import JetloomError
from jetloom.tasks.contrastive import measure as contrastive
from jetloom.tasks.masked_token import measure as masked_token
from jetloom.tasks.masked_token.measure import ratio
from jetloom.tasks.probe import STRENGTH, linear_probe, nearest_neighbours
from jetloom.tasks.task import Question, Seen


def jets(number: int, apart: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, number)
    middles = np.random.default_rng(0).normal(0, apart, (4, 6))
    scale = 10.0 ** np.arange(-2, 4)
    return ((middles[label] + rng.normal(size=(number, 6))) * scale).astype(np.float32), 3 * label


def test_the_linear_probe_is_scikit_learns_logistic_regression():
    (known, label), (asked, _) = jets(800, 1.0, 1), jets(500, 1.0, 2)
    scaler = StandardScaler().fit(known)
    peer = LogisticRegression(C=STRENGTH, max_iter=5000, tol=1e-8).fit(scaler.transform(known), label)
    assert (linear_probe(known, label, asked) == peer.predict(scaler.transform(asked))).mean() > 0.997


def test_the_neighbours_are_scikit_learns():
    (known, label), (asked, _) = jets(800, 1.0, 1), jets(500, 1.0, 2)
    peer = KNeighborsClassifier(20, metric="cosine").fit(known.astype(float), label)
    assert (nearest_neighbours(known.astype(float), label, asked.astype(float)) == peer.predict(asked)).mean() > 0.997


def test_a_column_that_says_nothing_and_few_jets_do_no_harm():
    (known, label), (asked, truth) = jets(15, 3.0, 1), jets(200, 3.0, 2)
    known[:, 2] = asked[:, 2] = 5.0
    assert (linear_probe(known, label, asked) == truth).mean() > 0.5
    assert len(nearest_neighbours(known, label, asked)) == 200


def seen(values: np.ndarray, trained_apart: float = 2.0, spoil: float = 0.0) -> Seen:
    def encode(split: str, most: int, trained: bool) -> tuple[np.ndarray, np.ndarray]:
        one, label = jets(1000, trained_apart if trained else 0.3, {"train": 1, "evaluated": 2}[split])
        one[0, 0] += spoil
        return one[:most], label[:most]

    nothing = np.zeros((len(values), 0), np.float32)
    return Seen(values, nothing, np.zeros(len(values), np.int16), None, encode)


ASKED = Question(Evaluation(), None, {}, 1)


@pytest.mark.parametrize("task", [contrastive, masked_token])
def test_the_random_encoder_stands_beside(task):
    values = np.random.default_rng(1).random((300, 2 if task is contrastive else 4)).astype(np.float32)
    told = task.merit(None, seen(values), ASKED)
    found = told["values"]
    for name in ("probe", "knn"):
        trained, random, gain = (found[key] for key in (f"{name}_accuracy", f"random_{name}_accuracy", f"{name}_gain"))
        assert gain["value"] == pytest.approx(trained["value"] - random["value"])
        assert gain["low"] > 0.2
    for value in found.values():
        assert value["low"] <= value["value"] <= value["high"]
    assert told["probe"]["training_jets"] == told["probe"]["test_jets"] == 1000
    with pytest.raises(JetloomError, match="not finite; the training has diverged"):
        task.merit(None, seen(values, spoil=np.nan), ASKED)


def test_figures_of_views():
    values = np.array([[0.1, 1], [0.3, 1], [0.5, 0], [0.1, 1]], np.float32)
    found = contrastive.merit(None, seen(values), ASKED)["values"]
    assert found["partner_accuracy"]["value"] == 0.75
    assert found["alignment"]["value"] == pytest.approx(0.25)


def test_figures_of_masked_particles_count_particles_not_jets():
    # nats, right, masked, nats of the unigram: one particle of the first jet, three of the second.
    values = np.array([[1.0, 1, 1, 2.0], [9.0, 0, 3, 12.0]], np.float32)
    found = masked_token.merit(None, seen(values), ASKED)["values"]
    assert found["nats"]["value"] == pytest.approx(10 / 4)
    assert found["token_accuracy"]["value"] == 0.25
    assert found["unigram_nats"]["value"] == pytest.approx(14 / 4)
    assert found["nats_gained"]["value"] == pytest.approx(1)


def test_the_interval_of_a_ratio_covers():
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(400):
        number = rng.integers(1, 20, 500).astype(float)
        value = rng.normal(2.0 * number, np.sqrt(number))
        found = ratio(value, number, 0.68)
        inside += found["low"] < 2.0 < found["high"]
    assert inside / 400 == pytest.approx(0.68, abs=0.08)
