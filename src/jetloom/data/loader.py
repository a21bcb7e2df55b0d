"""Batches from memory-mapped shards: each from one length bucket, gathered with numpy, no Python loop over jets.

Order of a shuffled epoch, from (seed, pass) alone: shards are shuffled and opened a few at a time; among the open ones
the jets of a bucket are cut into windows and shuffled inside; and the batches of all buckets come in random order. So
reading stays local whatever the size of the set, and every jet comes once in a pass. Unshuffled: shard by shard,
bucket by bucket, as stored.
"""

import json
import math
import struct
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from jetloom.batch import Batch
from jetloom.data.manifest import Manifest
from jetloom.errors import JetloomError

OPEN_SHARDS = 4
WINDOW_BATCHES = 32
DTYPES = {"F32": numpy.float32, "I64": numpy.int64, "I16": numpy.int16}


class ShardFile:
    """The arrays of one shard, mapped and not read."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(size))
            data = numpy.memmap(path, dtype=numpy.uint8, mode="r", offset=8 + size)
            header.pop("__metadata__", None)
            self.buckets: dict[int, dict[str, NDArray]] = {}
            for name, entry in sorted(header.items()):
                first, last = entry["data_offsets"]
                array = data[first:last].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
                width, _, key = name.partition("/")
                self.buckets.setdefault(int(width), {})[key] = array
        except FileNotFoundError:
            raise JetloomError(f"{path}: no such shard; make the tensors again") from None
        except (OSError, struct.error, ValueError, KeyError) as error:
            raise JetloomError(f"{path}: not a readable shard ({error}); make the tensors again") from None

    def jets(self, width: int) -> int:
        """Jets in a bucket."""
        return len(self.buckets[width]["label"]) if width in self.buckets else 0


class Rows(NamedTuple):
    """Which jets make a batch: places in one bucket of some shards laid end to end."""

    shards: tuple[int, ...]
    width: int
    rows: NDArray


class Loader:
    """Iterable over the batches of a split.

    Args:
        manifest: ``manifest.json``; shards lie relative to it.
        split: name of the split.
        batch_size: jets per batch and rank, at most; batches of a bucket are of nearly equal size, none is tiny.
        shuffle: random order, another one each epoch.
        seed: of the order.
        rank: of this process among all of the training (global, not per node).
        world_size: processes of the training; each gets its own jets and the same number of batches.
        samples_per_epoch: jets per epoch over all ranks; epochs then go on where the last one ended. Default: all.
        drop_last: only full batches (static shapes); what is left of a bucket is left out of this pass.
        observers: yield ``(batch, observers)``, observers (B, K) float32 in the order of ``manifest.observers``.
        workers: threads that gather the next batches meanwhile; 0: each is gathered when it is asked for.

    Raises:
        JetloomError: unknown split, missing or damaged shard.
    """

    def __init__(
        self,
        manifest: Path,
        split: str,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        samples_per_epoch: int | None = None,
        drop_last: bool = False,
        observers: bool = False,
        workers: int = 0,
    ) -> None:
        self.manifest = Manifest.read(manifest)
        if split not in self.manifest.splits:
            raise JetloomError(f"{manifest}: no split {split!r}; allowed: {', '.join(self.manifest.splits)}")
        self.split = split
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.samples_per_epoch, self.drop_last, self.observers = samples_per_epoch, drop_last, observers
        self.workers = workers
        self._paths = [manifest.parent / shard.file for shard in self.manifest.splits[split].shards]
        self._epoch = self._position = 0
        self._made: tuple[int, list[Rows]] | None = None
        self._shards  # noqa: B018  a damaged shard is an error now, not in mid-training

    @cached_property
    def _shards(self) -> list[ShardFile]:
        return [ShardFile(path) for path in self._paths]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields, from its beginning."""
        self._epoch, self._position = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Epoch and batches of it that were taken."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where ``state_dict`` was called."""
        self._epoch, self._position = state["epoch"], state["position"]

    def __len__(self) -> int:
        """Batches left in the current epoch, the same on every rank."""
        return self._batches(self._epoch) - self._position

    def _batches(self, epoch: int) -> int:
        if self.samples_per_epoch is not None:
            return math.ceil(self.samples_per_epoch / (self.batch_size * self.world_size))
        return len(self._pass(epoch))

    def __iter__(self) -> Iterator[Any]:
        for batch in self._gather(self._plan(self._epoch, self._position)):
            self._position += 1
            yield batch
        self.set_epoch(self._epoch + 1)

    def _gather(self, plans: list[Rows]) -> Iterator[Any]:
        if not self.workers:
            yield from map(self._batch, plans)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            waiting: deque[Future[Any]] = deque()
            try:
                for plan in plans:
                    waiting.append(pool.submit(self._batch, plan))
                    if len(waiting) > 2 * self.workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _plan(self, epoch: int, start: int) -> list[Rows]:
        """Batches of an epoch from number ``start`` on."""
        if self.samples_per_epoch is None:
            return self._pass(epoch)[start:]
        # Epochs cut one endless sequence of passes into equal pieces.
        length = self._batches(epoch)
        first, last = epoch * length + start, (epoch + 1) * length
        plan: list[Rows] = []
        number = begin = 0
        while begin < last:
            batches = self._pass(number)
            plan += batches[max(first - begin, 0) : max(last - begin, 0)]
            begin += len(batches)
            number += 1
        return plan

    def _pass(self, number: int) -> list[Rows]:
        """All batches of one pass over the split."""
        if self._made is None or self._made[0] != number:
            self._made = number, self._make_pass(number)
        return self._made[1]

    def _make_pass(self, number: int) -> list[Rows]:
        generator = numpy.random.default_rng([self.seed, number])
        order = generator.permutation(len(self._shards)) if self.shuffle else numpy.arange(len(self._shards))
        at_once = OPEN_SHARDS if self.shuffle else 1
        plan: list[Rows] = []
        for start in range(0, len(order), at_once):
            opened = tuple(int(shard) for shard in order[start : start + at_once])
            batches = [item for width in self.manifest.buckets for item in self._of_bucket(opened, width, generator)]
            if self.shuffle:
                batches = [batches[index] for index in generator.permutation(len(batches))]
            plan += batches
        return plan

    def _of_bucket(self, shards: tuple[int, ...], width: int, generator: numpy.random.Generator) -> list[Rows]:
        jets = sum(self._shards[shard].jets(width) for shard in shards)
        together = self.batch_size * self.world_size
        rows = numpy.arange(jets)
        if self.shuffle:
            window = WINDOW_BATCHES * together
            for begin in range(0, jets, window):
                generator.shuffle(rows[begin : begin + window])
        if self.drop_last:
            rows = rows[: jets // together * together]
        batches = math.ceil(len(rows) / together)
        if not batches:
            return []
        cut = (
            numpy.array_split(rows, batches)
            if self.shuffle
            else numpy.split(rows, range(together, len(rows), together))
        )
        return [Rows(shards, width, item[self.rank :: self.world_size]) for item in cut]

    def _batch(self, plan: Rows) -> Any:
        parts = []
        begin = 0
        for shard in plan.shards:
            jets = self._shards[shard].jets(plan.width)
            rows = plan.rows[(plan.rows >= begin) & (plan.rows < begin + jets)] - begin
            if len(rows):
                arrays = self._shards[shard].buckets[plan.width]
                parts.append({key: array[rows] for key, array in arrays.items()})
            begin += jets
        if not parts:
            parts = [{key: array[:0].copy() for key, array in self._any_bucket(plan).items()}]
        tensors: dict[str, Tensor] = {
            key: torch.from_numpy(
                parts[0][key] if len(parts) == 1 else numpy.concatenate([part[key] for part in parts])
            )
            for key in parts[0]
        }
        mask = torch.arange(plan.width) < tensors["length"].unsqueeze(1)
        batch = Batch(tensors["features"], tensors.get("vectors"), tensors["coordinates"], mask, tensors["label"])
        if not self.observers:
            return batch
        return batch, tensors.get("observers", torch.empty(len(mask), 0))

    def _any_bucket(self, plan: Rows) -> dict[str, NDArray]:
        return next(
            self._shards[shard].buckets[plan.width] for shard in plan.shards if self._shards[shard].jets(plan.width)
        )
