"""The directories of derived data that the workflow has filled, ``<results>/<experiment>/derived/<kind>-<key>``.

They are listed and removed as those of ``data_directory`` are (:mod:`jetloom.workflow.store`); nothing else of the
results is touched.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from jetloom.data.prepare import about
from jetloom.errors import JetloomError
from jetloom.identity.digests import SHORT
from jetloom.workflow.derived import VERBS
from jetloom.workflow.store import REMOVED, Place, digest_of, tensors_in_words
from jetloom.workflow.uses import Uses

KEYED = re.compile(rf"({'|'.join(VERBS.values())}|tensors)-[0-9a-f]{{{SHORT}}}")


def derived_places(uses: Uses) -> list[Place]:
    """All directories of derived data of the experiments that were looked at."""
    return [place for experiment in _experiments(uses) for place in _places(experiment, uses)]


def derived_unused(uses: Uses) -> list[Place]:
    """What no configuration plans and no result refers to, and logs of what is not there."""
    return [
        place
        for experiment in _experiments(uses)
        for places in [_places(experiment, uses)]
        for place in [*places, *_logs(experiment / "derived", {place.path for place in places if not place.unused})]
        if place.unused
    ]


def _experiments(uses: Uses) -> list[Path]:
    """Each once, and none whose directory of derived data is a link to somewhere else."""
    known = {path.resolve(): path for path in uses.experiments}
    return [path for path in known.values() if (path / "derived").is_dir() and not (path / "derived").is_symlink()]


def _places(experiment: Path, uses: Uses) -> list[Place]:
    name, planned = experiment.resolve().name, uses.derived.get(experiment)
    # Without a plan anything may be planned.
    whole = uses.all | ({name} if planned is None else set())
    found, listed = list[Place](), dict[Path, set[str]]()
    # Tensors first: they list skims.
    for path in sorted(
        (experiment / "derived").iterdir(), key=lambda path: (not path.name.startswith("tensors"), path)
    ):
        if not path.is_dir() or path.is_symlink() or not KEYED.fullmatch(path.name.removeprefix(REMOVED)):
            continue
        if path.name.startswith(REMOVED):
            found.append(Place(path, "left by a removal that was killed", frozenset(), True))
            continue
        users = whole | ({name} if path.name in (planned or ()) else set())
        if path.name.startswith("tensors"):
            users |= uses.digests.get(digest_of(path / "manifest.json"), set())
            for skims in _listed(path) if users else ():
                listed.setdefault(skims, set()).update(users)
        else:
            users |= listed.get(path, set())
        what = tensors_in_words(path) if path.name.startswith("tensors") else _skims(path)
        found.append(Place(path, what, frozenset(users), True))
    return sorted(found, key=lambda place: place.path)


def _listed(tensors: Path) -> Iterator[Path]:
    """Directories of the skims that tensors were made from."""
    for path in tensors.glob("skims/*.json"):
        try:
            rows = json.loads(path.read_text())["skims"]
            yield from [Path(os.path.normpath(path.parent / row["file"])).parent for row in rows]
        except (OSError, ValueError, KeyError, TypeError):
            # What it was made from is not known: all may be.
            yield from tensors.parent.iterdir()


def _logs(home: Path, kept: set[Path]) -> Iterator[Place]:
    """Logs and benchmarks of directories that are gone, or go."""
    for kind in ("logs", "benchmarks"):
        for path in sorted((home / kind).glob("*-*")):
            of = home / path.name.removeprefix(REMOVED)
            if KEYED.fullmatch(of.name) and (of.name != path.name or of not in kept):
                yield Place(path, kind, frozenset(), True)


def _skims(path: Path) -> str:
    try:
        settings = about.read(path / about.NAME)["settings"]
    except JetloomError:
        return "derived jets"
    verb = next((verb for verb in VERBS if verb in settings), "")
    made = settings.get(verb)
    return f"jets {VERBS.get(verb, 'derived')}: " + (
        ", ".join(f"{key} {value}" for key, value in made.items()) if isinstance(made, dict) else str(made)
    )
