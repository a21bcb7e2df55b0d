"""Small trainings in a fraction of a second; the fixtures are for a conftest to take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from jetloom.config import Training, resolve_tasks
from jetloom.tracking.store import prepare
from jetloom.training.train import train
from tests.support.tensors import write_tensors

OPTIONS = {"embedding": [16], "blocks": 1, "heads": 2, "ffn_ratio": 1, "dropout": 0.1}
RUN = {"experiment": "exp", "dataset": "toy", "model": "small", "title": "Small"}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 jets to train on, 150 to validate."""
    return write_tensors(tmp_path_factory.mktemp("tensors"))


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results directory with ``mlflow.json`` of a fresh SQLite store."""
    directory = tmp_path_factory.mktemp("results")
    prepare(None, ["exp/toy"], directory, directory / "mlflow.json")
    return directory


@pytest.fixture
def run_training(manifest: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train a small Transformer; returns the output directory."""

    def run(
        name: str = "a",
        *,
        seed: int = 1,
        store: Path | None = None,
        data: Path = manifest,
        options: dict[str, Any] = OPTIONS,
        task: Any = None,
        profile_steps: int | None = None,
        **recipe: Any,
    ) -> Path:
        recipe = {"epochs": 3, "batch_size": 64, "optimizer": "ranger"} | recipe
        train(
            data,
            tmp_path / name,
            model="transformer",
            preset=None,
            options=options,
            tasks=resolve_tasks(task, "task"),
            training=Training(**recipe),
            seed=seed,
            run=RUN | {"seed": seed},
            scratch=tmp_path / f"{name}-scratch",
            store=store,
            threads=1,
            profile_steps=profile_steps,
        )
        return tmp_path / name

    return run
