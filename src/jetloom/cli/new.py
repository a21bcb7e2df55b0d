"""The verb that starts a project."""

import re
from pathlib import Path

from jetloom.cli.app import app


@app.command
def new(directory: Path, *, like: str = "demo") -> None:
    """Make a project directory in which `snakemake --profile profiles/local` runs; no clone is needed.

    Parameters
    ----------
    directory
        New or empty; its name becomes that of the experiment.
    like
        Experiment whose configuration it starts with: demo, jetclass, salt_hls4ml, omnijet or another one of jetloom's.
    """
    from jetloom.workflow.project import start

    text = start(directory, like)
    print(f"{directory}: config.yaml as that of {like}, profiles, and a Snakefile that uses jetloom's workflow")
    if re.search(r"^paper: true", text, re.M):
        print("paper: true in config.yaml wants a commit first (git init, git add, git commit); or set it to false")
    print(f"Next: cd {directory} && snakemake --profile profiles/local")
