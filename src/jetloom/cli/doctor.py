"""The verb that says what this machine lacks."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jetloom.cli.app import app

if TYPE_CHECKING:
    from jetloom.system.doctor import Check

DIRECTORIES = ("data_directory", "results_directory", "scratch_directory")


@app.command
def doctor(*, config: Path = Path("config.yaml"), gpus: bool = False) -> None:
    """What this machine lacks for the workflow, a line each with what to do; fails if the main path needs it.

    Parameters
    ----------
    config
        Configuration of an experiment, whose directories are looked at.
    gpus
        Let torch compute on the GPUs as well, which takes seconds.
    """
    from jetloom.system.doctor import checks

    configured, directories = _configured(config)
    lacking = 0
    for check in (configured, *checks(directories, gpus=gpus)):
        lacking += check.state == "missing"
        advice = f"  -> {check.advice}" if check.advice else ""
        print(f"{check.state:8}{check.name:18}{check.found}{advice}", flush=True)
    if lacking:
        sys.exit(1)


def _configured(path: Path) -> tuple["Check", dict[str, Path]]:
    """The configuration, and the directories that it names."""
    from jetloom.config import read_experiment
    from jetloom.errors import JetloomError
    from jetloom.system.doctor import Check

    usual = dict(zip(DIRECTORIES, map(Path, ("data", "results", "scratch")), strict=True))
    if not path.is_file():
        return Check(
            "configuration", "note", f"no {path}", "go to the project's root, or name one with --config"
        ), usual
    try:
        experiment = read_experiment(path)
    except JetloomError as error:
        return Check("configuration", "missing", str(error), "mend it; docs/configuration.md lists every key"), usual
    found = f"{path}: {len(experiment.runs)} trainings of {experiment.experiment}"
    return Check("configuration", "ok", found), {name: Path(getattr(experiment, name)) for name in DIRECTORIES}
