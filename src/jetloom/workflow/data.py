"""Where raw files, skims and tensors of a data set lie: data of different content never share a place.

A directory is named by what it holds and by a short digest of what is known of that when the plan is made: settings,
code, and what identifies the raw files. Experiments whose data are equal find the same directory.
"""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jetloom.catalogue import cards
from jetloom.config import Dataset, DatasetChanges, RemoteFile, read_by
from jetloom.data.simulate.processes import PROCESS_OF
from jetloom.errors import JetloomError
from jetloom.identity.code import fingerprint
from jetloom.identity.digests import short

LABEL_OF = {process: label for label, process in PROCESS_OF.items()}
SIMULATOR = {"jets": "jetloom.data.simulate.jetclass", "points": "jetloom.data.simulate.shapes"}


@dataclass(frozen=True)
class RawFile:
    """A raw file (for point clouds the directory of one class and split).

    Attributes:
        path: where it lies.
        identity: short digest of what identifies its content when the plan is made.
    """

    path: str
    identity: str


class DataPlan:
    """The directories and files of one data set of an experiment.

    Args:
        root: ``data_directory``.
        name: of the data set in the experiment.
        dataset: its resolved settings.
        changes: what the experiment says of it.
    """

    def __init__(self, root: str, name: str, dataset: Dataset, changes: DatasetChanges) -> None:
        self.root, self.name, self.dataset = root, name, dataset
        self.preset = changes.based_on or name
        self.family = cards.family(self.preset)
        self.home = f"{root}/{self.family}"
        self.changed: Mapping[str, Any] = changes.model_extra or {}
        # The directory of the downloads under its own name is no directory of the user's.
        own = changes.raw is not None and os.path.normpath(changes.raw) == os.path.normpath(f"{self.home}/raw")
        self.given_raw = None if own else changes.raw

    @cached_property
    def raw(self) -> dict[str, RawFile]:
        """Raw files by their names in ``splits``.

        Raises:
            JetloomError: a directory that the user gave does not hold all of them.
        """
        names = [(split, name) for split in self.dataset.splits for name in self.dataset.raw_files(split)]
        if self.given_raw is not None:
            return self._given([name for _, name in names])
        if self.dataset.simulation:
            return {name: self._simulated(split, name) for split, name in names}
        keys = {name: _published(file) for file in self.dataset.files for name in file.raw_files()}
        return {name: RawFile(f"{self.downloads}/{name}", short(name, keys.get(name))) for _, name in names}

    def _given(self, names: list[str]) -> dict[str, RawFile]:
        files = {name: Path(f"{self.given_raw}/{name}") for name in names}
        if missing := [name for name, path in files.items() if not path.exists()]:
            raise JetloomError(
                f"per_dataset.{self.name}.raw: {self.given_raw} does not hold {missing[0]}"
                + (f" and {len(missing) - 1} other raw files of `splits`" if len(missing) > 1 else "")
            )
        return {name: RawFile(str(path), short(name, _seen(path))) for name, path in files.items()}

    def _simulated(self, split: str, name: str) -> RawFile:
        key = short(self.simulation(split))
        return RawFile(f"{self.home}/raw-{key}/{name}", key)

    def simulation(self, split: str) -> dict[str, Any]:
        """What the simulated raw files of a split are made from, as ``about.json`` of their directory says it."""
        made = self.dataset.simulation
        assert made is not None
        if split not in made.jets:
            raise JetloomError(f"per_dataset.{self.name}.simulation.jets: no number for split {split}")
        used = {"seed", "detector", "mpi"} if self.dataset.kind == "jets" else {"seed"}
        settings = made.model_dump(mode="json", include=used) | {"jets": made.jets[split]}
        return {"holds": "raw files", "settings": settings, "code": fingerprint(SIMULATOR[self.dataset.kind])}

    @cached_property
    def downloads(self) -> str:
        """Directory of public raw files: ``raw``, unless this experiment takes other files for the published ones."""
        published = {file.name: _published(file) for file in _published_files(self.family)}
        other = [_published(file) for file in self.dataset.files if published.get(file.name) != _published(file)]
        return f"{self.home}/raw-{short(other)}" if other else f"{self.home}/raw"

    @property
    def downloaded(self) -> bool:
        """Whether the workflow fetches the raw files."""
        return bool(self.dataset.files) and not self.dataset.simulation and self.given_raw is None

    @cached_property
    def skim_settings(self) -> dict[str, Any]:
        """What the skims are made from, the raw files aside."""
        fields = read_by(Dataset, "skims", kind=self.dataset.kind)
        code = fingerprint("jetloom.data.prepare.skim", f"jetloom.data.sources.{self.dataset.source}")
        return {"holds": "skims", "settings": self.dataset.model_dump(mode="json", include=fields), "code": code}

    @cached_property
    def skim_directory(self) -> str:
        """Directory of the skims."""
        return f"{self.home}/skim-{short(self.skim_settings)}"

    def skim(self, name: str) -> str:
        """The skim of a raw file."""
        return f"{self.skim_directory}/{name.removesuffix('.root')}-{self.raw[name].identity}.parquet"

    def skims(self, split: str) -> list[str]:
        """All skims of a split."""
        return [self.skim(name) for name in self.dataset.raw_files(split)]

    @cached_property
    def tensor_settings(self) -> dict[str, Any]:
        """What the tensors are made from."""
        fields = read_by(type(self.dataset), "skims", "tensors", kind=self.dataset.kind)
        settings = self.dataset.model_dump(mode="json", include=fields)
        settings["shards"] = {split: self.dataset.shards.get(split, 1) for split in self.dataset.splits}
        settings["buckets"] = self.dataset.buckets or [self.dataset.max_particles]
        skims = {
            split: [os.path.relpath(path, self.root) for path in self.skims(split)] for split in self.dataset.splits
        }
        code = fingerprint("jetloom.data.prepare.tensors")
        return {
            "holds": "tensors", "dataset": self.preset, "settings": settings, "code": code, "skims": short(skims),
        }  # fmt: skip

    @cached_property
    def tensors_directory(self) -> str:
        """Directory of the shards and their manifest."""
        return f"{self.home}/tensors-{short(self.tensor_settings)}"

    @property
    def manifest(self) -> str:
        """``manifest.json`` of the tensors."""
        return f"{self.tensors_directory}/manifest.json"

    def shards(self) -> list[str]:
        """All shards of all splits."""
        return [
            f"{self.tensors_directory}/{split}_{shard:03d}.safetensors"
            for split, shards in self.tensor_settings["settings"]["shards"].items()
            for shard in range(shards)
        ]

    def places(self) -> dict[str, dict[str, Any]]:
        """Directories that this data set fills, with the content of their ``about.json``."""
        simulated = self.dataset.simulation and self.given_raw is None
        raw = {
            f"{self.home}/raw-{short(made)}": made
            for split in self.dataset.splits
            if simulated
            for made in [self.simulation(split)]
        }
        return raw | {self.skim_directory: self.skim_settings, self.tensors_directory: self.tensor_settings}


def _published(file: RemoteFile) -> list[Any]:
    """What identifies the content of a public file before it is fetched."""
    return [file.name, file.sha256 or file.md5 or [file.url, file.size]]


def _published_files(preset: str) -> list[RemoteFile]:
    return [RemoteFile.model_validate(item) for item in cards.read("datasets", preset).get("files", [])]


def _seen(path: Path) -> list[Any]:
    """Names, sizes and times of a file or of the files of a directory, hidden ones left out."""
    inside = path.iterdir() if path.is_dir() else [path]
    files = sorted(item for item in inside if item.is_file() and (item == path or not item.name.startswith(".")))
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def merged_downloads(plans: Mapping[str, DataPlan]) -> dict[str, "Download"]:
    """The downloads of an experiment, by directory: the same jobs for all data sets that take their files from it."""
    downloads: dict[str, list[DataPlan]] = {}
    for plan in plans.values():
        if plan.downloaded:
            downloads.setdefault(plan.downloads, []).append(plan)
    return {directory: Download(directory, tuple(members)) for directory, members in downloads.items()}


@dataclass(frozen=True)
class Part:
    """Raw files that come from the same archives.

    Attributes:
        raw: their paths.
        archives: published files, each of which may hold any of them.
    """

    raw: tuple[str, ...]
    archives: tuple[str, ...]


@dataclass(frozen=True)
class Download:
    """The jobs that fill a directory with public raw files: one for each published file.

    Attributes:
        directory: of the raw files.
        members: data sets that take files from it.
    """

    directory: str
    members: tuple[DataPlan, ...]

    @property
    def name(self) -> str:
        """Of the rules."""
        return self.members[0].name

    @cached_property
    def raw(self) -> list[str]:
        """Raw files to put there, each once."""
        return list(dict.fromkeys(file.path for plan in self.members for file in plan.raw.values()))

    @cached_property
    def _published(self) -> dict[str, RemoteFile]:
        return {file.name: file for plan in self.members for file in plan.dataset.files}

    @cached_property
    def _holders(self) -> dict[str, list[str]]:
        """Archives that may hold a raw file, by its name."""
        holders: dict[str, list[str]] = {}
        for file in self._published.values():
            for name in file.raw_files() if file.holds else []:
                holders.setdefault(name, []).append(file.name)
        return holders

    @cached_property
    def plain(self) -> list[str]:
        """Published files that are raw files as they come."""
        names = [os.path.relpath(path, self.directory) for path in self.raw]
        return [name for name in names if name not in self._holders]

    @cached_property
    def parts(self) -> list["Part"]:
        """Raw files of archives; those of archives of which any may hold them stay together."""
        parts: list[Part] = []
        for path in self.raw:
            archives = set(self._holders.get(os.path.relpath(path, self.directory), ()))
            if not archives:
                continue
            joined = [part for part in parts if archives & set(part.archives)]
            parts = [part for part in parts if part not in joined]
            raw = [name for part in joined for name in part.raw]
            known = dict.fromkeys(name for part in joined for name in part.archives)
            parts.append(Part((*raw, path), tuple(known | dict.fromkeys(sorted(archives)))))
        return parts

    @property
    def archives(self) -> list[str]:
        """Archives that have to come."""
        return [name for part in self.parts for name in part.archives]

    def record(self, archive: str) -> str:
        """The file that says what an archive held; ``{archive}`` for a rule."""
        return f"{self.directory}/.download/arrived/{archive}"

    @cached_property
    def settings(self) -> tuple[str, dict[str, Any]]:
        """A preset, and what is said over it of ``files`` and ``splits``, so that it names all these raw files."""
        largest = max(self.members, key=lambda plan: len(plan.raw))
        if len(largest.raw) == len(self.raw):
            return largest.preset, {key: value for key, value in largest.changed.items() if key in ("files", "splits")}
        files = [file.model_dump(mode="json") for file in self._published.values()]
        names = [os.path.relpath(path, self.directory) for path in self.raw]
        return largest.family, {"files": files, "splits": {"train": names}}

    @property
    def family(self) -> str:
        """Directory of the data set below ``data_directory``."""
        return self.members[0].family

    @property
    def place(self) -> str:
        """Name of the directory."""
        return Path(self.directory).name

    def command(self, config: str) -> str:
        """How the verb is called in the shell of a rule; what it fetches is said behind it.

        All of this is in the name of the directory or changes no file. Recorded parameters of a rule would let jobs
        run again for each experiment that uses the directory, and Snakemake does not look behind jobs that run again
        where their outputs are ``ancient``: nothing else would run.

        Args:
            config: frozen configuration of the experiment, which says where the files come from.
        """
        preset, settings = self.settings
        words = ["jetloom", "download", preset, "--output", self.directory, "--checksums", self.checksums]
        words += [*_assignments(settings), "--config", config]
        return shlex.join(words)

    @property
    def checksums(self) -> str:
        """File of the checksums that are learnt where none are published."""
        place = Path(self.directory)
        return str(place.with_name(f"checksums{place.name.removeprefix('raw')}.json"))

    @property
    def mirrors(self) -> list[str]:
        """Asked before the publisher, in turn."""
        return list(dict.fromkeys(mirror for plan in self.members for mirror in plan.dataset.mirrors))


def _assignments(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Settings as arguments ``--set KEY=VALUE`` of a verb."""
    words: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            words += _assignments(value, f"{prefix}{key}.")
        else:
            words += ["--set", f"{prefix}{key}={json.dumps(value)}"]
    return words
