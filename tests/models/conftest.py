"""Peers of the models' parity tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def weaver_0_4(tmp_path_factory) -> Path:
    """Directory with weaver-core 0.4.17, the last release with the channel order of the published ParT."""
    directory = tmp_path_factory.mktemp("weaver-core-0.4.17")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(directory)]
    done = subprocess.run([*command, "weaver-core==0.4.17"], capture_output=True, text=True, check=False)
    if done.returncode:
        why = f"pip cannot install weaver-core 0.4.17 here: {done.stderr.strip().splitlines()[-1]}"
        if os.environ.get("JETLOOM_OFFLINE"):
            pytest.skip(why)
        pytest.fail(f"{why}; JETLOOM_OFFLINE=1 skips the parity with it")
    return directory
