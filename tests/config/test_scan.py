"""``labelled_jets`` of a model: one training for each number."""

from typing import Any

import pytest
import yaml

from jetloom.config import Experiment, Run, arm_of, parse_experiment
from jetloom.errors import JetloomError
from jetloom.workflow.plan import Plan

BASE: dict[str, Any] = {
    "experiment": "few",
    "datasets": ["jetclass-sim"],
    "models": ["pfn", "tuned"],
    "seeds": [1, 2],
    "preset": "tiny",
    "per_model": {
        "pfn": {"labelled_jets": [100, 1000, "all"], "training": {"epochs": 3}},
        "tuned": {
            "based_on": "pfn",
            "title": "tuned",
            "labelled_jets": [100, 1000],
            "starts_from": {"dataset": "jetclass-sim", "model": "pfn", "seed": 1},
        },
    },
}
NAMES = ["pfn-n100", "pfn-n1000", "pfn", "tuned-n100", "tuned-n1000"]


def few(**changes: Any) -> Experiment:
    return parse_experiment(BASE | changes)


def test_each_number_is_a_model() -> None:
    experiment = few()
    assert experiment.models == NAMES
    assert [run for run in experiment.runs if run.seed == 2] == [Run("jetclass-sim", name, 2) for name in NAMES]
    labels = [experiment.training_of("jetclass-sim", name).labelled_jets for name in NAMES]
    assert labels == [100, 1000, "all", 100, 1000]
    assert {experiment.training_of("jetclass-sim", name).epochs for name in NAMES[:3]} == {3}
    titles = [experiment.model("jetclass-sim", name).title for name in NAMES]
    assert titles == ["PFN, 100 labels", "PFN, 1,000 labels", "PFN", "tuned, 100 labels", "tuned, 1,000 labels"]


def test_all_keeps_the_key_that_the_model_has_without_the_list() -> None:
    plain = parse_experiment(BASE | {"models": ["pfn"], "per_model": {"pfn": {"training": {"epochs": 3}}}})
    run = Run("jetclass-sim", "pfn", 1)
    plan = Plan(few())
    assert plan.trainings[run].key == Plan(plain).trainings[run].key
    assert len({training.key for training in plan.trainings.values()}) == len(plan.trainings)


def test_the_list_of_a_data_set_is_spelled_out_too() -> None:
    experiment = few(per_dataset={"jetclass-sim": {"models": ["tuned", "pfn"]}})
    assert experiment.models_of("jetclass-sim") == ["tuned-n100", "tuned-n1000", "pfn-n100", "pfn-n1000", "pfn"]


def test_the_spelled_out_configuration_is_the_same_experiment() -> None:
    """As the workflow freezes it for its verbs."""
    experiment = few()
    text = yaml.safe_dump(experiment.model_dump(mode="json", exclude_unset=True))
    again = parse_experiment(yaml.safe_load(text))
    assert again.runs == experiment.runs
    for run in experiment.runs:
        assert again.training_of(run.dataset, run.model) == experiment.training_of(run.dataset, run.model)


def test_the_cost_of_a_network_is_measured_once() -> None:
    home = "results/few/jetclass-sim"
    assert Plan(few()).costs == [f"{home}/pfn/cost.json", f"{home}/tuned-n1000/cost.json"]


def test_of_equal_networks_on_equal_tensors_one_is_measured() -> None:
    home = "results/few/jetclass-sim"
    plan = Plan(few(models=["pfn", "tuned", "other"], per_model=BASE["per_model"] | {"other": {"based_on": "salt"}}))
    assert plan.same_cost("jetclass-sim", "pfn") is None
    assert plan.same_cost("jetclass-sim", "tuned-n1000") == f"{home}/pfn/cost.json"
    assert plan.same_cost("jetclass-sim", "other") is None


def test_the_arm_of_a_training() -> None:
    experiment = few()
    arms = []
    for name in NAMES:
        choice, labels = (
            experiment.model("jetclass-sim", name),
            experiment.training_of("jetclass-sim", name).labelled_jets,
        )
        arms.append(arm_of(name, choice.title, labels))
    assert arms == [("pfn", "PFN")] * 3 + [("tuned", "tuned")] * 2
    assert arm_of("pfn", "PFN", 300) == ("pfn", "PFN")


def test_a_scale_may_have_another_list() -> None:
    scales = {"small": {"per_model": {"pfn": {"labelled_jets": [20, "all"]}, "tuned": {"labelled_jets": ["all"]}}}}
    assert few(scale="small", scales=scales).models == ["pfn-n20", "pfn", "tuned"]


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        ([100, 100], ["per_model.pfn.labelled_jets", "the same entry twice: 100"]),
        ([100, "most"], ["per_model.pfn.labelled_jets.1", "'most'", "all"]),
        ([0], ["per_model.pfn.labelled_jets.0", "from 1 on", "0"]),
        ([], ["per_model.pfn.labelled_jets", "at least 1"]),
        (100, ["per_model.pfn.labelled_jets", "list", "100"]),
        ([5, "all"], ["labelled_jets: 5 of pfn-n5 on jetclass-sim", "10 classes"]),
    ],
)
def test_mistakes_are_one_line(scan: Any, expected: list[str]) -> None:
    with pytest.raises(JetloomError) as caught:
        few(models=["pfn"], per_model={"pfn": {"labelled_jets": scan}})
    assert "\n" not in str(caught.value)
    for word in expected:
        assert word in str(caught.value)


def test_a_model_that_is_not_listed_is_named_as_it_was_written() -> None:
    with pytest.raises(JetloomError, match="per_model: unknown name 'tuned'"):
        few(models=["pfn"])
