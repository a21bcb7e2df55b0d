"""jetloom without a clone: from the wheel, in an environment that has its dependencies and no jetloom."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from jetloom import __version__
from tests.support.project import ROOT

COPIED = re.findall(r"^COPY (.*) \S+$", (ROOT / "envs/Containerfile").read_text(), re.M)
PARTS = [part for line in COPIED for part in line.split() if part != "envs/requirements.lock"]
"""What the image is made from."""
BUILD = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"

pytestmark = pytest.mark.slow


def call(*command: str | Path, at: Path, **environment: str) -> str:
    done = subprocess.run(list(map(str, command)), cwd=at, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built as for a release, through the source archive, from a copy: nothing stays in the clone."""
    copy, built = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("built")
    for name in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    call(sys.executable, "-c", BUILD, "build_sdist", built, at=copy)
    shutil.unpack_archive(built / f"jetloom-{__version__}.tar.gz", built)
    call(sys.executable, "-c", BUILD, "build_wheel", built, at=built / f"jetloom-{__version__}")
    [found] = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Iterator[Path]:
    """The programs of an environment with the wheel, and the dependencies of this one."""
    environment = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", environment, at=environment)
    programs, packages = environment / "bin", next(environment.glob("lib/python*/site-packages"))
    # A path in a .pth is searched for packages; its own .pth files, of an editable jetloom, are not read.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
    call(*pip, "--no-deps", "--no-index", wheel, at=environment)
    yield programs
    shutil.rmtree(environment)


def test_the_wheel_holds_the_files_of_a_clone(wheel):
    """Each of the workflow, the profiles and the catalogue, as it is, and nothing of tests and benchmarks."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    shared = [ROOT / name for name in ("config.yaml", "envs/jetloom.yaml", "envs/jetloom.post-deploy.sh")]
    shared += [path for name in ("workflow", "profiles") for path in (ROOT / name).rglob("*")]
    expected = {
        **{f"jetloom/project/{path.relative_to(ROOT)}": path for path in shared},
        **{f"jetloom/{path.relative_to(ROOT / 'src/jetloom')}": path for path in (ROOT / "src/jetloom").rglob("*")},
    }
    files = {name: path for name, path in expected.items() if path.is_file() and path.parent.name != "__pycache__"}
    assert {name for name in held if ".dist-info/" not in name} >= set(files)
    assert all(held[name] == path.read_bytes() for name, path in files.items())
    assert {name.partition("/")[0] for name in held} == {
        "jetloom", "snakemake_logger_plugin_jetloom", f"jetloom-{__version__}.dist-info",
    }  # fmt: skip
    assert "jetloom/py.typed" in held
    assert not any("__pycache__" in name for name in held)


def test_a_project_runs_without_a_clone(installed, tmp_path):
    """The verbs and the workflow are those of the wheel: no path leads to this clone."""
    environment = {"PATH": f"{installed}:{os.environ['PATH']}", "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    where = call(installed / "python", "-c", "import jetloom; print(jetloom.__file__)", at=tmp_path, **environment)
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert call("jetloom", "--version", at=tmp_path, **environment).strip() == __version__

    said = call("jetloom", "new", "my-study", at=tmp_path, **environment)
    assert "cd my-study && snakemake --profile profiles/local" in said
    project = tmp_path / "my-study"
    config = yaml.safe_load((project / "config.yaml").read_text())
    assert config == yaml.safe_load((ROOT / "config.yaml").read_text()) | {"experiment": "my-study"}
    assert sum(line.strip() != "" and line[0] != "#" for line in (project / "Snakefile").read_text().split("\n")) == 3

    shutil.copy(ROOT / ".test/config.yaml", project / "config.yaml")
    snakemake = [installed / "python", "-m", "snakemake", "--profile", "profiles/local", "--cores", "2"]
    call(*snakemake, at=project, **environment)
    assert (project / "results/test/report/index.html").is_file()
    assert (project / "results/test/shapes-sim/salt/seed1/metrics.json").is_file()
