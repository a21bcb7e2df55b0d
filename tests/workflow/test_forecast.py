"""What `jetloom plan` expects: figures of docs/scale.md, jobs of Snakemake, and a screen for each experiment."""

import json
from pathlib import Path

import pytest
import yaml

from jetloom.cli import main
from jetloom.config import merge, parse_experiment
from jetloom.workflow.forecast import Stage, forecast
from jetloom.workflow.plan import Plan
from tests.support.project import ROOT, SMALL

EXPERIMENTS = sorted(path.stem for path in (ROOT / "workflow/experiments").glob("*.yaml"))
JETCLASS = {"experiment": "x", "datasets": ["jetclass"], "models": ["part"], "seeds": [1]}


def stages(settings: dict, **options: float) -> dict[str, Stage]:
    return {stage.name: stage for stage in forecast(Plan(parse_experiment(settings)), **options)}


def test_jetclass_takes_what_its_page_says():
    """docs/scale.md, 100 million training jets."""
    preset = yaml.safe_load((ROOT / "src/jetloom/catalogue/datasets/jetclass.yaml").read_text())
    found = stages(JETCLASS)
    assert [stage.jobs for stage in found.values()] == [12, 1250, 250, 1, 1, 1, 1]
    assert found["download jetclass"].words == preset["size"]
    share = 100 / 125
    assert found["skim"].disk * share == pytest.approx(146e9, rel=0.01)
    assert found["tensors"].disk * share == pytest.approx(444e9, rel=0.01)
    # Of the training jets; the slices of the others are larger, so that nothing of theirs is decoded in vain.
    starts = 2 / 3600
    assert found["skim"].hours * share - 1000 * starts == pytest.approx(0.44, rel=0.01)
    assert found["tensors"].hours - 250 * starts - 25e6 / 38_000 / 3600 == pytest.approx(1.46, rel=0.01)


def test_half_as_many_inputs_take_half_the_room():
    half = merge(JETCLASS, {"per_dataset": {"jetclass": {"feature_set": "kin"}}})
    assert stages(half)["tensors"].disk / stages(JETCLASS)["tensors"].disk == pytest.approx(13 / 23)


def test_trainings_take_jets_over_their_rate():
    found = stages(JETCLASS | {"training": {"epochs": 3, "samples_per_epoch": 1000}, "seeds": [1, 2]}, rate=100)
    assert found["train"].jets == 6000
    assert found["train"].hours == pytest.approx(60 / 3600)
    assert stages(JETCLASS)["train"].hours is None


def test_a_training_that_has_ended_says_how_fast_the_others_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = SMALL | {"datasets": ["jetclass-sim"], "models": ["salt"], "seeds": [1, 2]}
    settings["per_dataset"] = {"jetclass-sim": SMALL["per_dataset"]["jetclass-sim"]}
    assert stages(settings)["train"].hours is None
    summary = Path("results/small/jetclass-sim/salt/seed1/training.json")
    summary.parent.mkdir(parents=True)
    # Two classes of 40 jets, two epochs.
    summary.write_text(json.dumps({"seconds": 16.0}))
    train = stages(settings)["train"]
    assert (train.jobs, train.there, train.jets) == (2, 1, 320)
    assert train.hours == pytest.approx(32 / 3600)


def test_files_of_nobody_knows_how_many_jets_have_no_figures(tmp_path):
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}_own.h5").touch()
    own = {"raw": str(tmp_path), "splits": {split: [f"{split}_own.h5"] for split in ("train", "val", "test")}}
    found = stages(JETCLASS | {"datasets": ["top_tagging"], "per_dataset": {"top_tagging": own}})
    assert not any(name.startswith("download") for name in found)
    assert (found["skim"].jobs, found["skim"].jets, found["skim"].disk, found["skim"].hours) == (3, None, None, None)
    assert (found["tensors"].jets, found["tensors"].disk, found["tensors"].hours) == (None, None, None)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_shipped_experiment_is_one_screen(name, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--config", f"workflow/experiments/{name}.yaml"])
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 120
    rows = {line.split("  ")[1].split()[0]: line for line in lines if line.startswith("  ") and line.strip()}
    assert {"skim", "tensors", "train", "evaluate", "report"} <= rows.keys()


def test_settings_can_be_changed_as_for_snakemake(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        main(["plan", "--config", "workflow/experiments/salt_qg.yaml", "--set", "scale=tiny"])
    assert capsys.readouterr().out.startswith("salt_qg-tiny: 1 training of 1 network on 1 data set\n")
