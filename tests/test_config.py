"""The schema: a mistake in the configuration is one line that names the key and what is allowed."""

from typing import get_args

import pytest

from jetloom.catalogue import cards
from jetloom.config import (
    Dataset,
    Effect,
    Evaluation,
    Reweighting,
    Run,
    Training,
    expand_braces,
    merge,
    parse_assignments,
    parse_experiment,
    read_by,
    resolve_training,
)
from jetloom.errors import JetloomError
from jetloom.workflow.plan import Plan

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


@pytest.mark.parametrize("name", cards.names("datasets"))
def test_every_dataset_preset_is_valid(name):
    kind = cards.read("datasets", name)["kind"]
    models = [model for model in cards.names("models") if kind in cards.model_card(model).inputs]
    experiment = parse_experiment(DEMO | {"datasets": [name], "models": models})
    dataset = experiment.dataset(name)
    files = [file for split in dataset.splits for file in dataset.raw_files(split)]
    assert len(files) == len(set(files)) > 0


@pytest.mark.parametrize("name", cards.names("models"))
def test_every_model_preset_is_valid(name):
    from jetloom.catalogue.options import check_options

    for label, preset in cards.model_card(name).presets.items():
        check_options(name, preset.options, f"{name}.{label}")
        resolve_training(preset.training, f"{name}.{label}")
    assert "tiny" in cards.model_card(name).presets


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
    assert read_by(Training, "nothing") == {"workers", "compile", "checkpoint_minutes"}


def of_dataset(**changes) -> dict:
    return {"per_dataset": {"jetclass-sim": changes}}


def of_model(**changes) -> dict:
    return {"per_model": {"salt": changes}}


def start(model: str, seed: int = 1) -> dict:
    return {"starts_from": {"dataset": "jetclass-sim", "model": model, "seed": seed}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (of_model(seeds=[1, 1]), ["per_model.salt.seeds", "twice", "1"]),
        (of_model(seeds=[1, 1.0]), ["per_model.salt.seeds", "twice"]),
        (of_model(seeds=[-1]), ["per_model.salt.seeds", "greater than or equal to 0", "-1"]),
        (of_model(seeds=[]), ["per_model.salt.seeds", "at least 1"]),
        (of_dataset(seeds=[2, 2]), ["per_dataset.jetclass-sim.seeds", "twice", "2"]),
        (of_dataset(seeds=[-1]), ["per_dataset.jetclass-sim.seeds", "-1"]),
        (of_dataset(models=["salt", "salt"]), ["per_dataset.jetclass-sim.models", "twice", "salt"]),
        (of_dataset(shards={"train": 0}), ["shards.train", "greater than or equal to 1"]),
        (of_dataset(working_points={"Hbb": 1.5}), ["working_points.Hbb", "less than 1", "1.5"]),
        (of_dataset(working_points={"Hbb": 0.0}), ["working_points.Hbb", "greater than 0"]),
        (of_dataset(working_points={"QCD": 0.5}), ["working_points.QCD", "background"]),
        (of_dataset(classes=["QCD", "QCD", "Hbb"]), ["per_dataset.jetclass-sim.classes", "twice", "QCD"]),
        (of_dataset(selection={"jet_pt": [1000, 500]}), ["selection.jet_pt", "1000", "500"]),
        (of_dataset(buckets=[-3, 128]), ["buckets", "greater than or equal to 1", "-3"]),
        (of_dataset(splits={"val": []}), ["splits.val", "at least 1"]),
        (of_dataset(simulation={"jets": {"train": 0}}), ["simulation.jets.train", "greater than or equal to 1"]),
        (of_dataset(simulation={"jets": {"trian": 5}}), ["simulation.jets.trian", "no such split", "train"]),
        (of_dataset(splits={"test_b": ["b.root"]}), ["simulation.jets", "missing", "test_b"]),
        ({"cost": {"batch_sizes": [0]}}, ["cost.batch_sizes", "greater than or equal to 1"]),
        ({"cost": {"particles": [-1]}}, ["cost.particles", "greater than or equal to 1"]),
        ({"training": {"batch_phases": [[0, 1]]}}, ["training.batch_phases", "greater than or equal to 1"]),
        ({"training": {"batch_phases": [[1, 0]]}}, ["training.batch_phases", "greater than or equal to 1"]),
        ({"training": {"batch_phases": []}}, ["training.batch_phases", "at least 1"]),
        ({"training": {"schedule": "restarts", "epochs": 4}}, ["training", "restarts", "more than 4 epochs", "got 4"]),
        (
            {"training": {"schedule": "restarts", "batch_phases": [[8, 1], [16, 3]]}},
            ["training", "restarts", "more than 4 epochs", "got 4"],
        ),
        (
            {"training": {"schedule": "restarts", "epochs": 9}, **of_model(training={"epochs": 3})},
            ["per_model.salt.training", "restarts", "got 3"],
        ),
        (of_model(training={"labelled_jets": 9}), ["labelled_jets", "9 of salt", "10 classes"]),
        (of_model(training={"labelled_jets": 0}), ["per_model.salt.training.labelled_jets", "0"]),
        (of_model(training={"labelled_jets": 100, "reweighting": {}}), ["labelled_jets", "leave reweighting out"]),
        (
            of_model(training={"freeze": "encoder"}),
            ["per_model.salt.training.freeze", "starts_from or initial_weights", "freeze_random: true"],
        ),
        (of_model(training={"freeze_random": True}), ["per_model.salt.training", "nothing is frozen"]),
        (
            of_model(training={"freeze": "encoder", "freeze_random": True}, **start("part")),
            ["per_model.salt.training.freeze_random", "other weights"],
        ),
        (of_dataset(files=[{"name": "../x"}]), ["files.0.name", "relative path", "../x"]),
        (of_dataset(files=[{"name": "a/../../x"}]), ["files.0.name", "relative path"]),
        (of_dataset(files=[{"name": "a", "holds": ["/etc/x"]}]), ["files.0.holds.0", "relative path", "/etc/x"]),
        (of_dataset(files=[{"name": "a", "holds": ["{a,..}/x"]}]), ["files.0.holds.0", "relative path"]),
        (of_dataset(files=[{"name": "a", "rename": {"b": "../b"}}]), ["files.0.rename.b", "relative path", "../b"]),
        (of_dataset(splits={"val": ["../x.root"]}), ["splits.val", "relative path", "../x.root"]),
        (of_dataset(splits={"val": ["/x.root"]}), ["splits.val", "relative path", "/x.root"]),
        (of_dataset(raw=""), ["per_dataset.jetclass-sim.raw", "path of a directory"]),
        ({"data_directory": ""}, ["data_directory", "path of a directory"]),
        ({"results_directory": "a\nb"}, ["results_directory", "path of a directory"]),
        ({"scratch_directory": "a\0b"}, ["scratch_directory", "path of a directory"]),
        (of_model(**start("salt")), ["per_model.salt.starts_from", "salt waits for salt"]),
        (
            {"per_model": {"salt": start("part"), "part": start("salt")}},
            ["starts_from", "salt waits for part waits for salt"],
        ),
        (of_model(**start("part", 9)), ["per_model.salt.starts_from", "no training", "part", "seed 9"]),
        (
            {"per_model": {"salt": start("part", "same"), "part": {"seeds": [2, 3]}}},
            ["per_model.salt.starts_from", "no training of part", "seed 1", "it has 2, 3"],
        ),
        (of_model(**start("part", "sane")), ["per_model.salt.starts_from.seed", "same", "'sane'"]),
        ({"scale": "small", "scales": ["small"]}, ["scales", "expected a section"]),
        ({"scale": "small", "scales": {"small": 3}}, ["scales.small", "expected a section", "3"]),
        ({"scale": "small", "scales": {"small": {}}, "per_model": ["salt"]}, ["per_model", "expected a section"]),
        ({"scale": "big", "scales": {"small": {}}}, ["scale", "'big'", "small"]),
        ({"tracking": {"uri": "mysql://me:geheim@host/db"}}, ["tracking.uri", "mysql://me:***@host/db", "password"]),
    ],
)
def test_what_makes_no_sense_is_one_line_before_any_job(changes, expected):
    message = mistake(**changes)
    assert "geheim" not in message
    for word in expected:
        assert word in message


@pytest.mark.parametrize(
    "changes",
    [
        of_dataset(shards={"train": 2000}),
        of_dataset(selection={"jet_pt": [500, 500], "jet_eta": [None, -2]}),
        of_dataset(splits={"val": ["sub dir/{00..02}.root"]}),
        of_dataset(raw="/my data/$(raw)"),
        {"data_directory": "my data", "results_directory": "it's; results", "scratch_directory": "/tmp/$x"},
        {"training": {"schedule": "restarts", "epochs": 5}},
        {"training": {"schedule": "restarts", "epochs": 3}, **of_dataset(training={"epochs": 9})},
        {"training": {"reweighting": {"observer": "jet_pt", "edges": [600]}},
         **of_model(training={"reweighting": {"edges": [700]}})},
        {"tracking": {"uri": "postgresql://user@host/db"}},
        of_model(training={"freeze": "encoder"}, **start("part")),
        of_model(training={"freeze": "encoder", "initial_weights": "a.ckpt"}),
        of_model(training={"freeze": "encoder", "freeze_random": True}),
        {"models": ["salt", "part", "pfn"], "per_model": {"salt": start("part"), "part": start("pfn")}},
    ],
)  # fmt: skip
def test_what_makes_sense_is_accepted(changes):
    parse_experiment(DEMO | changes)


def test_a_scale_may_be_a_number():
    assert parse_experiment(DEMO | {"scale": 10, "scales": {10: {"seeds": [3]}}}).seeds == [3]


def test_shortest_recipe_with_restarts_is_one_epoch_longer_than_its_end():
    from jetloom.training.optimisers import HALVED

    resolve_training({"schedule": "restarts", "epochs": HALVED + 1})
    with pytest.raises(JetloomError, match=f"more than {HALVED} epochs"):
        resolve_training({"schedule": "restarts", "epochs": HALVED})


def test_another_background_takes_its_working_point_along():
    dataset = parse_experiment(DEMO | of_dataset(background="Hbb")).dataset("jetclass-sim")
    assert dataset.working_points.keys() == set(dataset.classes) - {"QCD", "Hbb"}


def test_fewer_classes_with_a_working_point_of_their_own():
    changes = of_dataset(classes=["QCD", "Hbb", "Hcc"], working_points={"Hbb": 0.6})
    assert parse_experiment(DEMO | changes).dataset("jetclass-sim").working_points == {"Hbb": 0.6, "Hcc": 0.5}


def test_each_seed_starts_from_its_own():
    values = {"per_model": {"salt": start("part", "same"), "part": {"seeds": [2, 1, 3]}}}
    plan = Plan(parse_experiment(DEMO | values))
    home = "results/demo/jetclass-sim/part"
    assert [plan.trainings[Run("jetclass-sim", "salt", seed)].weights for seed in (1, 2)] == [
        f"{home}/seed1/best.ckpt", f"{home}/seed2/best.ckpt",
    ]  # fmt: skip
    assert len({plan.trainings[Run("jetclass-sim", "salt", seed)].key for seed in (1, 2)}) == 2
    one = Plan(parse_experiment(DEMO | {"per_model": {"salt": start("part", 1)}}))
    assert one.trainings[Run("jetclass-sim", "salt", 2)].weights == f"{home}/seed1/best.ckpt"
