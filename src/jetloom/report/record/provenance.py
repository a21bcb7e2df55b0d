"""Write ``provenance.json``: W3C PROV that ties each cell of each table to runs, files, hashes and commits.

Source: PROV-DM and PROV-JSON, https://www.w3.org/TR/prov-dm/ and https://www.w3.org/submissions/prov-json/.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pyarrow.parquet as pq
from prov.model import ProvActivity, ProvDocument, ProvEntity

from jetloom import __version__
from jetloom.drawing.cells import Made, Records
from jetloom.identity.digests import checksum
from jetloom.results.collection import Result
from jetloom.results.inputs import Inputs, identity
from jetloom.system.files import appearing

DRAWING = ("matplotlib", "mplhep", "mplhep_data", "numpy", "pillow", "jinja2", "jetloom")
"""Packages on which the bytes of the page depend."""
NAMESPACE = "https://w3id.org/jetloom/provenance#"


def versions() -> dict[str, str]:
    """Installed versions of the packages that make the page."""
    return {name: version(name) for name in DRAWING}


def write(path: Path, given: Inputs, report: Path, tables: Mapping[str, Records]) -> None:
    """Record a report that was just made.

    Args:
        path: ``provenance.json``; files are named relative to its directory.
        given: what the report was made from.
        report: directory of the report.
        tables: what :func:`jetloom.report.build.report` said of its tables: what each number was made from.
    """
    record = Record(path.parent)
    for role, paths in given.results.items():
        for item in paths:
            record.file(item, role)
    if given.config:
        record.file(given.config, "config")
    if given.resources:
        record.file(given.resources, "resources")
    record.data(given)
    record.trainings(given)
    record.costs(given)
    record.closeness(given)
    used = list(record.files.values())
    made = [record.file(item, "report") for item in sorted(report.rglob("*")) if item.is_file()]
    record.report(given, used, made)
    for name, records in sorted(tables.items()):
        if records.runs:
            record.cells(report / "tables" / f"{name}.csv", records, given)
    with appearing(path) as partial:
        partial.write_text(cast("str", record.document.serialize(format="json", indent=1)) + "\n")


class Record:
    """A PROV document under construction.

    Args:
        root: directory to which paths are relative.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.document = ProvDocument()
        self.document.add_namespace("jetloom", NAMESPACE)
        names = ("file", "activity", "commit", "sha256", "cell")
        self.names = {name: self.document.add_namespace(name, f"{NAMESPACE}{name}/") for name in names}
        self.files: dict[Path, ProvEntity] = {}
        self.contents: dict[Path, dict[str, Any]] = {}

    def file(self, path: Path, role: str) -> ProvEntity:
        """A file with its hash."""
        if path not in self.files:
            facts: dict[str, str | int] = {
                "jetloom:role": role,
                "jetloom:sha256": checksum(path),
                "jetloom:bytes": path.stat().st_size,
            }
            self.files[path] = self.document.entity(self.names["file"][identity(path, self.root)], facts)
        return self.files[path]

    def known(self, sha256: str, label: str) -> ProvEntity:
        """Something of which only the hash is known."""
        name = self.names["sha256"][sha256]
        found = self.document.get_record(name)
        return found[0] if found else self.document.entity(name, {"prov:label": label})  # type: ignore[return-value]

    def activity(self, name: str, facts: Mapping[str, Any], git: Mapping[str, Any]) -> ProvActivity:
        """A step with the commit of its code."""
        values = {
            f"jetloom:{key}": value if isinstance(value, str | int | float) else json.dumps(value, sort_keys=True)
            for key, value in facts.items()
            if value is not None
        }
        step = self.document.activity(self.names["activity"][quote(name)], None, None, values)
        if git.get("commit"):
            commit = self.names["commit"][git["commit"]]
            if not self.document.get_record(commit):
                self.document.agent(commit, {"prov:type": "prov:SoftwareAgent", "prov:label": "commit of jetloom"})
            self.document.wasAssociatedWith(step, commit)
        return step

    def read(self, path: Path) -> dict[str, Any]:
        """Content of a JSON file, or what a Parquet file says of itself; both are asked more than once."""
        if path not in self.contents:
            parquet = path.suffix == ".parquet"
            text = pq.read_schema(path).metadata[b"jetloom"] if parquet else path.read_text()
            self.contents[path] = json.loads(text)
        return self.contents[path]

    def data(self, given: Inputs) -> None:
        """Tensors, and the raw files that their manifest names."""
        # A manifest names its preset, of which there may be several data sets; their names are those of the runs.
        names = {(content := self.read(path))["data_digest"]: content["run"]["dataset"] for path in given.training}
        steps: dict[str, ProvActivity] = {}
        for path in given.manifests:
            content = self.read(path)
            digest = content["digest"]
            if digest not in steps:
                facts = {"preset": content["dataset"], "digest": digest, "simulated": content["simulated"]}
                steps[digest] = self.activity(f"tensors/{names.get(digest, digest)}", facts, {})
                for source in content["made_from"]:
                    self.document.used(steps[digest], self.known(source["sha256"], source["file"]))
            self.document.wasGeneratedBy(self.file(path, "manifests"), steps[digest])

    def trainings(self, given: Inputs) -> None:
        """Trainings and evaluations of the runs."""
        manifests = {self.read(path)["digest"]: path for path in given.manifests}
        evaluated = {_run(self.read(path)): path for path in given.metrics}
        shown = {_run(self.read(path)): path for path in given.examples}
        beside = {path.parent: path for path in given.predictions}
        for path in given.training:
            facts, run = self.read(path), _run(self.read(path))
            tracked = facts.get("mlflow") or {}
            keys = (
                "architecture",
                "preset",
                "options",
                "training",
                "seconds",
                "device",
                "hardware",
                "versions",
                "resumed",
            )
            git = facts.get("git") or {}
            more = {"dirty": git.get("dirty"), "mlflow_run": tracked.get("run_id"), "resumed": facts.get("resumed")}
            step = self.activity(f"train/{run}", {key: facts.get(key) for key in keys} | more, git)
            manifest = manifests.get(facts["data_digest"])
            if manifest:
                self.document.used(step, self.files[manifest])
            for made in (path, path.with_name("history.csv")):
                if made in self.files:
                    self.document.wasGeneratedBy(self.files[made], step)
            if run not in evaluated:
                continue
            metrics = evaluated[run]
            content = self.read(metrics)
            checkpoint = self._checkpoint(path.with_name("best.ckpt"), content["checkpoint_sha256"])
            self.document.wasGeneratedBy(checkpoint, step)
            scoring = self.activity(f"evaluate/{run}", {"split": content["split"], "versions": content["versions"]}, {})
            self.document.used(scoring, checkpoint)
            if content["data_digest"] in manifests:
                self.document.used(scoring, self.files[manifests[content["data_digest"]]])
            for product in (metrics, beside.get(metrics.parent), shown.get(run)):
                if product:
                    self.document.wasGeneratedBy(self.files[product], scoring)

    def _checkpoint(self, path: Path, sha256: str) -> ProvEntity:
        if path.is_file() and checksum(path) == sha256:
            return self.file(path, "checkpoint")
        return self.known(sha256, "checkpoint that was evaluated")

    def costs(self, given: Inputs) -> None:
        """Measurements of cost."""
        for path in given.costs:
            content = self.read(path)
            facts = {key: content.get(key) for key in ("device", "hardware", "versions", "flop_counter")}
            step = self.activity(f"cost/{_model(content)}", facts, {})
            self.document.wasGeneratedBy(self.file(path, "costs"), step)

    def closeness(self, given: Inputs) -> None:
        """Comparisons of derived data sets with what they should be like."""
        manifests = {self.read(path)["digest"]: path for path in given.manifests}
        beside = {path.parent: path for path in given.observables}
        for path in given.closeness:
            content = self.read(path)
            step = self.activity(f"closeness/{content['set']}", {"reference": content["reference"]}, {})
            for digest in (content["data_digest"], content["reference_digest"]):
                if digest in manifests:
                    self.document.used(step, self.files[manifests[digest]])
            for product in (path, beside[path.parent]):
                self.document.wasGeneratedBy(self.files[product], step)

    def report(self, given: Inputs, used: Iterable[ProvEntity], made: Iterable[ProvEntity]) -> None:
        """The report itself, with what is needed to make it again."""
        facts = {
            "title": given.title, "versions": versions(), "jetloom": __version__,
        }  # fmt: skip
        step = self.activity("report", facts, {})
        for item in used:
            self.document.used(step, item)
        for item in made:
            self.document.wasGeneratedBy(item, step)

    def cells(self, table: Path, records: Records, given: Inputs) -> None:
        """Each number of a table, derived from the files that it was made from."""
        with table.open(newline="") as opened:
            written = list(csv.reader(opened))[1:]
        for number, (texts, row, results) in enumerate(zip(written, records.rows, records.runs, strict=True), start=1):
            for column, text, cell in zip(records.columns, texts, row, strict=True):
                if not text or not results or not isinstance(cell, Made):
                    continue
                name = f"{table.stem}/{number}/{quote(column, safe='')}"
                model = texts[list(records.columns).index("model")]
                facts = {"jetloom:table": table.name, "jetloom:row": model, "jetloom:column": column}
                entity = self.document.entity(self.names["cell"][name], facts | {"prov:value": text})
                for source in self._sources(cell.roles, results, given):
                    self.document.wasDerivedFrom(entity, source)

    def _sources(self, roles: Sequence[str], results: Sequence[Result], given: Inputs) -> list[ProvEntity]:
        runs = {_run(result.training) for result in results}
        models = {_model(result.training) for result in results}
        found = []
        for role in roles:
            for path in given.results[role]:
                named = _model(self.read(path)) in models if role == "costs" else _run(self.read(path)) in runs
                if named:
                    found.append(self.files[path])
        return found


def _model(content: Mapping[str, Any]) -> str:
    run = content["run"]
    return f"{run['dataset']}/{run['model']}"


def _run(content: Mapping[str, Any]) -> str:
    return f"{_model(content)}/seed{content['run']['seed']}"
