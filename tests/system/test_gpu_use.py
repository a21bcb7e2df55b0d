"""Use of GPUs, from a driver that is asked and answers as told."""

import time
from pathlib import Path

import pytest

from jetloom.system import gpu_use as module
from jetloom.system.gpu_use import gpu_use


@pytest.fixture
def driver(tmp_path, monkeypatch) -> Path:
    """A ``nvidia-smi`` of two GPUs; what it is asked is written down."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/asked\necho '80, 1000, 24000'\necho '40, 3000, 24000'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,3")
    monkeypatch.setattr(module, "PERIOD", 0.02)
    return tmp_path


def test_mean_use_and_largest_memory_of_its_own_gpus(driver) -> None:
    with gpu_use() as used:
        deadline = time.monotonic() + 120
        while used.summary() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert used.summary() == {"gpus": 2, "utilisation": 60.0, "memory_mb": 3000.0, "memory_total_mb": 24000.0}
    assert all(line.startswith("--id=GPU-a,3 --query-gpu=") for line in (driver / "asked").read_text().splitlines())


def test_no_gpu_and_no_answer(driver, monkeypatch) -> None:
    (driver / "nvidia-smi").write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    with gpu_use() as used:
        time.sleep(0.2)
    assert used.summary() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with gpu_use() as used:
        time.sleep(0.1)
    assert used.summary() is None
    assert not (driver / "asked").exists()
