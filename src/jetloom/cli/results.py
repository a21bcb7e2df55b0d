"""Verbs for finished results: verify, archive, compare."""

import sys
from pathlib import Path

from jetloom.cli.app import app


@app.command
def verify(directory: Path, *, data: bool = False) -> None:
    """Hash the files of a finished experiment again and say what changed; status 1 if anything has.

    Parameters
    ----------
    directory
        Directory of the experiment, with its provenance.json.
    data
        Also the tensors that the models were trained on.
    """
    from jetloom.report.record.verify import verify as run

    checked, findings = run(directory, data=data)
    for path, what in findings:
        print(f"{path} {what}")
    print(f"{checked} files compared, {len(findings)} differ" if findings else f"{checked} files are as they were")
    if findings:
        sys.exit(1)


@app.command
def archive(directory: Path, *, output: Path | None = None, checkpoints: bool = True) -> None:
    """Pack results, report and provenance into one ZIP file, without the data; the report can be built from it again.

    Parameters
    ----------
    directory
        Directory of the experiment, with its provenance.json.
    output
        ZIP file; default: the directory's name with .zip.
    checkpoints
        With the trained models.
    """
    from jetloom.report.record.archive import archive as run

    target = output or directory.absolute().with_suffix(".zip")
    members = run(directory, target, checkpoints=checkpoints)
    print(f"{target}: {len(members)} files, {target.stat().st_size / 1e6:.1f} MB")


@app.command
def compare(first: Path, second: Path, *others: Path, output: Path | None = None) -> None:
    """Put finished experiments side by side: the same models, what differs in how they were made, what they reach.

    Parameters
    ----------
    first
        Directory of the reference, with its provenance.json.
    second
        Directory of another finished experiment.
    others
        More of them.
    output
        Directory for one table for each data set as HTML, LaTeX, CSV and Markdown; default: Markdown on the terminal.
    """
    from jetloom.report.compare import compare as run

    print(run([first, second, *others], output), end="")
