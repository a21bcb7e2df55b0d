"""Unpack tar and zip archives by streaming, trusting nothing that they say about themselves."""

import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Self

from jetloom.errors import JetloomError

DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, NotImplementedError, RuntimeError, ValueError),
)
RESERVE = 100_000_000
LARGEST_DESCRIPTION = 1_000_000
"""Bytes of what a tar says about a member."""


class BadArchiveError(JetloomError):
    """An archive that is damaged or not to be trusted."""


class Member(NamedTuple):
    """One regular file in an archive."""

    path: str
    size: int
    content: IO[bytes]


def require_space(directory: Path, size: int, what: str) -> None:
    """Raise if a file system has no room for ``size`` bytes and a little more.

    Raises:
        JetloomError: with both figures.
    """
    free = shutil.disk_usage(directory).free
    if size + RESERVE > free:
        raise JetloomError(
            f"{directory}: {what} needs {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "make room, or put data_directory on another disk"
        )


def unpack(
    archive: Path, wanted: Collection[str], target: Path, rename: Mapping[str, str], expected: Collection[str] = ()
) -> set[str]:
    """Write the members that belong to wanted raw files below ``target``.

    A member belongs to a wanted file if that is the end of its path (``val_5M/HToBB_120.root`` is ``HToBB_120.root``),
    and to a wanted directory if that is the end of its parent's path. Members whose names begin with a dot and those
    of ``__MACOSX`` are left out.

    Args:
        archive: tar (any compression) or zip.
        wanted: raw files and directories, relative.
        target: existing directory; what it holds after an exception is worth nothing.
        rename: pattern of a whole member path: path that is used instead.
        expected: names that are looked for and not written.

    Returns:
        The wanted and expected names that the archive holds.

    Raises:
        BadArchiveError: no archive, damaged, or a member that is no regular file, lies outside or comes twice.
        JetloomError: no room.
    """
    found: set[str] = set()
    written: set[str] = set()
    for member in _members(archive):
        path = _renamed(member.path, rename)
        parts = PurePosixPath(path).parts
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        place = _place(parts, wanted)
        if place is None:
            found |= {other[0]} if (other := _place(parts, expected)) else set()
            continue
        owner, name = place
        if not (target / name).resolve().is_relative_to(target.resolve()):
            raise _refused(archive, name, "outside the target directory")
        if name in written:
            raise BadArchiveError(f"{archive}: holds {name} twice")
        require_space(target, member.size, f"{name} of {archive.name}")
        _write(archive, member, target / name)
        found.add(owner)
        written.add(name)
    return found


def _members(archive: Path) -> Iterator[Member]:
    with archive.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    try:
        yield from _zip_members(archive) if is_zip else _tar_members(archive)
    except DAMAGE as error:
        raise _damaged(archive, error) from None


class _TarInfo(tarfile.TarInfo):
    """A header of a tar. Those that describe another one, by a long name for instance, are read as a whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE) and info.size > LARGEST_DESCRIPTION:
            raise ValueError(f"an entry of {info.size} bytes that is no file; it is not to be trusted")
        return info


def _tar(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive, "r|*", tarinfo=_TarInfo)
    except (tarfile.TarError, EOFError, OSError):
        raise BadArchiveError(f"{archive}: neither a tar nor a zip archive, or cut off") from None


def _tar_members(archive: Path) -> Iterator[Member]:
    with _tar(archive) as tar:
        for info in tar:
            _check_path(archive, info.name)
            if info.isdir():
                continue
            # isfile() is also true of sparse files, which no data set needs.
            if not info.isfile() or info.issparse():
                raise _refused(archive, info.name, "a link or a device, not a regular file")
            content = tar.extractfile(info)
            assert content is not None
            yield Member(info.name, info.size, content)


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            _check_path(archive, info.filename)
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _refused(archive, info.filename, "a link or a device, not a regular file")
            if info.flag_bits & 1:
                raise _refused(archive, info.filename, "encrypted")
            with file.open(info) as content:
                yield Member(info.filename, info.file_size, content)


def _check_path(archive: Path, path: str) -> None:
    if PurePosixPath(path).is_absolute() or ".." in re.split(r"[/\\]", path) or "\\" in path or "\0" in path:
        raise _refused(archive, path, "outside the target directory")


def _refused(archive: Path, path: str, why: str) -> BadArchiveError:
    return BadArchiveError(f"{archive}: member {path!r} is {why}; the archive is not to be trusted")


def _damaged(archive: Path, error: Exception) -> BadArchiveError:
    return BadArchiveError(f"{archive}: damaged archive ({error})")


def _renamed(path: str, rename: Mapping[str, str]) -> str:
    # tar writes "./name" where it was given ".".
    path = path.removeprefix("./")
    for pattern, replacement in rename.items():
        if match := re.fullmatch(pattern, path):
            return match.expand(replacement)
    return path


def _place(parts: tuple[str, ...], wanted: Collection[str]) -> tuple[str, str] | None:
    """Which wanted name a member belongs to, and where the member goes."""
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    parents = ["/".join(parts[start:-1]) for start in range(len(parts) - 1)]
    for name in filter(wanted.__contains__, tails):
        return name, name
    for name in filter(wanted.__contains__, parents):
        return name, f"{name}/{parts[-1]}"
    return None


def _write(archive: Path, member: Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while True:
            try:
                data = member.content.read(1 << 20)
            except DAMAGE as error:
                raise _damaged(archive, error) from None
            if not data:
                break
            file.write(data)
        if file.tell() != member.size:
            raise _damaged(archive, EOFError(f"{member.path} has {file.tell()} of {member.size} bytes"))
