"""Plots of a data set against sums made by hand."""

import csv
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import yaml

from jetloom.cli import main
from jetloom.config import read_experiment, resolve_dataset
from jetloom.data.prepare.skim import skim
from jetloom.data.sources.top_tagging import chunks
from jetloom.errors import JetloomError
from jetloom.report.distributions import plot
from jetloom.workflow.plan import Plan
from tests.support.data import make_top_tagging, mirrors

COUNTS, LABELS = [5, 9, 20, 20, 45, 45], [0, 0, 0, 1, 1, 1]


@pytest.fixture
def skims(tmp_path):
    dataset = resolve_dataset("top_tagging", {}, "")
    raw = make_top_tagging.make(tmp_path / "train.h5", COUNTS, LABELS)
    paths = [tmp_path / "skim/a.parquet", tmp_path / "skim/b.parquet"]
    for path in paths:
        # Several row groups: what is drawn does not depend on them.
        skim("top_tagging", dataset, raw, path, chunk=4)
    return paths


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_shares_are_those_of_the_jets(tmp_path, skims):
    plot("Top", skims, tmp_path / "out/top")
    assert (tmp_path / "out/top.png").stat().st_size > 5000
    assert (tmp_path / "out/top.pdf").exists()
    rows = table(tmp_path / "out/top.csv")
    assert {row["quantity"] for row in rows} == {"multiplicity", "jet_mass", "jet_pt", "delta_r"}
    assert {(row["class"], row["jets_of_class"]) for row in rows} == {("QCD", "6"), ("top", "6")}
    jets = ak.concatenate(list(chunks(tmp_path / "train.h5", resolve_dataset("top_tagging", {}, ""), 100)))
    label = np.array(LABELS)
    mass = np.sqrt(jets.jet_energy**2 - (jets.jet_pt * np.cosh(jets.jet_eta)) ** 2)
    radius = np.hypot(jets.part_deta, jets.part_dphi)
    for index, name in enumerate(("QCD", "top")):
        mean = {
            quantity: sum(
                float(row["share"]) * (float(row["low_edge"]) + float(row["high_edge"])) / 2
                for row in rows
                if row["quantity"] == quantity and row["class"] == name
            )
            for quantity in ("multiplicity", "jet_mass", "jet_pt", "delta_r")
        }
        chosen = label == index
        assert mean["multiplicity"] == pytest.approx(np.array(COUNTS)[chosen].mean(), abs=0.6)
        assert mean["jet_mass"] == pytest.approx(ak.mean(mass[chosen]), rel=0.05)
        assert mean["jet_pt"] == pytest.approx(ak.mean(jets.jet_pt[chosen]), rel=0.02)
        assert mean["delta_r"] == pytest.approx(ak.mean(radius[chosen]), rel=0.05)


def test_point_clouds_have_radius_and_height(tmp_path):
    changes = mirrors.build("modelnet10", tmp_path) | {"max_particles": 64, "buckets": [64]}
    dataset = resolve_dataset("modelnet10", changes, "")
    from jetloom.data.fetch.download import download

    download(dataset, tmp_path / "raw", names=["chair/test"])
    skim("modelnet10", dataset, tmp_path / "raw/chair/test", tmp_path / "chair.parquet")
    plot("ModelNet10", [tmp_path / "chair.parquet"], tmp_path / "points")
    rows = [row for row in table(tmp_path / "points.csv") if row["class"] == "chair"]
    assert {row["quantity"] for row in rows} == {"radius", "height"}
    assert sum(float(row["share"]) for row in rows) == pytest.approx(2)


def test_without_skims_it_says_how_to_make_them(tmp_path, capsys):
    with pytest.raises(JetloomError, match="jetloom skim"):
        plot("Top", [], tmp_path / "top")
    config = configuration(tmp_path)
    with pytest.raises(SystemExit, match="no skims"):
        main(["datasets", "plot", "top_tagging", "--config", str(config), "--output", str(tmp_path / "top")])
    with pytest.raises(SystemExit, match="no data set 'top'; allowed: top_tagging"):
        main(["datasets", "plot", "top", "--config", str(config)])


def configuration(tmp_path):
    """An experiment on three small files of top tagging."""
    dataset = {"raw": str(tmp_path / "raw")}
    for name in ("train", "val", "test"):
        make_top_tagging.make(tmp_path / f"raw/{name}.h5", COUNTS, LABELS)
    config = {
        "experiment": "own", "datasets": ["top_tagging"], "models": ["pfn"], "seeds": [1], "preset": "tiny",
        "per_dataset": {"top_tagging": dataset}, "data_directory": str(tmp_path / "data"),
    }  # fmt: skip
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "own.yaml"


def test_the_skims_of_a_configuration_are_drawn_when_all_are_there(tmp_path):
    config = configuration(tmp_path)
    plan = Plan(read_experiment(config)).data["top_tagging"]
    output = tmp_path / "top"
    command = ["datasets", "plot", "top_tagging", "--config", str(config), "--output", str(output)]
    for name in ("train.h5", "val.h5", "test.h5"):
        with pytest.raises(SystemExit, match=r"no such skim|no skims"):
            main(command)
        skim("top_tagging", plan.dataset, Path(plan.raw[name].path), Path(plan.skim(name)))
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert not ended.value.code
    # Each file has three jets of each class.
    assert {(row["class"], row["jets_of_class"]) for row in table(tmp_path / "top.csv")} == {("QCD", "9"), ("top", "9")}


def test_the_verbs_cite_list_and_plot(tmp_path, skims, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["datasets", "cite", "top_tagging"])
    assert not ended.value.code
    assert "doi={10.5281/zenodo.2603256}" in capsys.readouterr().out

    raw = tmp_path / "data/top_tagging/raw"
    raw.mkdir(parents=True)
    (raw / "val.h5").write_bytes(bytes(2500))
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "250")
        main(["datasets", "--data", str(tmp_path / "data")])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "top_tagging" in line]
    assert "1 of 3, 2.5 kB" in line
    assert "CC-BY-4.0" in line
    assert "1.7 GB" in line

    with pytest.raises(SystemExit) as ended:
        main(["datasets", "plot", "top_tagging", *map(str, skims), "--output", str(tmp_path / "plot")])
    assert not ended.value.code
    assert (tmp_path / "plot.csv").exists()
