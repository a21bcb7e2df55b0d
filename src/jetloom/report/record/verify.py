"""Hash the files of a finished experiment again and say what changed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jetloom.identity.digests import checksum
from jetloom.results.inputs import NAME, files


class Finding(NamedTuple):
    """A file that is not what the record says."""

    path: Path
    what: str


def verify(directory: Path, *, data: bool = False) -> tuple[int, list[Finding]]:
    """Compare the files that ``provenance.json`` lists with what is there now.

    Args:
        directory: of the experiment, with its ``provenance.json``.
        data: also hash the shards that the manifests list, which may be large.

    Returns:
        Number of files that were looked at, and what differs: changed, missing, or in the report without being listed.

    Raises:
        JetloomError: there is no record.
    """
    listed = list(files(directory))
    findings = [found for file in listed if (found := _compare(file.path, file.sha256))]
    checked = len(listed)
    known = {file.path.resolve() for file in listed}
    for place in {file.path.parent for file in listed if file.role == "report"}:
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            # Snakemake notes in a directory that it made when it did.
            if path.is_file() and path.name != ".snakemake_timestamp" and path.resolve() not in known:
                findings.append(Finding(path, f"is in the report, but {NAME} does not list it"))
    if data:
        for file in listed:
            if file.role == "manifests" and file.path.is_file():
                for path, sha256 in _shards(file.path):
                    checked += 1
                    found = _compare(path, sha256)
                    if found:
                        findings.append(found)
    return checked, findings


def _compare(path: Path, sha256: str) -> Finding | None:
    if not path.is_file():
        return Finding(path, "is missing")
    now = checksum(path)
    return None if now == sha256 else Finding(path, f"has changed (sha256 {now[:12]} now, {sha256[:12]} then)")


def _shards(manifest: Path) -> Iterator[tuple[Path, str]]:
    for split in json.loads(manifest.read_text())["splits"].values():
        for shard in split["shards"]:
            yield manifest.parent / shard["file"], shard["sha256"]
