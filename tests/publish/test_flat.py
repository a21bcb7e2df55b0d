"""Names and values of metrics."""

import pytest

from jetloom.catalogue.cards import names, task_card
from jetloom.config import Run
from jetloom.publish.flat import flat_closeness, flat_cost, flat_evaluation, flat_labels, flat_metrics
from tests.publish.contents import COST, MAKER, METRICS, closeness


def test_names_say_split_working_point_and_class():
    assert flat_metrics(METRICS, "test") == {
        "test/accuracy": 0.7,
        "test/auc": 0.9,
        "test/loss": 1.1,
        "test/rej50_Hbb": 200.0,
    }
    assert flat_cost(COST) == {
        "cost/parameters": 10,
        "cost/macs": 20,
        "cost/flops": 40,
        "cost/ms_batch4": 1.5,
        "cost/jets_per_second_batch4": 2666.0,
        "cost/ms_16particles": 2.5,
    }


def test_energies_and_busy_points_where_they_were_measured():
    """45 nm: 20 x 4.6 pJ, and 16 numbers of 4 bytes at 1.25 pJ; 7 nm: arithmetic alone."""
    steady = {
        "latency": [{**COST["latency"][0], "steady": True, "pipelined_jets_per_second": 9000.0}],
        "length_scan": [{**COST["length_scan"][0], "steady": False}],
    }
    told = flat_cost({**COST, "moved": 16, **steady})
    new = {name: value for name, value in told.items() if name not in flat_cost(COST)}
    assert new.pop("cost/uj_float32_45nm") == pytest.approx(1e-6 * (20 * 4.6 + 16 * 4 * 1.25))
    assert new.pop("cost/uj_int8_7nm") == pytest.approx(1e-6 * 20 * 0.1)
    assert len([new.pop(name) for name in list(new) if name.startswith("cost/uj_")]) == 4
    assert new == {"cost/moved": 16.0, "cost/busy_points": 1.0, "cost/pipelined_jets_per_second_batch4": 9000.0}


def test_figures_in_fewer_bits():
    fewer = {
        "int8": {"values": {"accuracy": {"value": 0.6}}, "lost": {"accuracy": {"value": 0.1}}},
        "bf16": {"refused": "no"},
    }
    content = {"split": "test", "task": {"name": "classification"}, "values": METRICS}
    told = flat_evaluation(content | {"quantised": fewer})
    assert told == flat_evaluation(content) | {"test/int8/accuracy": 0.6, "test/int8/accuracy_lost": 0.1}


def test_figures_of_tokenizers_and_generators_have_names_of_their_own():
    values = {name: {"value": value} for value, name in enumerate(["perplexity", "used", "mass_resolution", "mass_w1"])}
    told = flat_evaluation({"split": "test", "task": {"name": "tokenisation"}, "values": values})
    own = {"tokens/perplexity": 0, "tokens/used": 1, "reco/mass_half68": 2, "reco/mass_w1": 3}
    assert told == own | {f"test/{name}": item["value"] for name, item in values.items()}
    values = {"nats": {"value": 3.7}, "jet_nats": {"value": 150.0}}
    told = flat_evaluation({"split": "test", "task": {"name": "next_token"}, "values": values})
    assert told == {"generated/nats_per_jet": 150.0, "test/nats": 3.7, "test/jet_nats": 150.0}
    also = [
        {
            "task": {"name": "regression", "settings": {"target": "jet_mass"}, "weight": 1.0},
            "values": {"bias": {"value": 2}},
        }
    ]
    told = flat_evaluation({"split": "val", "task": {"name": "classification"}, "values": METRICS, "also": also})
    assert told == flat_metrics(METRICS, "val") | {"val/jet_mass/bias": 2}


def test_no_two_figures_get_the_same_name():
    cards = [task_card(name).tracked for name in names("tasks")]
    given = [metric for card in cards for metric in card.values()]
    assert len(given) == len(set(given)) >= 6


@pytest.mark.parametrize(("given", "told"), [(100, {"labels/n": 100.0}), (25, {"labels/n": 20.0}), ("all", {})])
def test_number_of_labelled_jets(given, told):
    """Equally many of each of ten classes."""
    assert flat_labels({"labelled_jets": given}, 10) == told
    assert flat_labels({}, 10) == {}


def test_distances_go_to_the_training_that_made_the_set(tmp_path):
    other = MAKER | {"seed": 2}
    given = [
        (tmp_path / "decoded", closeness("decoded", "decoded")),
        (tmp_path / "generated", closeness("generated", "generated", MAKER | {"model": "gpt"}, 7.5)),
        (tmp_path / "other", closeness("decoded", "other", other, None)),
    ]
    assert flat_closeness(given, Run(**MAKER)) == (
        {"reco/w1_mass": 3.5, "reco/w1_mass_floor": 1.25}, [tmp_path / "decoded"]
    )  # fmt: skip
    values, _ = flat_closeness(given, Run("sim", "gpt", 1))
    assert values == {"generated/w1_mass": 7.5, "generated/w1_mass_floor": 1.25}
    # All jets without such an observable: the file says so, no number is made up.
    assert flat_closeness(given, Run(**other)) == ({}, [tmp_path / "other"])
    assert flat_closeness(given, Run("sim", "gpt", 2)) == ({}, [])


def test_several_sets_of_one_training_are_told_apart(tmp_path):
    given = [(tmp_path / name, closeness("generated", name, w1=w1)) for name, w1 in (("warm", 3.0), ("cold", 4.0))]
    values, _ = flat_closeness(given, Run(**MAKER))
    assert values["generated/warm/w1_mass"] == 3.0
    assert values["generated/cold/w1_mass"] == 4.0
    assert len(values) == 4
