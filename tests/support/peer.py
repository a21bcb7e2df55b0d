"""Packages asked in a process of their own, which serves all tests: another version of what is installed here."""

import io
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def ask(directory: Path | None, answer: Answer, request: dict[str, Any]) -> dict[str, Any]:
    """What a function of a module says where another package is found first; errors are raised here.

    Args:
        directory: where the package and what it needs were unpacked; None: the installed one.
        answer: called in the other process, with one thread.
        request: whatever ``torch.save`` keeps and weights alone may be, as the answer.
    """
    buffer = io.BytesIO()
    torch.save(request, buffer)
    reply = _process(directory).submit(_serve, answer, buffer.getvalue()).result()
    return torch.load(io.BytesIO(reply), weights_only=True)


@cache
def _process(directory: Path | None) -> ProcessPoolExecutor:
    found = None if directory is None else str(directory)
    return ProcessPoolExecutor(1, get_context("spawn"), _prepare, (found,))


def _prepare(directory: str | None) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if directory:
        sys.path.insert(0, directory)


def _serve(answer: Answer, request: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save(answer(torch.load(io.BytesIO(request), weights_only=True)), buffer)
    return buffer.getvalue()
