"""Batches from memory-mapped shards: each from one length bucket, gathered with numpy, no Python loop over jets.

Order of a shuffled epoch, from (seed, pass) alone: shards are shuffled and opened a few at a time; among the open ones
the jets of a bucket are cut into windows and shuffled inside; and the batches of all buckets come in random order. So
reading stays local whatever the size of the set, and every jet comes once in a pass. Only the order of the open shards
is in memory. Unshuffled: shard by shard, bucket by bucket, as stored.

Inside a window short runs of jets change places, not single jets: neighbours in a shard are random already, since it
was shuffled when it was made, and memory is read twice as fast so. Runs are cut at other places in each pass.
"""

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import accumulate, count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from jetloom.batch import Batch
from jetloom.config import Reweighting
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.prepare.shardfile import AGAIN, open_arrays
from jetloom.data.read.labelled import Labelled
from jetloom.data.read.sampling import Sampling
from jetloom.errors import JetloomError

NEEDED = {"features", "coordinates", "length", "label"}
OPEN_SHARDS = 4
WINDOW_BATCHES = 32
LONGEST_RUN = 16
"""Jets that stay together in a window; shorter where a batch would be made of less than as many runs."""
LABELLED_BATCH = 4096


class ShardFile:
    """The arrays of one shard by bucket, mapped and not read."""

    def __init__(self, path: Path) -> None:
        self.buckets: dict[int, dict[str, NDArray[Any]]] = {}
        for name, array in open_arrays(path).items():
            width, _, key = name.partition("/")
            if not re.fullmatch("[0-9]{1,9}", width):
                raise JetloomError(f"{path}: {name} is no array of a shard; {AGAIN}")
            self.buckets.setdefault(int(width), {})[key] = array
        for bucket, arrays in self.buckets.items():
            jets = {len(array) for array in arrays.values()}
            if not arrays.keys() >= NEEDED or len(jets) != 1 or arrays["features"].shape[1:2] != (bucket,):
                raise JetloomError(f"{path}: the arrays of bucket {bucket} do not fit together; {AGAIN}")

    def jets(self, width: int) -> int:
        """Jets in a bucket."""
        return len(self.buckets[width]["label"]) if width in self.buckets else 0


class Rows(NamedTuple):
    """Which jets make a batch: places in one bucket of some shards laid end to end."""

    shards: tuple[int, ...]
    width: int
    rows: NDArray[np.integer]


class _Cut(NamedTuple):
    jets: int
    used: int
    batches: int


class Loader:
    """Iterable over the batches of a split.

    Args:
        manifest: ``manifest.json``; shards lie relative to it.
        split: name of the split.
        batch_size: jets per batch and rank, at most; batches of a bucket are of nearly equal size, none is tiny.
        shuffle: random order, another one each epoch.
        seed: of the order.
        rank: of this process among all of the training (global, not per node).
        world_size: processes of the training; each gets its own jets, in as many batches as every other. Shuffled,
            these are of the same size too: what cannot be shared out, fewer jets than processes, is left out of a pass.
        samples_per_epoch: jets per epoch over all ranks; epochs then go on where the last one ended. Default: all.
        drop_last: only full batches (static shapes); what is left of a bucket is left out of this pass.
        one_size: batches of a bucket are full, all of them, which a GPU's kernels and recorded graphs want; shuffled
            only. Of a bucket with J jets a pass has J / S batches of S, rounded up or down at random so that this is
            the mean. Then some jets come twice or not at all, others in each pass: in the mean each comes once, and
            has the same weight 1 / S. Where there is not a single full batch, one with all of them stays.
        workers: threads that gather the next batches meanwhile; 0: each is gathered when it is asked for.
        pin: gather into page-locked memory, from which a GPU copies while the processor goes on; needs a GPU.
        reweighting: keep each jet in a pass with the probability of its class and bin; a pass is shorter then.
        labelled: only so many jets, equally many of each class (:class:`Labelled`); not with ``reweighting``.
        at_most: fewer where a class has not so many.

    Raises:
        JetloomError: unknown split, missing or damaged shard, too few jets for a single batch or of a class.
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
        one_size: bool = False,
        workers: int = 0,
        pin: bool = False,
        reweighting: Reweighting | None = None,
        labelled: int | None = None,
        at_most: bool = False,
    ) -> None:
        self.manifest = Manifest.read(manifest)
        if split not in self.manifest.splits:
            raise JetloomError(f"{manifest}: no split {split!r}; allowed: {', '.join(self.manifest.splits)}")
        self.split = split
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.samples_per_epoch, self.drop_last = samples_per_epoch, drop_last
        self.one_size = one_size and shuffle
        self.workers, self.pin = workers, pin
        # A damaged shard is an error now, not in mid-training.
        self._shards = [ShardFile(manifest.parent / shard.file) for shard in self.manifest.splits[split].shards]
        self._sampling = self._sampled(reweighting, labelled, at_most)
        self._epoch = self._position = 0
        self._ends: list[int] = []
        if not self._batches_of_pass(0):
            raise JetloomError(
                f"{manifest}: split {split} has {self.manifest.splits[split].jets} jets, too few in every bucket for a "
                f"batch of {batch_size} on each of {world_size} processes; lower batch_size"
            )

    def _sampled(
        self, reweighting: Reweighting | None, labelled: int | None, at_most: bool
    ) -> Sampling | Labelled | None:
        """Which jets are in a pass; None: all."""
        if reweighting is not None:
            return Sampling(reweighting, self.manifest, [shard.buckets for shard in self._shards], self.seed)
        if labelled is None:
            return None
        return Labelled(labelled, self.manifest, [shard.buckets for shard in self._shards], self.seed, at_most)

    @cached_property
    def _open(self) -> int:
        """Shards that are open together: of a hundredth of the jets a hundred times as many, so that as many mix."""
        if not isinstance(self._sampling, Labelled):
            return OPEN_SHARDS
        whole = sum(shard.jets(width) for shard in self._shards for width in shard.buckets)
        return math.ceil(OPEN_SHARDS * whole / self._sampling.number)

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

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._gather(self._plans(self._epoch, self._position)):
            self._position += 1
            yield batch
        self.set_epoch(self._epoch + 1)

    def _gather(self, plans: Iterator[Rows]) -> Iterator[Batch]:
        if not self.workers:
            yield from map(self._batch, plans)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            waiting: deque[Future[Batch]] = deque()
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

    def _batches(self, epoch: int) -> int:
        if self.samples_per_epoch is not None:
            return math.ceil(self.samples_per_epoch / (self.batch_size * self.world_size))
        return self._batches_of_pass(epoch)

    def _plans(self, epoch: int, start: int) -> Iterator[Rows]:
        """Batches of an epoch from number ``start`` on."""
        if self.samples_per_epoch is None:
            return self._of_pass(epoch, start)
        # Epochs cut one endless sequence of passes into equal pieces.
        length = self._batches(epoch)
        return islice(self._endless(epoch * length + start), length - start)

    def _endless(self, first: int) -> Iterator[Rows]:
        begin = 0
        for number in count():
            if number == len(self._ends):
                self._ends.append(begin + self._batches_of_pass(number))
            if first < self._ends[number]:
                yield from self._of_pass(number, max(first - begin, 0))
            begin = self._ends[number]

    def _groups(self, number: int) -> list[tuple[int, ...]]:
        """Shards of a pass, those that are open together."""
        shards = range(len(self._shards))
        if not self.shuffle:
            return [(shard,) for shard in shards]
        order = np.random.default_rng([self.seed, number]).permutation(len(shards)).tolist()
        return [tuple(order[start : start + self._open]) for start in range(0, len(order), self._open)]

    def _batches_of_pass(self, number: int) -> int:
        return sum(self._batches_of_group(number, group) for group in self._groups(number))

    def _batches_of_group(self, number: int, shards: tuple[int, ...]) -> int:
        return sum(self._cut(number, shards, width).batches for width in self.manifest.buckets)

    def _cut(self, number: int, shards: tuple[int, ...], width: int) -> _Cut:
        jets = sum(self._jets(shard, width) for shard in shards)
        together = self.batch_size * self.world_size
        if self.one_size and jets >= together:
            share = np.random.default_rng([self.seed, number, shards[0], width, 1]).random()
            batches = int(jets / together + share)
            return _Cut(jets, batches * together, batches)
        unit = together if self.drop_last else self.world_size if self.shuffle else 1
        used = jets // unit * unit
        return _Cut(jets, used, math.ceil(used / together))

    def _jets(self, shard: int, width: int) -> int:
        """Jets of a bucket that are used in a pass."""
        return self._sampling.jets(shard, width) if self._sampling else self._shards[shard].jets(width)

    def _rows(self, number: int, shards: tuple[int, ...], width: int) -> NDArray[np.integer]:
        """Places of the jets that are used in a pass, rising."""
        if not self._sampling:
            return np.arange(sum(self._shards[shard].jets(width) for shard in shards))
        begins = accumulate((self._shards[shard].jets(width) for shard in shards), initial=0)
        parts = [
            begin + self._sampling.rows(number, shard, width) for begin, shard in zip(begins, shards, strict=False)
        ]
        return np.concatenate(parts)

    def _of_pass(self, number: int, start: int) -> Iterator[Rows]:
        """Batches of one pass over the split from number ``start`` on."""
        for index, shards in enumerate(self._groups(number)):
            batches = self._batches_of_group(number, shards)
            if start < batches:
                yield from self._of_group(number, index, shards)[start:]
            start = max(start - batches, 0)

    def _of_group(self, number: int, index: int, shards: tuple[int, ...]) -> list[Rows]:
        generator = np.random.default_rng([self.seed, number, index])
        batches = [
            item for width in self.manifest.buckets for item in self._of_bucket(number, shards, width, generator)
        ]
        return [batches[place] for place in generator.permutation(len(batches))] if self.shuffle else batches

    def _of_bucket(
        self, number: int, shards: tuple[int, ...], width: int, generator: np.random.Generator
    ) -> list[Rows]:
        jets, used, batches = self._cut(number, shards, width)
        if not batches:
            return []
        together = self.batch_size * self.world_size
        rows = self._rows(number, shards, width)
        if self.shuffle:
            rows = _mixed(rows, WINDOW_BATCHES * together, max(1, min(LONGEST_RUN, together // LONGEST_RUN)), generator)
            # What is left out, or comes twice, is not always the same.
            rows = np.roll(rows, -int(generator.integers(jets))) if used != jets else rows
            rows = np.concatenate([rows, rows[: used - jets]]) if used > jets else rows
            # Nearly equal batches, none of them tiny.
            edges = np.arange(batches + 1) * (used // self.world_size) // batches * self.world_size
        else:
            edges = np.minimum(np.arange(batches + 1) * together, used)
        size = np.diff(edges)
        first = edges[:-1] + size * self.rank // self.world_size
        last = edges[:-1] + size * (self.rank + 1) // self.world_size
        return [Rows(shards, width, rows[one:end]) for one, end in zip(first.tolist(), last.tolist(), strict=True)]

    def _batch(self, plan: Rows) -> Batch:
        parts = [
            self._shards[shard].buckets[plan.width] for shard in plan.shards if self._shards[shard].jets(plan.width)
        ]
        tensors = {key: self._empty((len(plan.rows), *array.shape[1:]), array.dtype) for key, array in parts[0].items()}
        tensors["mask"] = self._empty((len(plan.rows), plan.width), np.dtype(bool))
        arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
        begin = filled = 0
        for part in parts:
            end = begin + len(part["label"])
            rows = plan.rows if len(parts) == 1 else plan.rows[(plan.rows >= begin) & (plan.rows < end)] - begin
            for key, array in part.items():
                # Rows are in range; mode "raise" would gather into a second buffer first.
                np.take(array, rows, axis=0, out=arrays[key][filled : filled + len(rows)], mode="clip")
            begin, filled = end, filled + len(rows)
        np.less(np.arange(plan.width, dtype=np.int16), arrays["length"][:, None], out=arrays["mask"])
        # The host knows the lengths of what it sends to a GPU.
        return _batch_of(tensors, arrays["length"].astype(np.int64) if self.pin else None)

    def _empty(self, shape: tuple[int, ...], dtype: np.dtype) -> torch.Tensor:
        empty = torch.from_numpy(np.empty(shape, dtype))
        return torch.empty_like(empty, pin_memory=True) if self.pin else empty


def batches_of(shard: Path, size: int = 512) -> Iterator[Batch]:
    """All jets of one shard as they are stored, bucket by bucket.

    Args:
        shard: file of tensors.
        size: jets of a batch, at most.
    """
    for width, arrays in sorted(ShardFile(shard).buckets.items()):
        for start in range(0, len(arrays["label"]), size):
            some = {name: torch.from_numpy(array[start : start + size].copy()) for name, array in arrays.items()}
            some["mask"] = torch.arange(width) < some["length"][:, None]
            yield _batch_of(some)


def _batch_of(tensors: Mapping[str, torch.Tensor], length: NDArray[np.int64] | None = None) -> Batch:
    """A batch of tensors by their names."""
    return Batch._make([*(tensors.get(name) for name in Batch._fields[:6]), length, None])


def _mixed(rows: NDArray[np.integer], window: int, run: int, generator: np.random.Generator) -> NDArray[np.integer]:
    """Rows in windows, inside which runs of neighbours are shuffled."""
    skipped = int(generator.integers(run))
    runs = np.arange(-(-(len(rows) + skipped) // run))
    for begin in range(0, len(runs), window // run):
        generator.shuffle(runs[begin : begin + window // run])
    places = (runs[:, None] * run + np.arange(run) - skipped).ravel()
    mixed: NDArray[np.integer] = rows[places[(places >= 0) & (places < len(rows))]]
    return mixed


def first_observers(manifest: Path, split: str, most: int = 1_000_000) -> NDArray[np.float32]:
    """(N, M): observers of the first jets of a split, which are a mixture like any other.

    Args:
        manifest: ``manifest.json``.
        split: name of the split.
        most: jets that are enough.
    """
    described = Manifest.read(manifest)
    found: list[NDArray[np.float32]] = [np.empty((0, len(described.observers)), np.float32)]
    for shard in described.splits[split].shards:
        arrays = ShardFile(manifest.parent / shard.file).buckets.values()
        found += [np.asarray(bucket["observers"]) for bucket in arrays if "observers" in bucket]
        if sum(map(len, found)) >= most:
            break
    return np.concatenate(found)


def labelled_observers(manifest: Path, split: str, number: int, seed: int) -> NDArray[np.float32]:
    """(N, M): observers of the jets that a loader has with ``labelled=number`` and this seed."""
    loader = Loader(manifest, split, batch_size=LABELLED_BATCH, shuffle=False, seed=seed, labelled=number)
    return np.concatenate([batch.observers.numpy() for batch in loader if batch.observers is not None])
