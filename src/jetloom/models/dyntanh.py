"""What the three networks of the SAL-T paper (arXiv:2510.23641) share: everything but the attention.

The numbers (1) to (7) are the steps of the author code's forward pass as listed in docs/architectures.md.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers import in_parts, keep_dense
from jetloom.models.sorting import largest_first, real_first, sort_key, take, zero_padding


def glorot_(tensor: Tensor, fan_in: int, fan_out: int) -> None:
    """Keras's default for weights: uniform within sqrt(6 / (fan_in + fan_out))."""
    limit = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(tensor, -limit, limit)


def keras_linear_(linear: nn.Linear) -> None:
    """Keras's default for a dense layer: Glorot uniform, bias 0."""
    glorot_(linear.weight, linear.in_features, linear.out_features)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


CACHED = 1 << 17
"""Numbers of the largest tensor of a pass that computes without gradients on a CPU: half a megabyte stays in the
cache of a core, and the allocator reuses it where it would ask the system for fresh pages."""


def per_row(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer on rows (B, N, D), whose result (B, N, K) lies in memory as (B, K, N).

    Sums, maxima and softmax over channels or mixtures then run along memory; elementwise steps keep the order.
    """
    weight = linear.weight.expand(x.shape[0], -1, -1)
    return torch.baddbmm(linear.bias[:, None], weight, x.transpose(1, 2)).transpose(1, 2)


class DynTanh(nn.Module):
    """tanh(alpha x + beta) with two learned numbers, in the place of a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32 and x.device.type == "cpu" and not keep_dense():
            # tanh u = 2 sigmoid(2 u) - 1, and torch's sigmoid is six times as fast as its tanh.
            return (x * (2 * self.alpha)).add_(2 * self.beta).sigmoid_().mul(2.0).sub_(1.0)
        return torch.tanh(self.alpha * x + self.beta)


class Layout(NamedTuple):
    """Which rows of the sorted sequence (B, N, d) hold particles. Every field is None where nothing is masked."""

    mask: Tensor | None
    """(B, N) bool, True for a real particle."""
    slots: Tensor | None
    """(B, p c) row that stands in each slot of each partition, where partitions are cut on the real particles."""
    filled: Tensor | None
    """(B, p c) bool, which of these slots hold a particle."""


class Block(nn.Module):
    """One layer: attention, then a feed-forward network, each followed by DynTanh (post-"norm" order, no dropout)."""

    def __init__(self, attention: nn.Module, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.attention = attention
        self.norm1, self.norm2 = DynTanh(), DynTanh()
        self.fc1 = nn.Linear(d_model, d_ff)
        self.fc2 = nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        if layout.mask is not None:
            # Queries, keys and values have no bias: a zero row adds nothing to any sum and scores zero everywhere.
            x = x * layout.mask[..., None].to(x.dtype)
        x = self.norm1(x + self.attention(x, layout))  # (5)
        return self.norm2(x + per_row(self.fc2, per_row(self.fc1, x).relu_()))  # (6)


class SmallTagger(nn.Module):
    """Sort, embed, attend, pool over the particles, classify: the frame around the attention.

    Args:
        n_features: F.
        n_classes: C; 1 gives the single logit of the papers' binary tasks.
        attention: makes the attention of one layer.
        layers: blocks; the head has max(1, layers - 1) hidden layers, as in the author code.
        d_model, d_ff: d and hidden width of the feed-forward network.
        max_particles: n, the length that ``mask: published`` pads to; None: any.
        sort: key of :func:`jetloom.models.sorting.sort_key`, or none.
        published_columns: features that hold pT, eta, phi for the ``published_*`` keys.
        mask: "real" or "published".
        partitions: p, if partitions are cut on the real particles; 0: they are not.
        init: "keras" or "torch".
    """

    ordered = False

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        attention: Callable[[], nn.Module],
        *,
        layers: int,
        d_model: int,
        d_ff: int,
        max_particles: int | None,
        sort: str,
        published_columns: tuple[int, ...],
        mask: str,
        partitions: int,
        init: str,
    ) -> None:
        super().__init__()
        if len(published_columns) != 3:
            raise JetloomError(f"published_columns: expected those of pT, eta and phi, got {published_columns}")
        if mask == "published" and partitions:
            raise JetloomError("partition_by: real needs mask: real; the published network knows no real particles")
        self.max_particles, self.sort, self.published_columns = max_particles, sort, published_columns
        self.masked, self.partitions = mask == "real", partitions
        self.embed = nn.Linear(n_features, d_model)
        self.blocks = nn.ModuleList(Block(attention(), d_model, d_ff) for _ in range(layers))
        self.hidden = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(max(1, layers - 1)))
        self.head = nn.Linear(d_model, n_classes)
        if init == "keras":
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    keras_linear_(module)

    def forward(self, batch: Batch) -> Tensor:
        """Batch to logits (B, C). Uses features and mask, and vectors and coordinates for the sort."""
        cached = CACHED * torch.get_num_threads() // self.embed.out_features
        logits = in_parts(self, batch, cached, by_length=self.masked)
        if logits is not None:
            return logits
        x, layout = self.arrange(batch)
        x = per_row(self.embed, x).relu_()  # (2)
        for block in self.blocks:
            x = block(x, layout)
        if layout.mask is not None:
            # tanh never falls below -1, so a row of -1 never is the maximum.
            real = layout.mask[..., None].to(x.dtype)
            x = x * real + (real - 1)
        x = x.amax(1)  # (7)
        for layer in self.hidden:
            x = functional.relu(layer(x))
        return self.head(x)

    def arrange(self, batch: Batch) -> tuple[Tensor, Layout]:
        """(1): features (B, N, F) in the order in which the network reads them, and where the particles are.

        Raises:
            JetloomError: a jet is longer than the network's fixed length.
        """
        if self.masked:
            # The sort puts padded slots last whatever their key is, so only what is computed with has to be finite.
            batch = self.fitted(batch)
            batch = batch._replace(features=batch.features.masked_fill(~batch.mask[..., None], 0.0))
        else:
            batch = self.fitted(zero_padding(batch))
        features, mask = batch.features, batch.mask
        if self.sort != "none":
            key = sort_key(batch, self.sort, self.published_columns)
            order = largest_first(real_first(key, mask) if self.masked else key)
            features, mask = take(features, order), mask.gather(1, order)
        elif self.partitions:
            slot = torch.arange(mask.shape[1], device=mask.device)
            order = largest_first(real_first(-slot.expand(mask.shape), mask))
            features, mask = take(features, order), mask.gather(1, order)
        if not self.masked:
            return features, Layout(None, None, None)
        slots, filled = real_partitions(mask, self.partitions) if self.partitions else (None, None)
        return features, Layout(mask, slots, filled)

    def fitted(self, batch: Batch) -> Batch:
        """At most max_particles slots; with ``mask: published`` exactly as many, the new ones zero."""
        if self.max_particles is None:
            return batch
        mask = batch.mask
        excess = mask.shape[1] - self.max_particles
        if not keep_dense() and excess > 0:
            if mask[:, self.max_particles :].any():
                raise JetloomError(
                    f"{type(self).__name__} was built for max_particles = {self.max_particles}, "
                    f"but a jet reaches slot {int(mask.any(0).nonzero().max()) + 1}"
                )
            batch = Batch(*(x if x is None or x.dim() < 2 else x[:, : self.max_particles] for x in batch))
        elif not self.masked:
            batch = Batch(*(x if x is None or x.dim() < 2 else lengthened(x, -excess) for x in batch))
        return batch


def lengthened(x: Tensor, rows: int) -> Tensor:
    """(B, N) or (B, N, D) with so many zero (or False) rows behind."""
    return functional.pad(x, (0, rows) if x.dim() == 2 else (0, 0, 0, rows))


def real_partitions(mask: Tensor, partitions: int) -> tuple[Tensor, Tensor]:
    """Cut the R real particles of each jet, which come first, into p runs: particle i goes to floor(i p / R).

    Args:
        mask: (B, N) bool.
        partitions: p.

    Returns:
        (B, p c) row in each slot and (B, p c) bool whether there is one, with c = ceil(N / p).
    """
    number = mask.shape[1]
    capacity = (number + partitions - 1) // partitions
    edge = torch.arange(partitions + 1, device=mask.device)
    edges = (edge * mask.sum(1, keepdim=True) + partitions - 1) // partitions
    row = edges[:, :-1, None] + torch.arange(capacity, device=mask.device)
    filled = row < edges[:, 1:, None]
    return row.clamp(max=number - 1).flatten(1), filled.flatten(1)
