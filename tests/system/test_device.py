"""GPUs that torch cannot use, and how exactly single precision is multiplied."""

import os
from pathlib import Path

import pytest
import torch

from jetloom.config import Training
from jetloom.errors import JetloomError
from jetloom.system.device import check_gpus, exactly, gpu_or_cpu
from jetloom.training.launch import build_trainer, check_launch


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one GPU, which torch does not see."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\ncase "$1" in *uuid*) echo GPU-5f;; *driver*) echo 470.57.02;; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in ("CUDA_VISIBLE_DEVICES", "JETLOOM_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.parametrize("asks", [check_gpus, gpu_or_cpu, lambda: check_launch(Training(), {})])
@pytest.mark.parametrize(("cuda", "built"), [("13.0", "built for CUDA 13.0"), (None, "built for the CPU only")])
def test_a_gpu_that_torch_cannot_use_is_one_line(driver, monkeypatch, asks, cuda, built) -> None:
    monkeypatch.setattr("torch.version.cuda", cuda)
    with pytest.raises(JetloomError) as error:
        asks()
    said = str(error.value)
    assert "\n" not in said
    for word in (torch.__version__, "GPU-5f", built, "driver is 470.57.02", "JETLOOM_CPU=1"):
        assert word in said


@pytest.mark.parametrize(("name", "value"), [("CUDA_VISIBLE_DEVICES", ""), ("JETLOOM_CPU", "1")])
def test_nothing_is_said_where_no_gpu_is_to_be_used(driver, monkeypatch, name, value) -> None:
    monkeypatch.setenv(name, value)
    assert gpu_or_cpu() == torch.device("cpu")
    check_launch(Training(), {})


def test_the_cpu_is_taken_beside_a_gpu_where_it_is_asked_for(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("JETLOOM_CPU", "1")
    assert gpu_or_cpu() == torch.device("cpu")
    assert build_trainer(Training(), []).strategy.root_device == torch.device("cpu")


def test_a_gpu_without_its_tool_is_named_as_the_environment_does(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("JETLOOM_CPU", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(JetloomError, match=r"\(3\): it is .*, the driver is not to be found"):
        check_gpus()


def test_products_and_convolutions_are_equally_exact() -> None:
    for tf32 in (True, False):
        exactly(tf32)
        assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is tf32
