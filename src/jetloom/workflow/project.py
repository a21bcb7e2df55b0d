"""A project without a clone: its own configuration and profiles, and the workflow that comes with the package."""

import re
import shutil
from pathlib import Path

from jetloom.catalogue import cards
from jetloom.config.mistakes import known
from jetloom.errors import JetloomError
from jetloom.system.files import appearing

FILES = Path(__file__).parents[1] / "project"
"""Workflow, profiles, environment and the demo's configuration; in a clone, links to those at its top."""
SNAKEFILE = str(FILES / "workflow" / "Snakefile")
"""What the Snakefile of a project includes."""
ENTRY = """\
# The workflow comes with the installed jetloom: `snakemake --profile profiles/local`.
from jetloom.workflow.project import SNAKEFILE


include: SNAKEFILE


# An included file sets no default target.
workflow.default_target = "all"
"""
IGNORED = ["/data/", "/results/", "/scratch/", "/logs/", "/.snakemake/"]


def experiments() -> dict[str, Path]:
    """Configurations that a project can start from, by name: the demo, and the experiments of the workflow."""
    return {"demo": FILES / "config.yaml"} | {
        path.stem: path for path in sorted((FILES / "workflow" / "experiments").glob("*.yaml"))
    }


def start(directory: Path, like: str) -> str:
    """Make a project directory, whole or not at all.

    Args:
        directory: must not be there yet, or be empty; its name becomes that of the experiment.
        like: name of one of :func:`experiments`.

    Returns:
        The configuration of the project.

    Raises:
        JetloomError: no such experiment, a name that is none for an experiment, a directory with something in it.
    """
    offered = experiments()
    known("--like", like, offered)
    name = directory.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise JetloomError(f"{directory}: expected a name of letters, digits, - and _, got {name!r}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise JetloomError(f"{directory}: there is something already; expected a new or an empty directory")
    text = re.sub(r"^experiment: .*$", f"experiment: {name}", offered[like].read_text(), count=1, flags=re.M)
    text = re.sub(r"(?<=\$schema=)\S+", "config.schema.json", text, count=1)
    with appearing(directory) as unfinished:
        shutil.copytree(FILES / "profiles", unfinished / "profiles")
        # `snakemake --profile slurm`
        (unfinished / "slurm").symlink_to("profiles/slurm")
        (unfinished / "config.yaml").write_text(text)
        shutil.copy(cards.DIRECTORY / "schemas" / "experiment.json", unfinished / "config.schema.json")
        (unfinished / "Snakefile").write_text(ENTRY)
        (unfinished / ".gitignore").write_text("\n".join(IGNORED) + "\n")
    return text
