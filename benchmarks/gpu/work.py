"""A part of the day: its pieces one after the other, each written as soon as it is done."""

import argparse
import math
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import made_up
import torch
from card import described
from measure import write

MODULES = {
    "rows": "rows", "learning": "learning", "resume": "learning", "processes": "processes", "kernels": "kernels",
    "part-training": "rates", "part-inference": "rates", "small": "small", "trainings": "learning",
    "profile": "profiles",
}  # fmt: skip


class Order(NamedTuple):
    """What every part is told."""

    card: torch.device
    data: Path | None
    """Carried jets; None: made-up ones."""
    scratch: Path
    output: Path
    tiny: bool
    end: float
    """Of ``time.monotonic``: after it nothing new is begun."""

    def manifest(self) -> Path:
        """Of the jets."""
        if self.data is not None:
            return self.data
        return (
            made_up.manifest(self.scratch, 600, 100, 8.0)
            if self.tiny
            else made_up.manifest(self.scratch, 100_000, 5_000)
        )

    def late(self) -> bool:
        """Whether nothing new is to be begun."""
        return time.monotonic() > self.end


Piece = tuple[str, Callable[[], dict[str, Any]]]
"""A name, and what finds out; ``right`` in what it found says whether it is as it should be."""


def carry_out(part: str, card: torch.device, given: argparse.Namespace) -> bool:
    """Do a part of the day and write what it found; whether all of it was done and is right."""
    order = Order(card, given.data, given.scratch, given.output, given.tiny, time.monotonic() + given.seconds)
    begin = time.perf_counter()
    found: dict[str, Any] = {"part": part, "tiny": order.tiny, "jets": str(given.data or "made up"), "left_out": []}
    found |= {"machine": described(card), "pieces": {}}
    pieces: Iterator[Piece] = getattr(import_module(MODULES[part]), part.replace("-", "_"))(order)
    for name, find_out in pieces:
        if order.late():
            found["left_out"].append(name)
            continue
        try:
            result = find_out()
        except Exception as error:
            result = {"right": False, "error": "".join(traceback.format_exception_only(error)).strip()}
            result["at"] = traceback.format_exc().splitlines()[-12:]
        found["pieces"][name] = result
        found["took_seconds"] = round(time.perf_counter() - begin, 1)
        write(part, found, order.output)
        print(f"{part}: {name}: {'WRONG' if result.get('right') is False else 'ok'}  {_short(result)}", flush=True)
    if found["left_out"]:
        print(f"{part}: no time left for {', '.join(found['left_out'])}")
    print(write(part, found, order.output))
    return not found["left_out"] and all(result.get("right") is not False for result in found["pieces"].values())


def _short(result: dict[str, Any]) -> str:
    if "error" in result:
        return str(result["error"]).splitlines()[0][:300]
    single = {key: value for key, value in result.items() if isinstance(value, int | float | str) and key != "right"}
    return ", ".join(f"{key} {_number(value)}" for key, value in single.items())[:400]


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if math.isfinite(value) and abs(value) >= 1000 else f"{value:.3g}"
    return str(value)
