"""What the three networks of the SAL-T paper (arXiv:2510.23641) share: everything but the attention.

The numbers (1) to (7) are the steps of the author code's forward pass as listed in docs/architectures.md.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import rows as kernel
from jetloom.models.layers.dyntanh import DynTanh
from jetloom.models.layers.init import keras_linear_
from jetloom.models.layers.order import largest_first, real_first, sort_key, take
from jetloom.models.layers.packing import of_length, zero_padding
from jetloom.models.network import Encoded, Looks, Network


def per_row(linear: nn.Linear, x: Tensor) -> Tensor:
    """W x_i + b of each row, (B, N, D) to (B, N, K)."""
    return kernel.linear(linear, x) if kernel.serves() else linear(x)


def rectified(linear: nn.Linear, x: Tensor) -> Tensor:
    """max(W x_i + b, 0) of each row, (B, N, D) to (B, N, K)."""
    return kernel.linear(linear, x, rectified=True) if kernel.serves() else functional.relu(linear(x))


class Layout(NamedTuple):
    """Which rows of the sorted sequence (B, N, d) hold particles. Every field is None where nothing is masked."""

    mask: Tensor | None
    """(B, N) bool, True for a real particle."""
    slots: Tensor | None
    """(B, p c) row that stands in each slot of each partition, where partitions are cut on the real particles."""
    filled: Tensor | None
    """(B, p c) bool, which of these slots hold a particle."""


class Attention(nn.Module):
    """What the frame asks of an attention; layers, (B, N, d) and a layout to (B, N, d), say what they can."""

    def partition(self, mask: Tensor, real_runs: bool) -> tuple[int | None, Tensor | None]:
        """Number of partitions and the one (B, N) of each particle; here there are none.

        Args:
            mask: (B, N), in the order of the network.
            real_runs: partitions are cut on the real particles.
        """
        return None, None

    def shares(self, x: Tensor, layout: Layout) -> Tensor | None:
        """(B, N, N), what each particle takes of each other one; here nobody can say."""
        return None


class Block(nn.Module):
    """One layer: attention, then a feed-forward network, each followed by DynTanh (post-"norm" order, no dropout)."""

    def __init__(self, attention: Attention, d_model: int, d_ff: int) -> None:
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
        out: Tensor = self.norm2(x + per_row(self.fc2, rectified(self.fc1, x)))  # (6)
        return out


class SmallTagger(Network):
    """Sort, embed, attend, pool over the particles, classify: the frame around the attention.

    Args:
        n_features: F.
        n_classes: C; 1 gives the single logit of the papers' binary tasks.
        attention: makes the attention of one layer.
        layers: blocks; the head has max(1, layers - 1) hidden layers, as in the author code.
        d_model, d_ff: d and hidden width of the feed-forward network.
        max_particles: n, the length that ``mask: published`` pads to; None: any.
        sort: key of :func:`jetloom.models.layers.order.sort_key`, or none.
        published_columns: features that hold pT, eta, phi for the ``published_*`` keys.
        mask: "real" or "published".
        partitions: p, if partitions are cut on the real particles; 0: they are not.
        init: "keras" or "torch".
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        attention: Callable[[], Attention],
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
        super().__init__(jet_width=d_model, particle_width=d_model)
        if len(published_columns) != 3:
            raise JetloomError(f"published_columns: expected those of pT, eta and phi, got {published_columns}")
        if mask == "published" and partitions:
            raise JetloomError("partition_by: real needs mask: real; the published network knows no real particles")
        self.max_particles, self.sort, self.published_columns = max_particles, sort, published_columns
        self.masked, self.partitions = mask == "real", partitions
        self.reads_padding = not self.masked
        self.embed = nn.Linear(n_features, d_model)
        self.blocks = nn.ModuleList(Block(attention(), d_model, d_ff) for _ in range(layers))
        hidden = [nn.Sequential(nn.Linear(d_model, d_model), nn.ReLU()) for _ in range(max(1, layers - 1))]
        self.head = nn.Sequential(*hidden, nn.Linear(d_model, n_classes))
        if init == "keras":
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    keras_linear_(module)

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the last block, in the network's order, and their maximum.

        Uses features and mask, and vectors and coordinates for the sort.
        """
        batch, layout, order = self.arrange(batch)
        x = self.embedded(batch)
        for block in self.blocks:
            x = block(x, layout)
        if layout.mask is None:
            return Encoded(x, batch.mask, x.amax(1), order)
        # tanh never falls below -1, so a row of -1 never is the maximum.
        real = layout.mask[..., None].to(x.dtype)
        x = x * real
        return Encoded(x, batch.mask, (x + (real - 1)).amax(1), order)  # (7)

    def embedded(self, batch: Batch) -> Tensor:
        """(2): features (B, N, F) to (B, N, d)."""
        return rectified(self.embed, batch.features)

    def arrange(self, batch: Batch) -> tuple[Batch, Layout, Tensor | None]:
        """(1): features and mask in the order in which the network reads them.

        Returns:
            them, where the particles are, and the slots (B, N) they come from; None: they stay where they are.

        Raises:
            JetloomError: a jet is longer than the network's fixed length.
        """
        if self.masked:
            # The sort puts padded slots last whatever their key is, so only what is computed with has to be finite.
            batch = self.fitted(batch)
            batch = batch._replace(features=batch.features.masked_fill(~batch.mask[..., None], 0.0))
        else:
            batch = self.fitted(zero_padding(batch))
        order = self.order(batch)
        if order is not None:
            batch = batch._replace(features=take(batch.features, order), mask=batch.mask.gather(1, order))
        if not self.masked:
            return batch, Layout(None, None, None), order
        slots, filled = real_partitions(batch.mask, self.partitions) if self.partitions else (None, None)
        return batch, Layout(batch.mask, slots, filled), order

    def order(self, batch: Batch) -> Tensor | None:
        """Slots (B, N) in the order of ``sort``; None: as they come."""
        if self.sort != "none":
            key = sort_key(batch, self.sort, self.published_columns)
            return largest_first(real_first(key, batch.mask) if self.masked else key)
        if self.partitions:
            slot = torch.arange(batch.mask.shape[1], device=batch.mask.device)
            return largest_first(real_first(-slot.expand(batch.mask.shape), batch.mask))
        return None

    def looks(self, batch: Batch) -> Looks:
        """Which particles the maximum over the particles is made of, directly and through the attention.

        s_i (``pooled``) is the share of the channels whose maximum is at particle i, which takes T[i, l] of particle l
        in the last attention (:meth:`shares` of the attention): the weight of l is sum_i s_i T[i, l]. The weights of a
        jet add up to 1. An attention that cannot say gives no weights.
        """
        order = self.order(self.fitted(zero_padding(batch)))
        batch = self.fitted(zero_padding(batch))
        if order is not None:
            batch = batch.map_slots(lambda x: take(x, order) if x.dim() == 3 else x.gather(1, order))
        sorted_batch, layout, _ = self.arrange(batch)
        before = x = self.embedded(sorted_batch)
        for block in self.blocks:
            before, x = x, block(x, layout)
        attention = cast("Block", self.blocks[-1]).attention
        partitions, partition = attention.partition(batch.mask, self.partitions > 0)
        real = torch.ones_like(batch.mask) if layout.mask is None else layout.mask
        taken = attention.shares(before.masked_fill(~real[..., None], 0.0), layout)
        if taken is None:
            return Looks(batch)
        top = x.masked_fill(~real[..., None], -1.0).argmax(1)
        pooled = torch.zeros_like(x[..., 0]).scatter_add_(1, top, torch.full_like(x[:, 0], 1 / x.shape[2]))
        weight = torch.einsum("bi,bil->bl", pooled, taken)
        return Looks(batch, "pooled output", weight, pooled, partitions, partition)

    def fitted(self, batch: Batch) -> Batch:
        """At most max_particles slots; with ``mask: published`` exactly as many, the new ones zero."""
        if self.max_particles is None:
            return batch
        return of_length(batch, self.max_particles, type(self).__name__, exactly=not self.masked)


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
