"""The directories of data that the workflow has filled: what each is, which results use it, and how to be rid of it.

A directory is first renamed to ``.removed-<name>``, in one step, and deleted then: whoever is killed in between leaves
nothing that looks finished, and the next removal deletes what has that name.
"""

import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jetloom.catalogue import cards
from jetloom.data.prepare import about
from jetloom.errors import JetloomError
from jetloom.identity.digests import SHORT
from jetloom.workflow.uses import Users, Uses

KEYED = re.compile(rf"(raw|skim|tensors)-[0-9a-f]{{{SHORT}}}")
REMOVED = ".removed-"


@dataclass(frozen=True)
class Place:
    """A directory of data, or a skim in one.

    Attributes:
        path: where it is.
        what: it holds, in short words.
        users: experiments whose results use it.
        removable: whether the workflow has made it, and can make it again.
    """

    path: Path
    what: str
    users: frozenset[str]
    removable: bool

    @property
    def unused(self) -> bool:
        """Whether it is removed."""
        return self.removable and not self.users

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Number of files and bytes; second names of the same file (hard links) count once."""
        paths = [self.path] if self.path.is_file() else [Path(top, name) for top, _, names in os.walk(self.path)
                                                          for name in names]  # fmt: skip
        sizes = {(stat.st_dev, stat.st_ino): stat.st_size for stat in (path.lstat() for path in paths)}
        return len(sizes), sum(sizes.values())


class Store:
    """What is in ``data_directory``.

    Args:
        root: ``data_directory``.
        uses: what the results need of it.

    Raises:
        JetloomError: there is no such directory.
    """

    def __init__(self, root: Path, uses: Uses) -> None:
        if not root.is_dir():
            raise JetloomError(f"{root}: no such directory of data; --data names the workflow's `data_directory`")
        self.root, self.uses = Path(os.path.normpath(root)), uses
        self.families = sorted(path for path in self.root.glob("*") if path.is_dir() and not path.name.startswith("."))
        self._digests = {path.parent: digest_of(path) for path in self.root.glob("*/tensors*/manifest.json")}

    @cached_property
    def places(self) -> list[Place]:
        """All directories of data."""
        return [self._place(path) for family in self.families for path in sorted(family.iterdir()) if _of_data(path)]

    @cached_property
    def unused(self) -> list[Place]:
        """What no result refers to: directories, skims in directories that others use, logs of what is not there."""
        return [place for place in [*self.places, *self._skims(), *self._logs()] if place.unused]

    def _place(self, path: Path) -> Place:
        kind, family = path.name.split("-")[0], path.parent.name
        if path.name.startswith(REMOVED):
            return Place(path, "left by a removal that was killed", frozenset(), True)
        # What a link leads to is not the workflow's.
        keyed = KEYED.fullmatch(path.name) is not None and not path.is_symlink()
        if kind == "raw":
            users = self.uses.places.get(self._name(path), set()) | self._users_of_raw(path.name)
            simulated = keyed and (path / about.NAME).is_file()
            what = _simulated(path) if simulated else _raw(path)
            return Place(path, what, frozenset(users | self.uses.of_family(family)), simulated)
        if path.name in ("skim", "tensors"):
            users = self._users_of_earlier(path.parent) | self.uses.of_family(family)
            return Place(path, "earlier layout, not used any more", frozenset(users), not path.is_symlink())
        if kind == "skim":
            users = {name for skim, names in self._users_of_skims.items() if path in skim.parents for name in names}
            users |= self.uses.places.get(self._name(path), set())
            return Place(path, _skims(path), frozenset(users | self.uses.of_family(family)), keyed)
        return Place(path, tensors_in_words(path), frozenset(self._users_of_tensors(path)), keyed)

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self.root)

    def _users_of_tensors(self, path: Path) -> set[str]:
        trained = self.uses.digests.get(self._digests.get(path, ""), set())
        return trained | self.uses.places.get(self._name(path), set()) | self.uses.of_family(path.parent.name)

    def _users_of_earlier(self, family: Path) -> set[str]:
        """Experiments that nobody has run since: there is nothing else that their results were made from."""
        digest = self._digests.get(family / "tensors", "")
        again = any(own == digest and KEYED.fullmatch(path.name) for path, own in self._digests.items())
        return set() if again else self.uses.digests.get(digest, set())

    @cached_property
    def _users_of_skims(self) -> dict[Path, set[str]]:
        """Experiments by skim: those of the tensors that list it, and those that plan it."""
        users: dict[Path, set[str]] = defaultdict(set)
        for name, experiments in self.uses.skims.items():
            users[self.root / name] |= experiments
        for tensors in self.root.glob("*/tensors-*"):
            if experiments := self._users_of_tensors(tensors):
                for skim in self._listed(tensors):
                    users[skim] |= experiments
        return users

    def _listed(self, tensors: Path) -> Iterator[Path]:
        for path in tensors.glob("skims/*.json"):
            try:
                rows = json.loads(path.read_text())["skims"]
                yield from [Path(os.path.normpath(path.parent / row["file"])) for row in rows]
            except (OSError, ValueError, KeyError, TypeError):
                # What it was made from is not known: all may be.
                yield from tensors.parent.glob("skim-*/**/*.parquet")

    def _users_of_raw(self, name: str) -> set[str]:
        """A skim is named by its raw file and the key of the directory that this was simulated into."""
        return self._users_of_keys.get(name.removeprefix("raw-"), set())

    @cached_property
    def _users_of_keys(self) -> Users:
        users: Users = defaultdict(set)
        for skim, names in self._users_of_skims.items():
            users[skim.stem.rpartition("-")[2]] |= names
        return users

    def _skims(self) -> Iterator[Place]:
        """Skims in directories that are used."""
        for place in self.places:
            if place.path.name.startswith("skim-") and place.users and place.removable:
                whole = self.uses.of_family(place.path.parent.name)
                for path in sorted(place.path.rglob("*.parquet")):
                    users = frozenset(self._users_of_skims.get(path, set()) | whole)
                    yield Place(path, "skim", users, True)

    def _logs(self) -> Iterator[Place]:
        """Logs and benchmarks of directories that are gone, or go."""
        kept = {place.path for place in self.places if not place.unused}
        for family in self.families:
            for kind in ("logs", "benchmarks"):
                for path in sorted((family / kind).glob("*-*")):
                    of = family / path.name.removeprefix(REMOVED)
                    if KEYED.fullmatch(of.name) and (of.name != path.name or of not in kept):
                        planned = self.uses.places.get(self._name(of), set()) | self.uses.of_family(family.name)
                        yield Place(path, kind, frozenset(planned), True)


def remove(places: Sequence[Place]) -> None:
    """Delete directories and skims, and directories of theirs that are empty then."""
    for place in places:
        path = place.path
        if path.is_dir():
            away = path if path.name.startswith(REMOVED) else path.with_name(f"{REMOVED}{path.name}")
            if away != path:
                # Of an earlier removal of a directory with the same content.
                shutil.rmtree(away, ignore_errors=True)
                path.rename(away)
            shutil.rmtree(away)
        else:
            for record in _records(path):
                record.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()


def earlier_layout(root: Path) -> list[str]:
    """What to tell a user whose data are of the layout in which directories had no keys, a line for each data set.

    Args:
        root: ``data_directory``.
    """
    return [
        f"{path.parent.parent}: skims and tensors of an earlier layout are not used any more; "
        "`jetloom data prune` removes them"
        for path in sorted(root.glob("*/tensors/manifest.json"))
    ]


def _of_data(path: Path) -> bool:
    if not path.is_dir():
        return False
    if path.name in ("skim", "tensors"):
        kinds = ("*.parquet", "*/*.parquet") if path.name == "skim" else ("manifest.json", "*.safetensors")
        return any(True for kind in kinds for _ in path.glob(kind))
    return path.name == "raw" or KEYED.fullmatch(path.name.removeprefix(REMOVED)) is not None or (
        path.name in (f"{REMOVED}skim", f"{REMOVED}tensors")
    )  # fmt: skip


def _records(skim: Path) -> list[Path]:
    """Log and benchmark of a skim."""
    place = next(parent for parent in skim.parents if KEYED.fullmatch(parent.name))
    name = os.path.join(place.name, "skim", os.path.relpath(skim, place).removesuffix(".parquet"))
    return [place.parent / f"logs/{name}.log", place.parent / f"benchmarks/{name}.tsv"]


def digest_of(manifest: Path) -> str:
    """Digest of a manifest; empty: it is missing or damaged."""
    try:
        return str(json.loads(manifest.read_text())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        # Damaged: no training can have read it.
        return ""


def _about(path: Path) -> dict[str, Any]:
    try:
        return about.read(path / about.NAME)
    except JetloomError:
        return {"settings": {}}


def _raw(path: Path) -> str:
    family = path.parent.name
    if path.name != "raw":
        return "raw files, other than the published"
    if family in cards.names("datasets") and "simulation" in cards.read("datasets", family):
        return "raw files of an earlier layout"
    return "raw files"


def _simulated(path: Path) -> str:
    return "simulated raw files: " + _words(_about(path)["settings"])


def _skims(path: Path) -> str:
    settings = _about(path)["settings"]
    classes = f"{len(settings['classes'])} classes" if "classes" in settings else ""
    return "skims: " + ", ".join(filter(None, [classes, _selection(settings)]))


def tensors_in_words(path: Path) -> str:
    """What a directory of tensors holds."""
    content = _about(path)
    settings = content["settings"]
    longest = f"{settings['max_particles']} particles" if "max_particles" in settings else ""
    words = [content.get("dataset"), settings.get("feature_set"), longest, _selection(settings)]
    unfinished = "" if (path / "manifest.json").is_file() else " (not finished)"
    return "tensors: " + ", ".join(filter(None, words)) + unfinished


def _selection(settings: dict[str, Any]) -> str:
    cuts = settings.get("selection") or {}
    ends = {key: ["" if end is None else f"{end:g}" for end in pair] for key, pair in cuts.items()}
    return ", ".join(f"{key} {low}..{high}" for key, (low, high) in ends.items())


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
