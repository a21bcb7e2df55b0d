"""One archive of a finished experiment for a repository such as Zenodo: everything but the data themselves."""

import os
import zipfile
from pathlib import Path

from jetloom.errors import JetloomError
from jetloom.report.record.verify import verify
from jetloom.results.inputs import NAME, files
from jetloom.system.files import appearing

OLDEST = (1980, 1, 1, 0, 0, 0)
"""Date of every member: the same files give the same archive."""
README = """Results of a comparison of jet taggers, made with jetloom.

{report}: the report; open it in a browser.
{record}: what each number was made from (W3C PROV): files with
hashes, trainings with commits, machines and versions.

Unpack, install jetloom in the versions that the record names, then

    jetloom verify {experiment}
    jetloom report {experiment} --output again

compares every file with its hash and builds the report again, byte for byte.
"""


def archive(directory: Path, output: Path, *, checkpoints: bool = True) -> list[str]:
    """Pack the results, the report, its provenance and the manifests of the data; no raw data, no tensors.

    Args:
        directory: of the experiment, with its ``provenance.json``.
        output: ZIP file; it appears when it is complete.
        checkpoints: with the trained models.

    Returns:
        Names of the members.

    Raises:
        JetloomError: no record, or a file is not what the record says.
    """
    _, findings = verify(directory)
    if not checkpoints:
        left_out = {file.path for file in files(directory) if file.role == "checkpoint"}
        findings = [finding for finding in findings if finding.path not in left_out]
    if findings:
        path, what = findings[0]
        raise JetloomError(f"{path}: {what}; make the report again before it is archived ({len(findings)} such files)")
    paths = {file.path.absolute(): file.role for file in files(directory)}
    paths = {path: role for path, role in paths.items() if checkpoints or role != "checkpoint"}
    paths[(directory / NAME).absolute()] = "record"
    # Relative paths of the record hold in the archive too: everything keeps its place below what they have in common.
    members = {os.path.normpath(path): role for path, role in paths.items()}
    common = os.path.commonpath([os.path.dirname(path) for path in members])
    names = {Path(os.path.relpath(path, common)).as_posix(): Path(path) for path in members}
    record = Path(os.path.relpath(os.path.normpath((directory / NAME).absolute()), common))
    page = next(
        (name for name in sorted(names) if name.endswith("index.html")), "its tables and figures are in report/"
    )
    text = README.format(report=page, record=record.as_posix(), experiment=record.parent.as_posix())
    with appearing(output) as partial, zipfile.ZipFile(partial, "w") as packed:
        _add(packed, "README.txt", text.encode())
        for name in sorted(names):
            _add(packed, name, names[name].read_bytes())
    return ["README.txt", *sorted(names)]


def _add(packed: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, OLDEST)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    packed.writestr(member, content)
