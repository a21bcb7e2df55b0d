"""Peers of the models' parity tests."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


def unpacked(directory: Path, *requirements: str) -> Path:
    """A directory with these packages of PyPI, without what they depend on."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(directory)]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        why = f"pip cannot install {', '.join(requirements)} here: {lines[-1]}"
        if os.environ.get("JETLOOM_OFFLINE"):
            pytest.skip(why)
        pytest.fail(f"{why}; JETLOOM_OFFLINE=1 skips the parity with it")
    return directory


@pytest.fixture(scope="session")
def weaver_0_4(tmp_path_factory) -> Path:
    """Directory with weaver-core 0.4.17, the last release with the channel order of the published ParT."""
    return unpacked(tmp_path_factory.mktemp("weaver-core-0.4.17"), "weaver-core==0.4.17")


@pytest.fixture(scope="session")
def lloca_2_0(tmp_path_factory) -> Path:
    """Directory with the package of LLoCa's authors and those that it imports."""
    packages = ("lloca==2.0.0", "torch_geometric==2.6.1", "lgatr==2.0.0", "pelican-lite==1.1.4")
    return unpacked(tmp_path_factory.mktemp("lloca-2.0.0"), *packages)


@pytest.fixture(scope="session")
def pelican_lite(tmp_path_factory) -> ModuleType:
    """pelican-lite 1.1.4: the maps of PELICAN between edges, nodes and graphs."""
    directory = str(unpacked(tmp_path_factory.mktemp("pelican-lite-1.1.4"), "pelican-lite==1.1.4"))
    sys.path.insert(0, directory)
    try:
        from pelican import primitives
    finally:
        sys.path.remove(directory)
    return primitives
