"""Batches on their way to a GPU: what is asked of its streams, in turn."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jetloom.training.copies import Copies


@pytest.fixture
def told(monkeypatch) -> list[tuple[Any, ...]]:
    """What streams were asked for."""
    told: list[tuple[Any, ...]] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> None:
            told.append((self.name, "on"))

        def __exit__(self, *_: object) -> None:
            told.append((self.name, "off"))

        def record_event(self) -> int:
            told.append((self.name, "mark"))
            return sum(what == "mark" for _, what in told if isinstance(what, str))

        def wait_event(self, event: int) -> None:
            told.append((self.name, ("waits for", event)))

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("copies"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("steps"))
    return told


def test_copies_set_out_together_and_each_step_waits_for_its_own(told) -> None:
    def batch(number: int) -> Any:
        value = SimpleNamespace(record_stream=lambda stream: told.append((stream.name, ("uses", number))))
        there = SimpleNamespace(tensors=(value, None))
        return SimpleNamespace(to=lambda device: told.append(("copies", ("copy", number))) or there)

    for _ in Copies(torch.device("cuda")).of([batch(1), batch(2)]):
        told.append(("steps", "step"))
    assert told == [
        ("copies", "on"), ("copies", ("copy", 1)), ("copies", "mark"), ("copies", ("copy", 2)), ("copies", "mark"),
        ("copies", "off"),
        ("steps", ("waits for", 1)), ("steps", ("uses", 1)), ("steps", "step"),
        ("steps", ("waits for", 2)), ("steps", ("uses", 2)), ("steps", "step"),
    ]  # fmt: skip
