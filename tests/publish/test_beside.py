"""Metrics of a training that others decide."""

import pytest

from jetloom.config import Run
from jetloom.publish.beside import gains, two_sample_tests
from tests.publish.contents import MAKER, closeness


def trained(model: str, accuracy: float, seed: int = 1, labels: int | str = 100, start: str | None = None, **options):
    metrics = {
        "run": {"experiment": "e", "dataset": "tokens", "model": model, "seed": seed},
        "classes": ["QCD", "Tbqq", "Hbb"],
        "values": {"accuracy": {"value": accuracy}},
    }
    recipe = {"labelled_jets": labels, "initial_weights": start}
    return metrics, {"architecture": "omnijet", "options": options, "training": recipe}


def test_a_gain_is_to_the_same_network_labels_and_seed():
    found = gains(
        [
            trained("scratch", 0.5),
            trained("scratch", 0.52, seed=2),
            trained("scratch-n300", 0.6, labels=300),
            trained("wide", 0.1, width=64),
            trained("tuned", 0.55, start="best.ckpt"),
            trained("tuned", 0.5, seed=2, start="best.ckpt"),
            trained("tuned-n1000", 0.9, labels=1000, start="best.ckpt"),
        ]
    )
    # Nothing from scratch has 1,000 labels; what starts from nothing gains nothing.
    assert found == {
        Run("tokens", "tuned", 1): {"labels/gain": pytest.approx(0.05)},
        Run("tokens", "tuned", 2): {"labels/gain": pytest.approx(-0.02)},
    }


def test_a_frozen_encoder_gains_too_and_other_tasks_do_not():
    frozen, recipe = trained("frozen", 0.4)
    recipe["training"]["freeze"] = "encoder"
    generator = ({"run": frozen["run"], "values": {"nats": {"value": 3.7}}}, {})
    found = gains([generator, (frozen, recipe), trained("scratch", 0.5)])
    assert found == {Run("tokens", "frozen", 1): {"labels/gain": pytest.approx(-0.1)}}


def tagger(classes: list[str], auc: float, model: str = "particlenet", seed: int = 1):
    run = {"experiment": "e", "dataset": "closure", "model": model, "seed": seed}
    return {"run": run, "classes": classes, "values": {"auc": {"value": auc}}}, {}


def test_the_strongest_tagger_says_how_well_two_sets_are_told_apart():
    made = closeness("generated", "generated", MAKER) | {"reference": "decoded"}
    pair = [made["reference"], "generated"]
    taggers = [
        *(tagger(pair, auc, seed=seed) for seed, auc in ((1, 0.9), (2, 0.8))),
        tagger(pair, 0.6, "pfn"),
        tagger(["a", "b"], 0.99),
        tagger([*pair, "third"], 0.99),
    ]
    assert two_sample_tests([made], taggers) == {Run(**MAKER): {"generated/auc": pytest.approx(0.85)}}
    assert two_sample_tests([made | {"set": "other"}], taggers) == {}
