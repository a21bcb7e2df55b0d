"""The schema: a mistake in the configuration is one line that names the key and what is allowed."""

from typing import get_args

import pytest

from jetloom import presets
from jetloom.config import (
    Dataset,
    Effect,
    Evaluation,
    Reweighting,
    Training,
    expand_braces,
    merge,
    parse_assignments,
    parse_experiment,
    read_by,
    resolve_training,
)
from jetloom.errors import JetloomError

DEMO = {
    "experiment": "demo",
    "datasets": ["jetclass-sim"],
    "models": ["salt", "part"],
    "seeds": [1, 2],
    "preset": "tiny",
}


def mistake(**changes) -> str:
    with pytest.raises(JetloomError) as caught:
        parse_experiment(DEMO | changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trainin": {}}, ["trainin", "did you mean 'training'", "per_model"]),
        ({"training": {"epocs": 3}}, ["epocs", "did you mean 'epochs'", "batch_size"]),
        ({"training": {"epochs": "many"}}, ["training", "epochs", "integer", "'many'"]),
        ({"models": ["sallt"]}, ["models", "sallt", "did you mean 'salt'", "part"]),
        ({"datasets": ["jetclas-sim"]}, ["datasets", "jetclas-sim", "jetclass-sim"]),
        ({"seeds": 0}, ["seeds", "list", "0"]),
        ({"seeds": []}, ["seeds", "at least 1"]),
        ({"seeds": [1, 1]}, ["seeds", "same entry twice"]),
        ({"preset": "enormous"}, ["preset", "enormous", "tiny"]),
        ({"per_dataset": {"jetclass-sim": {"classes": ["QCD", "Hbbb"]}}}, ["classes", "Hbbb", "'Hbb'", "Tbqq"]),
        ({"per_dataset": {"jetclass-sim": {"max_particle": 3}}}, ["max_particle", "did you mean 'max_particles'"]),
        ({"per_dataset": {"other": {}}}, ["per_dataset", "other", "jetclass-sim"]),
        ({"per_model": {"salt": {"options": {"width": 3}}}}, ["per_model.salt.options.width", "allowed", "d_model"]),
        ({"per_model": {"salt": {"options": {"d_model": "wide"}}}}, ["per_model.salt.options.d_model", "int", "wide"]),
        ({"per_model": {"part": {"option": {}}}}, ["per_model.part", "'option'", "'options'"]),
        ({"datasets": ["shapes-sim"]}, ["part", "shapes-sim", "points"]),
        ({"experiment": "../x"}, ["experiment", "pattern", "../x"]),
    ],
)
def test_mistakes_are_one_clear_line(changes, expected):
    message = mistake(**changes)
    for word in expected:
        assert word in message


def test_several_mistakes_are_several_lines():
    with pytest.raises(JetloomError) as caught:
        parse_experiment(DEMO | {"trainin": {}, "seeds": "x"})
    assert len(str(caught.value).splitlines()) == 2


def test_the_last_section_wins():
    experiment = parse_experiment(
        DEMO
        | {
            "training": {"epochs": 3, "batch_size": 11},
            "per_dataset": {"jetclass-sim": {"training": {"epochs": 4, "weight_decay": 0.5}}},
            "per_model": {"salt": {"training": {"epochs": 5}}},
        }
    )
    salt, part = (experiment.training_of("jetclass-sim", name) for name in ("salt", "part"))
    assert (salt.epochs, salt.batch_size, salt.weight_decay) == (5, 11, 0.5)
    assert (part.epochs, part.batch_size, part.weight_decay) == (4, 11, 0.5)


def test_a_recipe_is_laid_over_another_section_by_section():
    """What is checked is what `jetloom train` makes of the same settings."""
    bins = {"observer": "jet_pt", "edges": [600.0]}
    changes = {"salt": {"training": {"reweighting": {"least": 0.5}}}}
    experiment = parse_experiment(DEMO | {"training": {"reweighting": bins}, "per_model": changes})
    assert experiment.training_of("jetclass-sim", "salt").reweighting == Reweighting(**bins, least=0.5)
    assert experiment.training_of("jetclass-sim", "part").reweighting == Reweighting(**bins)


def test_a_variant_is_a_model_of_its_own():
    changes = {"wide": {"based_on": "salt", "options": {"d_model": 64}, "title": "SAL-T (wide)", "seeds": [7]}}
    experiment = parse_experiment(DEMO | {"models": ["salt", "wide"], "per_model": changes})
    assert experiment.model("jetclass-sim", "wide").architecture == "salt"
    assert [tuple(run) for run in experiment.runs] == [
        ("jetclass-sim", "salt", 1),
        ("jetclass-sim", "salt", 2),
        ("jetclass-sim", "wide", 7),
    ]


def test_dropping_the_background_class_drops_the_rejections():
    changes = {"jetclass-sim": {"classes": ["Hbb", "Hcc"]}}
    dataset = parse_experiment(DEMO | {"per_dataset": changes}).dataset("jetclass-sim")
    assert dataset.background is None
    assert set(dataset.working_points) <= {"Hbb", "Hcc"}


@pytest.mark.parametrize("name", presets.names("datasets"))
def test_every_dataset_preset_is_valid(name):
    kind = presets.read("datasets", name)["kind"]
    models = [model for model in presets.names("models") if kind in presets.model_card(model).inputs]
    experiment = parse_experiment(DEMO | {"datasets": [name], "models": models})
    dataset = experiment.dataset(name)
    files = [file for split in dataset.splits for file in dataset.raw_files(split)]
    assert len(files) == len(set(files)) > 0


@pytest.mark.parametrize("name", presets.names("models"))
def test_every_model_preset_is_valid(name):
    from jetloom.options import check_options

    for label, preset in presets.model_card(name).presets.items():
        check_options(name, preset.options, f"{name}.{label}")
        resolve_training(preset.training, f"{name}.{label}")
    assert "tiny" in presets.model_card(name).presets


def test_braces_expand_like_the_shell():
    assert list(expand_braces("{a,b}_{08..10}.root")) == [
        "a_08.root", "a_09.root", "a_10.root", "b_08.root", "b_09.root", "b_10.root",
    ]  # fmt: skip


def test_assignments_are_yaml():
    assert parse_assignments(["a.b=1", "a.c=[1, x]", "d=text"]) == {"a": {"b": 1, "c": [1, "x"]}, "d": "text"}
    with pytest.raises(JetloomError, match="KEY=VALUE"):
        parse_assignments(["novalue"])


def test_merge_goes_section_by_section():
    assert merge({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [2]}) == {"a": {"b": 3, "c": 2}, "d": [2]}


@pytest.mark.parametrize("section", [Dataset, Training, Evaluation])
@pytest.mark.parametrize("kind", ["jets", "points"])
def test_every_setting_says_what_is_made_again(section, kind):
    stages = [read_by(section, effect, kind=kind) for effect in get_args(Effect)]
    assert sum(map(len, stages)) == len(section.model_fields)
    assert set().union(*stages) == set(section.model_fields)


def test_points_are_sampled_in_the_skim():
    assert read_by(Dataset, "skims") == {"kind", "source", "classes", "selection"}
    assert read_by(Dataset, "skims", kind="points") - read_by(Dataset, "skims") == {"max_particles", "buckets", "seed"}
    assert read_by(Dataset, "tensors", kind="points") == {"feature_set", "shards", "splits"}


def test_what_a_report_shows_makes_no_tensors_again():
    assert {"background", "working_points"} == read_by(Dataset, "evaluation")
    assert {"title", "citation", "mirrors"} <= read_by(Dataset, "nothing")


def test_handling_changes_nothing_in_what_is_learnt():
    assert read_by(Training, "nothing") == {"workers", "checkpoint_minutes"}
