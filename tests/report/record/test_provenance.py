"""Where numbers come from, what changed since, and the same page from an archive in another place."""

import csv
import filecmp
import hashlib
import json
import shutil
import zipfile
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import pytest
from prov.model import ProvDocument

from jetloom.cli import main
from jetloom.errors import JetloomError
from jetloom.report.build import report
from jetloom.report.record.archive import archive
from jetloom.report.record.provenance import write
from jetloom.report.record.verify import verify
from jetloom.results.inputs import Inputs, inputs, read

from ..conftest import MODELS
from ..fabricate import fabricate

pytestmark = pytest.mark.seconds

TITLE = "Taggers & friends"


@pytest.fixture(scope="module")
def experiment(made, tmp_path_factory) -> Path:
    """A copy of results and report as the workflow leaves them: data elsewhere, checkpoints, a record."""
    home = tmp_path_factory.mktemp("project")
    directory = home / "results/demo"
    shutil.copytree(made.results.metrics[0].parents[3], directory)
    shutil.copytree(made.output, directory / "report")
    shutil.copy(made.config, directory / "config.yaml")
    manifests = []
    for dataset in MODELS:
        manifests.append(home / "data" / dataset / "tensors/manifest.json")
        manifests[-1].parent.mkdir(parents=True)
        shutil.move(directory / dataset / "manifest.json", manifests[-1])

    def moved(paths):
        return [directory / path.relative_to(made.results.metrics[0].parents[3]) for path in paths]

    given = {role: moved(paths) for role, paths in made.results.results.items() if role != "manifests"}
    write(
        directory / "provenance.json",
        Inputs(**given, manifests=manifests, config=directory / "config.yaml", title=TITLE),
        directory / "report",
        made.tables,
    )
    return directory


def jetloom(*arguments: object) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _copy(experiment: Path, home: Path) -> Path:
    shutil.copytree(experiment.parents[1], home / "copy")
    return home / "copy/results/demo"


def test_another_tool_reads_the_record(experiment):
    document = ProvDocument.deserialize(experiment / "provenance.json", format="json")
    assert len(document.get_records()) > 500


def test_every_cell_leads_to_files_with_their_hash_and_to_a_commit(experiment):
    record = read(experiment)
    derived: dict[str, set[str]] = {}
    for link in record["wasDerivedFrom"].values():
        derived.setdefault(link["prov:generatedEntity"], set()).add(link["prov:usedEntity"])
    made_by = {link["prov:entity"]: link["prov:activity"] for link in record["wasGeneratedBy"].values()}
    used: dict[str, set[str]] = {}
    for link in record["used"].values():
        used.setdefault(link["prov:activity"], set()).add(link["prov:entity"])
    commit_of = {link["prov:activity"]: link["prov:agent"] for link in record["wasAssociatedWith"].values()}
    with (experiment / "report/tables/jetclass-sim.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, start=1):
        runs = {f"file:jetclass-sim/{row['model']}/seed{seed}" for seed in (1, 2)}
        cell = f"cell:jetclass-sim/{number}/accuracy"
        assert record["entity"][cell]["prov:value"] == row["accuracy"]
        assert derived[cell] == {f"{run}/metrics.json" for run in runs}
        assert derived[f"cell:jetclass-sim/{number}/flops"] == {f"file:jetclass-sim/{row['model']}/cost.json"}
        assert derived[f"cell:jetclass-sim/{number}/training_seconds"] == {f"{run}/training.json" for run in runs}
        assert derived[f"cell:jetclass-sim/{number}/parameters"] == {f"file:jetclass-sim/{row['model']}/cost.json"}
        assert derived[f"cell:jetclass-sim-multiplicity/{number}/accuracy"] <= {
            f"file:jetclass-sim/{model}/seed{seed}/predictions.parquet"
            for model in MODELS["jetclass-sim"] for seed in (1, 2)
        }  # fmt: skip
        for run in runs:
            assert record["entity"][f"{run}/metrics.json"]["jetloom:sha256"] == _sha256(
                experiment / run.removeprefix("file:") / "metrics.json"
            )
            scoring = made_by[f"{run}/metrics.json"]
            assert f"{run}/best.ckpt" in used[scoring], "the checkpoint that was evaluated"
            training = made_by[f"{run}/best.ckpt"]
            assert commit_of[training] == "commit:0123456789abcdef0123456789abcdef01234567"
            (manifest,) = used[training]
            assert manifest == "file:../../data/jetclass-sim/tensors/manifest.json"
            assert used[made_by[manifest]], "raw files by their hash"


def test_every_number_of_every_table_is_in_the_record(experiment):
    cells = {name for name in read(experiment)["entity"] if name.startswith("cell:")}
    tables = {name.split(":")[1].split("/")[0] for name in cells}
    written = {path.stem for path in (experiment / "report/tables").glob("*.csv")}
    assert tables == {name for name in written if not name.startswith("paper-")} | (tables & written)


def test_data_sets_of_one_preset_keep_their_runs(tmp_path):
    """Names that begin with that of the preset, with another one, or with none."""
    models = {"jetclass": ["part", "salt"], "jetclass-kin": ["part", "salt"], "kin-salt": ["salt", "part"]}
    given = fabricate(tmp_path, models, [1, 2], jets=600, based_on=dict.fromkeys(models, "jetclass"))
    rows = report(given, tmp_path / "report")
    write(tmp_path / "provenance.json", given, tmp_path / "report", rows)
    record = read(tmp_path)
    sources: dict[str, set[str]] = {}
    for link in record["wasDerivedFrom"].values():
        sources.setdefault(link["prov:generatedEntity"], set()).add(link["prov:usedEntity"].removeprefix("file:"))
    checked = 0
    for dataset in models:
        for path in [tmp_path / f"report/tables/{dataset}.csv", *_tables_of(dataset, tmp_path / "report/tables")]:
            for number, row in enumerate(csv.DictReader(path.open()), start=1):
                models_of_row = {row["model"], row.get("reference", row["model"])}
                seeds = {row["seed"]} if "seed" in row else {"1", "2"}
                if path.stem.endswith("-runs"):
                    assert row["dataset"] == dataset
                for column, value in row.items():
                    if column in ("model", "title", "dataset", "seed", "seeds", "reference") or not value:
                        continue
                    found = sources[f"cell:{path.stem}/{number}/{quote(column, safe='')}"]
                    runs = {f"{dataset}/{model}/seed{seed}" for model in models_of_row for seed in seeds}
                    costs = {f"{dataset}/{model}" for model in models_of_row}
                    assert {name.rpartition("/")[0] for name in found} in (runs, costs), (path.name, number, column)
                    checked += 1
    assert checked > 500
    for number, row in enumerate(csv.DictReader((tmp_path / "report/tables/runs.csv").open()), start=1):
        expected = f"{row['dataset']}/{row['model']}/seed{row['seed']}/metrics.json"
        assert sources[f"cell:runs/{number}/accuracy"] == {expected}
    made_by = {link["prov:entity"]: link["prov:activity"] for link in record["wasGeneratedBy"].values()}
    for dataset in models:
        step = made_by[f"file:{dataset}/manifest.json"]
        assert step == f"activity:tensors/{dataset}"
        assert record["activity"][step]["jetloom:preset"] == "jetclass"
        digest = json.loads((tmp_path / dataset / "manifest.json").read_text())["digest"]
        assert record["activity"][step]["jetloom:digest"] == digest
    papers = [path for path in (tmp_path / "report/tables").glob("paper-*.csv")]
    assert papers, "jetclass is in a published table"
    for path in papers:
        for number, row in enumerate(csv.DictReader(path.open()), start=1):
            cell = f"cell:{path.stem}/{number}/ours"
            assert (cell in sources) == bool(row["ours"])
            assert f"cell:{path.stem}/{number}/published" not in sources, "not a result of ours"
            if row["ours"]:
                assert {name.split("/")[0] for name in sources[cell]} == {row["dataset"]}


def _tables_of(dataset: str, directory: Path) -> list[Path]:
    names = ("overview", "rejections", "pairs", "multiplicity", "runs")
    return [path for name in names if (path := directory / f"{dataset}-{name}.csv").is_file()]


def test_nothing_changed(experiment):
    checked, findings = verify(experiment)
    assert findings == []
    # Six files of each of twelve runs, six costs, two manifests, the configuration, and the report.
    assert checked == 12 * 6 + 6 + 2 + 1 + sum(path.is_file() for path in (experiment / "report").rglob("*"))


def test_what_changed_is_named(experiment, tmp_path, capsys):
    directory = _copy(experiment, tmp_path)
    changed = directory / "jetclass-sim/part/seed1/metrics.json"
    changed.write_text(changed.read_text().replace('"seed": 1', '"seed": 9', 1))
    (directory / "report/tables/runs.csv").unlink()
    (directory / "report/tables/more.csv").write_text("model\n")
    assert jetloom("verify", directory, "--data") == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{changed} has changed (sha256 ") for line in lines)
    assert f"{directory / 'report/tables/runs.csv'} is missing" in lines
    assert any(line.startswith(str(directory / "report/tables/more.csv")) for line in lines)
    assert sum("train_000.safetensors is missing" in line for line in lines) == len(MODELS), "tensors with --data"


def test_the_archive_builds_the_same_report_elsewhere(experiment, tmp_path, capsys):
    names = archive(experiment, tmp_path / "first.zip")
    archive(experiment, tmp_path / "second.zip")
    assert filecmp.cmp(tmp_path / "first.zip", tmp_path / "second.zip", shallow=False), "the same bytes every time"
    assert not [name for name in names if name.endswith((".safetensors", ".root", ".h5"))]
    assert sum(name.endswith("best.ckpt") for name in names) == 12
    with zipfile.ZipFile(tmp_path / "first.zip") as packed:
        packed.extractall(tmp_path / "elsewhere")
    assert "jetloom report results/demo" in (tmp_path / "elsewhere/README.txt").read_text()
    assert jetloom("report", tmp_path / "elsewhere/results/demo", "--output", tmp_path / "again") == 0
    assert "may differ" not in capsys.readouterr().err
    pages = experiment / "report"
    files = sorted(path.relative_to(pages) for path in pages.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*.*"))
    different = {str(name) for name in files if not filecmp.cmp(pages / name, tmp_path / "again" / name, shallow=False)}
    assert different == set()


def test_an_archive_without_checkpoints_is_smaller(experiment, tmp_path):
    names = archive(experiment, tmp_path / "small.zip", checkpoints=False)
    assert not any(name.endswith("best.ckpt") for name in names)


def test_a_changed_result_is_not_archived(experiment, tmp_path):
    directory = _copy(experiment, tmp_path)
    (directory / "jetclass-sim/part/cost.json").write_text("{}")
    with pytest.raises(JetloomError, match=r"cost\.json: has changed .* make the report again"):
        archive(directory, tmp_path / "no.zip")
    assert not (tmp_path / "no.zip").exists()


def test_other_versions_are_named(experiment, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "jetloom.report.record.provenance.version", lambda name: "0.0" if name == "matplotlib" else version(name)
    )
    assert jetloom("figure", "training", experiment, "--output", tmp_path) == 0
    assert (
        f"figures may differ by some bytes: matplotlib 0.0 instead of {version('matplotlib')}\n"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file; `jetloom report"), ("{", "not JSON"), ('{"entity": {}}', "not the provenance of a report")],
)
def test_a_directory_without_a_record_is_one_line(tmp_path, content, message):
    if content:
        (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(JetloomError, match=message) as caught:
        inputs(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_result_is_one_line(experiment, tmp_path):
    directory = _copy(experiment, tmp_path)
    (directory / "jetclass-sim/part/seed1/history.csv").unlink()
    with pytest.raises(JetloomError, match=r"history\.csv: missing, and the report of"):
        inputs(directory)
