"""What lies in a data directory, which results use it, and how what none uses is removed."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jetloom import presets
from jetloom.config import read_experiment
from jetloom.data import about
from jetloom.errors import JetloomError
from jetloom.workflow.plan import Plan

EARLIER = ("skim", "tensors")
"""Directories of the layout in which all experiments wrote to one place."""
REMOVED = ".removed-"
"""How the name of a directory begins that is being removed: under it nothing looks finished, whatever a kill leaves."""


@dataclass(frozen=True)
class Place:
    """A directory of data, or the skims of one that nothing uses.

    Attributes:
        path: the directory.
        what: what it holds, in words.
        files: number of files.
        bytes: their size.
        used_by: experiments whose results refer to it.
        removable: whether it can be made again by the workflow.
        unused: files of it that no result refers to, though others are used.
    """

    path: Path
    what: str
    files: int
    bytes: int
    used_by: list[str]
    removable: bool
    unused: list[Path]


def places(data: Path, results: Sequence[Path]) -> list[Place]:
    """All directories of data.

    Args:
        data: ``data_directory`` of experiments.
        results: directories of results; each subdirectory with a ``config.yaml`` is an experiment.

    Raises:
        JetloomError: no such data directory.
    """
    if not data.is_dir():
        raise JetloomError(f"{data}: no such directory; name the data directory with --data")
    users = _users(data, results)
    families = [path for path in sorted(data.iterdir()) if path.is_dir()]
    return [
        _place(path, users)
        for family in families
        for path in sorted(family.iterdir())
        if path.is_dir() and path.name.partition("-")[0] in ("raw", *EARLIER)
    ]


def unused(found: Iterable[Place]) -> list[Path]:
    """Directories and files that no result refers to and that the workflow can make again."""
    paths: list[Path] = []
    for place in found:
        if place.removable:
            paths += place.unused if place.used_by else [place.path]
    return paths


def remove(paths: Iterable[Path]) -> None:
    """Remove directories and files of data, with the logs and benchmark files of the directories."""
    for path in paths:
        if path.is_file():
            path.unlink()
            continue
        going = path.rename(path.with_name(f"{REMOVED}{path.name}"))
        shutil.rmtree(going)
        for kind in ("logs", "benchmarks"):
            shutil.rmtree(path.parent / kind / path.name, ignore_errors=True)


def left_behind(data: Path) -> Iterator[Path]:
    """Directories whose removal was interrupted."""
    yield from sorted(data.glob(f"*/{REMOVED}*"))


def earlier_layout(data: Path) -> list[str]:
    """One line for each data set whose skims and tensors are of the layout before."""
    return [
        f"{family}: skims and tensors of an earlier layout are not used any more; `jetloom data prune` removes them"
        for family in sorted({path.parents[1] for path in data.glob("*/tensors/manifest.json")})
    ]


def _users(data: Path, results: Sequence[Path]) -> dict[Path, set[str]]:
    """Experiments by what they use: directories, skims, and whole data sets of configurations that cannot be read."""
    users: dict[Path, set[str]] = {}
    digests = {key: path.parent for path in data.glob("*/tensors-*/manifest.json") if (key := _digest(path))}
    for config in sorted(path for root in results for path in root.glob("*/config.yaml")):
        experiment, home = config.parent.name, config.parent
        used = {digests[key] for path in home.glob("*/*/seed*/*.json") if (key := _digest(path)) in digests}
        try:
            plan = Plan(read_experiment(config))
            used |= {Path(item.tensors_directory) for item in plan.data.values()}
            planned = [Path(path) for path in [*plan.about, *plan.raw_of]]
        except JetloomError:
            # Of which data it is can only be guessed from its results: nothing of their families goes.
            names = [path.name for path in home.iterdir() if path.is_dir()]
            families = {presets.family(item) if item in presets.names("datasets") else item for item in names}
            homes = [data / family for family in families]
            planned = [path for place in homes for path in (*place.glob("*"), *place.rglob("*.parquet"))]
        for path in [*used, *planned, *(skim for item in used for skim in _skims(item))]:
            users.setdefault(_plain(path), set()).add(experiment)
    for path, names in list(users.items()):
        if path.suffix == ".parquet":
            # A simulated file's directory carries the identity that ends the name of its skim.
            family = next(parent for parent in path.parents if parent.name.startswith("skim")).parent
            for place in (_skim_directory(path), family / f"raw-{path.stem.rpartition('-')[2]}"):
                users.setdefault(place, set()).update(names)
    return users


def _place(path: Path, users: dict[Path, set[str]]) -> Place:
    files = [file for file in path.rglob("*") if file.is_file()]
    own = users.get(_plain(path), set())
    skims = [file for file in files if file.suffix == ".parquet"]
    kind = path.name.partition("-")[0]
    described = (path / about.NAME).is_file()
    return Place(
        path,
        "skims and tensors of an earlier layout" if path.name in EARLIER else _words(path, kind, described),
        len(files),
        sum(file.stat().st_size for file in files),
        sorted(own),
        described or kind != "raw",
        [file for file in skims if kind == "skim" and _plain(file) not in users],
    )


def _words(path: Path, kind: str, described: bool) -> str:
    if not described:
        return "downloaded files" if kind == "raw" else f"{kind}, half made"
    content = about.read(path / about.NAME)
    settings = content["settings"]
    if kind == "raw":
        return ", ".join(f"{key} {value}" for key, value in settings.items())
    cuts = [f"{key} in {value}" for key, value in settings.get("selection", {}).items()]
    if kind == "skim":
        return ", ".join([f"skims of {len(settings['classes'])} classes", *cuts])
    return ", ".join([f"{content['dataset']}: {settings['feature_set']}, {settings['max_particles']} particles", *cuts])


def _skims(tensors: Path) -> list[Path]:
    """Skims that tensors were made from."""
    listed = []
    for path in sorted((tensors / "skims").glob("*.json")):
        listed += [path.parent / row["file"] for row in json.loads(path.read_text())["skims"]]
    return listed


def _skim_directory(skim: Path) -> Path:
    return next(parent for parent in skim.parents if parent.name.startswith("skim-"))


def _digest(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content.get("digest") or content.get("data_digest") if isinstance(content, dict) else None


def _plain(path: Path) -> Path:
    return path.resolve()
