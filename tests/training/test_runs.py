"""Runs of batches: the same ones in the same order, and where there are any."""

from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jetloom.config import Training
from jetloom.data.read.loader import Loader
from jetloom.training.runs import Runs, whole


@pytest.mark.parametrize("done", [0, 4])
def test_runs_hold_what_is_left_of_an_epoch_in_its_order(manifest, done: int) -> None:
    loaders = [Loader(manifest, "train", batch_size=60, shuffle=True, seed=1) for _ in range(2)]
    for loader in loaders:
        loader.load_state_dict({"epoch": 1, "position": done})
    runs = Runs(loaders[0], 3)
    assert (runs.batches, len(runs)) == (10 - done, 4 if not done else 2)
    found, single = list(runs), list(loaders[1])
    assert list(map(len, found)) == ([3, 3, 3, 1] if not done else [3, 3])
    for one, other in zip(chain(*found), single, strict=True):
        assert torch.equal(one.features, other.features)
    # Lightning asks for the next epoch anew.
    assert loaders[0].state_dict() == {"epoch": 2, "position": 0}


@pytest.mark.parametrize(
    ("recipe", "trainer", "expected"),
    [
        ({}, {}, True),
        ({"compile": "graphs"}, {}, True),
        ({"compile": "off"}, {}, False),
        ({"compile": "inductor"}, {}, False),
        ({}, {"device": "cpu"}, False),
        ({}, {"world_size": 2}, False),
        ({}, {"scaler": object()}, False),
    ],
)
def test_steps_are_whole_on_one_gpu_without_a_scaler(recipe, trainer: dict[str, Any], expected: bool) -> None:
    stand_in = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device(trainer.get("device", "cuda"))),
        world_size=trainer.get("world_size", 1),
        precision_plugin=SimpleNamespace(scaler=trainer.get("scaler")),
    )
    assert whole(stand_in, Training(**recipe)) == expected
