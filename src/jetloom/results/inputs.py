"""What a report was made from, as its ``provenance.json`` lists it: to build it again, to check it, to hand it on."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from jetloom.errors import JetloomError
from jetloom.system.files import read_json

NAME = "provenance.json"
ROLES = (
    "metrics",
    "training",
    "predictions",
    "histories",
    "costs",
    "manifests",
    "examples",
    "closeness",
    "observables",
)


@dataclass(frozen=True)
class Inputs:
    """Files and settings of a report; each file says itself to which run it belongs, its path does not matter.

    Attributes:
        metrics: ``metrics.json`` of every evaluation; their order is that of the report.
        training: ``training.json`` of the same trainings.
        predictions: ``predictions.parquet`` of the same evaluations.
        histories: ``history.csv``, each beside its ``training.json``.
        costs: ``cost.json``, one for each model and data set, or none.
        manifests: ``manifest.json`` of the data sets.
        examples: ``examples.json`` of the evaluations, as far as there are any.
        closeness: ``closeness.json`` of derived data sets.
        observables: ``observables.parquet``, each beside its ``closeness.json``.
        config: ``config.yaml``, whose titles count and which the page ends with.
        title: headline.
        resources: what jobs asked for and used, for the table of them (``jetloom.report.resources``).
    """

    metrics: Sequence[Path]
    training: Sequence[Path]
    predictions: Sequence[Path]
    histories: Sequence[Path]
    costs: Sequence[Path]
    manifests: Sequence[Path]
    examples: Sequence[Path] = ()
    closeness: Sequence[Path] = ()
    observables: Sequence[Path] = ()
    config: Path | None = None
    title: str = "Jet taggers compared"
    resources: Path | None = None

    @property
    def results(self) -> dict[str, Sequence[Path]]:
        """The files of trainings, evaluations and data, by role."""
        return {role: getattr(self, role) for role in ROLES}


class File(NamedTuple):
    """A file of a provenance record."""

    path: Path
    """Where it is, or was."""
    role: str
    sha256: str


def identity(path: Path, root: Path) -> str:
    """Name of a file in the record of ``root``: its relative path, percent-encoded as in an address."""
    return quote(Path(os.path.relpath(path.absolute(), root.absolute())).as_posix())


def read(directory: Path) -> dict[str, Any]:
    """The record of a finished experiment.

    Raises:
        JetloomError: there is none, or it is not one of ours.
    """
    path = directory / NAME
    record: dict[str, Any] = read_json(
        path, missing=f"`jetloom report ... --provenance {path}` writes it", damaged="make the report again"
    )
    if "jetloom" not in record.get("prefix", {}) or "activity:report" not in record.get("activity", {}):
        raise JetloomError(f"{path}: not the provenance of a report of jetloom; make the report again")
    return record


def files(directory: Path) -> Iterator[File]:
    """Every file that the record of a directory lists, in its order."""
    for name, facts in read(directory)["entity"].items():
        prefix, _, path = name.partition(":")
        if prefix == "file":
            yield File(
                Path(os.path.normpath(directory / unquote(path))), facts["jetloom:role"], facts["jetloom:sha256"]
            )


def inputs(directory: Path) -> Inputs:
    """What the report of a finished experiment was made from.

    Raises:
        JetloomError: no record, or a file of it is missing.
    """
    by_role: dict[str, list[Path]] = {role: [] for role in (*ROLES, "config", "resources")}
    for file in files(directory):
        if file.role in by_role:
            if not file.path.is_file():
                raise JetloomError(f"{file.path}: missing, and the report of {directory} is made from it")
            by_role[file.role].append(file.path)
    facts = read(directory)["activity"]["activity:report"]
    config, resources = by_role.pop("config"), by_role.pop("resources")
    return Inputs(
        **by_role,
        config=config[0] if config else None,
        title=facts["jetloom:title"],
        resources=resources[0] if resources else None,
    )


def other_versions(directory: Path, installed: dict[str, str]) -> list[str]:
    """Packages that draw figures and are installed in another version than the report was made with."""
    recorded = json.loads(read(directory)["activity"]["activity:report"]["jetloom:versions"])
    return [
        f"{name} {installed.get(name, 'missing')} instead of {version}"
        for name, version in recorded.items()
        if installed.get(name) != version
    ]
