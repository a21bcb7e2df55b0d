"""Fetch the raw files of a public data set: resumed, verified, several at once, from mirrors or the publisher.

Everything is collected in ``<output>/.download`` and only complete, verified files are linked to their places. The
workflow may delete its outputs (it does so when a job fails or is repeated); what was downloaded stays. Several
processes may fetch different files of a set at once; what an archive turned out to hold is kept beside its members.
"""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from jetloom.config import Dataset, RemoteFile
from jetloom.data.fetch.archives import BadArchiveError, require_space, unpack
from jetloom.data.fetch.checksums import Checksums, Digests
from jetloom.data.fetch.progress import Meter
from jetloom.data.fetch.transfer import Patience, StoppedError, Transfer, UnavailableError, is_local, local_path
from jetloom.errors import JetloomError
from jetloom.system.files import FULL, appearing, full


def download(
    dataset: Dataset,
    output: Path,
    *,
    names: Sequence[str] | None = None,
    files: Sequence[str] | None = None,
    checksums: Path | None = None,
    mirrors: Sequence[str] = (),
    jobs: int = 4,
    patience: Patience | None = None,
) -> list[Path]:
    """Put raw files of a data set in their places below ``output``.

    A partial download goes on where it stopped, also after a kill. Files of a local mirror are linked, not copied, and
    verified like all others.

    Args:
        dataset: its ``files`` say where everything is, its ``mirrors`` are asked first, in turn.
        output: the directory of the raw files.
        names: raw files wanted; default: those of all splits.
        files: published files that hold those wanted; default: all.
        checksums: JSON file of learnt checksums; default: ``checksums.json`` in ``output``.
        mirrors: asked before those of the data set.
        jobs: files at once.
        patience: how often and how long to try.

    Returns:
        The raw files, in the order of ``names``.

    Raises:
        JetloomError: nobody offers a file, no location gives it, its checksum is wrong (the file is kept under another
            name), an archive is damaged or not to be trusted, no room, or another download is at work on it.
    """
    wanted = list(dict.fromkeys(names or _raw_files(dataset, files)))
    task = _task(dataset, wanted, output, checksums, mirrors, jobs, patience)
    task.obtain(dataset.files, wanted)
    if lost := [name for name in wanted if name not in task.content]:
        offering = [file.name for file in dataset.files if set(file.raw_files()) & set(lost)]
        raise JetloomError(f"the archives {_few(offering)} do not hold {_few(lost)}")
    for name in wanted:
        task.link(name)
    return [output / name for name in wanted]


def fetch(
    dataset: Dataset,
    output: Path,
    published: str,
    *,
    record: Path,
    checksums: Path | None = None,
    mirrors: Sequence[str] = (),
    patience: Patience | None = None,
) -> list[str]:
    """Bring one published file and unpack it, beside others that do so: :func:`download` then finds what it held.

    Args:
        dataset: as for :func:`download`.
        output: the directory of the raw files, in whose hidden ``.download`` everything is.
        published: name of the file in ``files``.
        record: written last: the raw files of the splits that it held, a line each.
        checksums: JSON file of learnt checksums; default: ``checksums.json`` in ``output``.
        mirrors: asked before those of the data set.
        patience: how often and how long to try.

    Returns:
        What is in ``record``.

    Raises:
        JetloomError: as :func:`download`; no such file is published; or it lacks a raw file that no other one may hold.
    """
    wanted = list(dict.fromkeys(_raw_files(dataset, [published])))
    task = _task(dataset, wanted, output, checksums, mirrors, 1, patience)
    file = next(file for file in dataset.files if file.name == published)
    task.obtain([file], wanted)
    elsewhere = {name for other in dataset.files if other != file for name in other.raw_files()}
    if lost := [name for name in wanted if name not in task.content and name not in elsewhere]:
        raise JetloomError(f"the archive {published} does not hold {_few(lost)}")
    held = [name for name in wanted if name in task.held(file)]
    with appearing(record) as partial:
        partial.write_text("".join(f"{name}\n" for name in held))
    return held


def _raw_files(dataset: Dataset, files: Sequence[str] | None = None) -> list[str]:
    """Raw files of all splits, or those of them that some published files may hold."""
    wanted = [name for split in dataset.splits for name in dataset.raw_files(split)]
    if files is None:
        return wanted
    published = {file.name: file.raw_files() for file in dataset.files}
    if unknown := [name for name in files if name not in published]:
        raise JetloomError(f"{dataset.title}: no entry of `files` is {unknown[0]!r}; allowed: {_few(list(published))}")
    held = {name for file in files for name in published[file]}
    return [name for name in wanted if name in held]


def _task(
    dataset: Dataset,
    wanted: Sequence[str],
    output: Path,
    checksums: Path | None,
    mirrors: Sequence[str],
    jobs: int,
    patience: Patience | None,
) -> "_Download":
    """The download, unless a name leads out of its directory or nobody offers what is wanted."""
    for name in [*wanted, *(file.name for file in dataset.files)]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise JetloomError(f"{dataset.title}: {name} is outside the directory of the raw files; name it inside")
    offered = {name for file in dataset.files for name in file.raw_files()}
    if missing := [name for name in wanted if name not in offered]:
        raise JetloomError(
            f"{dataset.title}: no entry of `files` holds {_few(missing)}; put the files into {output} yourself "
            "or say in `raw` where they are"
        )
    sums = Checksums(checksums or output / "checksums.json")
    return _Download(dataset, output, sums, [*mirrors, *dataset.mirrors], jobs, patience or Patience())


class _Download:
    def __init__(
        self,
        dataset: Dataset,
        output: Path,
        sums: Checksums,
        mirrors: Sequence[str],
        jobs: int,
        patience: Patience,
    ) -> None:
        self.plain = {file.name for file in dataset.files if not file.holds}
        self.output = output
        self.store = output / ".download"
        self.store.mkdir(parents=True, exist_ok=True)
        self.sums = sums
        self.mirrors = mirrors
        self.jobs = jobs
        self.patience = patience
        self.stop = threading.Event()
        # Raw name -> where its content is.
        self.content: dict[str, Path] = {}

    def obtain(self, files: Sequence[RemoteFile], wanted: Sequence[str]) -> None:
        """Find or fetch what these published files hold of the wanted raw files."""
        self._accept_what_is_there(wanted)
        needed = [file for file in files if self._missing(file, wanted)]
        self._check_space(needed)
        sizes = [file.size for file in needed if file.size is not None]
        with Meter(sum(sizes) if len(sizes) == len(needed) else None) as meter, ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._obtain, file, wanted, meter) for file in needed]
            try:
                errors = [error for future in futures if (error := future.exception()) is not None]
            except BaseException:
                self.stop.set()
                raise
        for error in errors:
            if isinstance(error, OSError) and error.errno in FULL:
                raise full(error, self.output)
            if not isinstance(error, JetloomError):
                raise error
        if errors:
            raise JetloomError("; ".join(map(str, errors)))

    def held(self, file: RemoteFile) -> set[str]:
        """Raw files that a published file held when it came, or all that it may hold."""
        expected, listing = self.sums.expected(file), self._listing(file)
        if not file.holds or expected is None or not listing.is_file():
            return set(file.raw_files())
        listed = json.loads(listing.read_text())
        return set(listed["holds"]) if listed.get(expected.kind) == expected.value else set(file.raw_files())

    def _listing(self, file: RemoteFile) -> Path:
        return self.store / f"{file.name}.holds"

    def _missing(self, file: RemoteFile, wanted: Sequence[str]) -> set[str]:
        return self.held(file) & set(wanted) - self.content.keys()

    def _accept_what_is_there(self, wanted: Sequence[str]) -> None:
        """Members of archives are whole if they are there; plain files are verified when it is their turn."""
        for name in wanted:
            for place in (self.store / name, self.output / name):
                if name not in self.plain and (any(place.iterdir()) if place.is_dir() else place.is_file()):
                    self.content.setdefault(name, place)

    def _check_space(self, files: Sequence[RemoteFile]) -> None:
        """Downloads that are still to come, and the content of archives once more, as large as known beforehand."""
        size = 0
        for file in files:
            if any(is_local(mirror) and (local_path(mirror) / file.name).exists() for mirror in self.mirrors):
                size += (file.size or 0) if file.holds else 0
            elif not any((place / file.name).exists() for place in (self.store, self.output)):
                partial = _partial(self.store, file)
                here = partial.stat().st_size if partial.exists() else 0
                size += max((file.size or 0) - here, 0) + ((file.size or 0) if file.holds else 0)
        if size:
            require_space(self.store, size, "the download")

    def _obtain(self, file: RemoteFile, wanted: Sequence[str], meter: Meter) -> None:
        """One file: fetched or found, verified, unpacked."""
        with _alone(self.store / f"{file.name}.lock"):
            # Meanwhile another file, or another process, may have brought it.
            self._accept_what_is_there(file.raw_files())
            missing = self._missing(file, wanted)
            if not missing or self.stop.is_set():
                return
            source, digests, location = self._fetch(file, meter)
            if file.holds:
                self._unpack(file, source, missing, digests)
            else:
                self.content[file.name] = source
            self.sums.learn(file, digests, location)
            if file.holds and source.is_relative_to(self.store):
                source.unlink()

    def _fetch(self, file: RemoteFile, meter: Meter) -> tuple[Path, Digests, str]:
        for place in (self.store / file.name, self.output / file.name):
            if place.is_file() and not place.is_symlink():
                return self._verify(file, place)
        locations = [_join(mirror, file.name) for mirror in self.mirrors] + ([file.url] if file.url else [])
        if not locations:
            raise JetloomError(f"{file.name}: its preset knows no URL; name a mirror that has it")
        known = self.sums.expected(file) is not None
        with meter.file(file.name, file.size) as line:
            transfer = Transfer(
                file,
                _partial(self.store, file),
                checked=known,
                tick=line.tick,
                total=line.total,
                stop=self.stop,
                patience=self.patience,
            )
            source, location = self._try(file, transfer, locations, meter)
        self._check(file, source, transfer.digests, location)
        if source == transfer.partial:
            source = self.store / file.name
            os.replace(transfer.partial, source)
            transfer.discard()
        verified = "verified" if known else "not verified: no checksum is published, this one's is learnt"
        meter.say(f"{file.name}: {transfer.digests.size:,} bytes from {location}, {verified}")
        return source, transfer.digests, location

    def _try(self, file: RemoteFile, transfer: Transfer, locations: Sequence[str], meter: Meter) -> tuple[Path, str]:
        reasons = []
        for location in locations:
            try:
                return transfer.fetch(location), location
            except UnavailableError as error:
                reasons.append(f"{location}: {error}")
                meter.say(reasons[-1])
            except StoppedError:
                raise JetloomError(f"{file.name}: stopped; give the command again to go on") from None
        raise JetloomError(
            f"{file.name}: not to be had ({'; '.join(reasons)}); what came is kept, give the command again to go on, "
            "or name another mirror"
        )

    def _verify(self, file: RemoteFile, place: Path) -> tuple[Path, Digests, str]:
        digests = Digests()
        digests.read(place, lambda size: None)
        self._check(file, place, digests, str(place))
        return place, digests, str(place)

    def _check(self, file: RemoteFile, source: Path, digests: Digests, location: str) -> None:
        if problem := self.sums.problem(file, digests):
            raise JetloomError(f"{file.name} from {location}: {problem}; {self._set_aside(source, digests)}")

    def _set_aside(self, source: Path, digests: Digests) -> str:
        """Keep a wrong file of ours under a name that is never used; what to do next."""
        if not source.is_relative_to(self.store):
            return "it is left as it is: mend or remove that copy"
        aside = source.with_name(f"{source.name.removesuffix('.part')}.wrong-{digests['sha256'][:8]}")
        os.replace(source, aside)
        source.with_name(f"{source.name}.origin").unlink(missing_ok=True)
        return f"kept as {aside}; give the command again to fetch it anew"

    def _unpack(self, file: RemoteFile, archive: Path, missing: set[str], digests: Digests) -> None:
        target = self.store / f".unpacking-{archive.name}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        try:
            found = unpack(archive, missing, target, file.rename, file.raw_files())
            for name in sorted(found & missing):
                place = self.store / name
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(target / name, place)
                self.content[name] = place
            with appearing(self._listing(file)) as partial:
                sums = {kind: digests[kind] for kind in ("md5", "sha256")}
                partial.write_text(json.dumps(sums | {"holds": sorted(found)}) + "\n")
        except BadArchiveError as error:
            raise JetloomError(f"{error}; nothing of it is used; {self._set_aside(archive, digests)}") from None
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def link(self, name: str) -> None:
        """Show a file or directory at its place, at once or not at all: a second name of the same bytes."""
        source, target = self.content[name], self.output / name
        if source == target:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.store / f".placing-{os.getpid()}-{target.name}"
        if source.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(source, temporary, copy_function=_second_name)
            shutil.rmtree(target, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
            if source.is_relative_to(self.store):
                _second_name(source, temporary)
            else:
                temporary.symlink_to(source)
        os.replace(temporary, target)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """A lock for one process at a time; it ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JetloomError(f"{path.with_suffix('')}: another download is at work on it; wait for it") from None
        yield


def _partial(store: Path, file: RemoteFile) -> Path:
    return store / f"{file.name}.part"


def _join(mirror: str, name: str) -> str:
    return f"{mirror.rstrip('/')}/{name}"


def _second_name(source: str | Path, target: str | Path) -> None:
    """A hard link, so that no file loses its content with the other name; a symbolic one where there are none."""
    try:
        os.link(source, target)
    except OSError:
        os.symlink(Path(source).absolute(), target)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
