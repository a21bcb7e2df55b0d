"""SAL-T, the Spatially Aware Linear Transformer (arXiv:2510.23641), from its author code.

It is the Linformer of :mod:`jetloom.models.linformer` with three changes, each an option:

- particles are sorted by kT = pT * deltaR, so that neighbours in the sequence are alike
  (:mod:`jetloom.models.sorting`);
- (3') E and F are block-diagonal: mixture j is a sum over partition j, the j-th run of c = ceil(n / p) particles,
  K'_h[j] = sum_l E_h[j, l] k_h[j c + l];
- (4') the scores are smoothed by convolutions along the particles before the softmax.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.errors import JetloomError
from jetloom.models.dyntanh import Layout, SmallTagger, glorot_, lengthened
from jetloom.models.layers import keep_dense
from jetloom.models.linformer import ProjectedAttention, Projection
from jetloom.models.sorting import SortKey, take


def partition(x: Tensor, layout: Layout, partitions: int, length: int) -> Tensor:
    """The rows (B, N, d) by partition, (B, k, l, d): k partitions that may hold particles, l <= ceil(n / p) slots.

    Slots without a particle are zero.
    """
    if layout.slots is not None and layout.filled is not None:
        rows = take(x, layout.slots).masked_fill(~layout.filled[..., None], 0.0)
        return rows.unflatten(1, (partitions, -1))
    capacity = -(-length // partitions)
    number = x.shape[1]
    if keep_dense():
        return lengthened(x, partitions * capacity - number).unflatten(1, (partitions, capacity))
    # A narrow bucket fills the first partitions only; the others stay empty and cost nothing.
    used = -(-number // capacity)
    if used == 1:
        return x[:, None]
    if number < used * capacity:
        x = lengthened(x, used * capacity - number)
    return x.unflatten(1, (used, capacity))


class PartitionedProjection(Projection):
    """(3'): block-diagonal E (or F), one weight per head, partition and slot.

    Args:
        heads, mixtures, length, init: H, p, n and the initialiser, as in :class:`Projection`.
    """

    def __init__(self, heads: int, mixtures: int, length: int, init: str) -> None:
        nn.Module.__init__(self)
        self.length = length
        capacity = -(-length // mixtures)
        self.weight = nn.Parameter(torch.empty(heads, mixtures, capacity))
        if init == "keras":
            glorot_(self.weight, heads * mixtures, heads * capacity)
        else:
            nn.init.uniform_(self.weight, -(capacity**-0.5), capacity**-0.5)

    def mix(self, weight: Tensor, x: Tensor, layout: Layout) -> Tensor:
        """Weight (H, p, c) and rows (B, N, d), N <= n, to the mixtures (B, H, p, d)."""
        partitions = weight.shape[1]
        if torch.compiler.is_exporting() and layout.slots is None:
            # One product with the whole block-diagonal matrix, a constant of the graph, has the lower latency.
            blocks = weight[..., None] * torch.eye(partitions)[:, None]
            return super().mix(blocks.flatten(1, 2)[:, : self.length], x, layout)
        rows = partition(x, layout, partitions, self.length)
        used, slots = rows.shape[1:3]
        # One product of matrices per partition, of the rows of all jets and channels with the weights of all heads.
        rows = rows.permute(1, 0, 3, 2).reshape(used, -1, slots)
        mixtures = torch.bmm(rows, weight[:, :used, :slots].permute(1, 2, 0))
        mixtures = mixtures.view(used, x.shape[0], x.shape[2], len(weight)).permute(1, 3, 0, 2)
        return mixtures if used == partitions else functional.pad(mixtures, (0, 0, 0, partitions - used))

    def empty(self, layout: Layout) -> Tensor | None:
        """(B, p) bool, partitions without a particle; None: padding counts as particles."""
        if layout.mask is None:
            return None
        partitions, capacity = self.weight.shape[1:]
        if layout.filled is not None:
            return ~layout.filled.unflatten(1, (partitions, -1)).any(2)
        mask = lengthened(layout.mask, partitions * capacity - layout.mask.shape[1])
        return ~mask.unflatten(1, (partitions, capacity)).any(2)


class ScoreConvolution(nn.Module):
    """(4'): the mean of convolutions with kernels (h, p), h along the particles, p across all mixtures.

    Each has one input and one output channel, stride 1, a bias and zero padding that keeps the shape (TensorFlow's
    SAME: one column more behind than before, for even p); all heads share them. A mean of convolutions is one
    convolution with the mean of the kernels, each extended by zeros to the tallest; a kernel as wide as its input is a
    matrix from mixtures to mixtures. So what is computed is one Conv1d from p to p channels, with the same result.

    Args:
        heights: h of each kernel, odd.
        mixtures: p.
        init: "keras" or "torch".
    """

    def __init__(self, heights: tuple[int, ...], mixtures: int, init: str) -> None:
        super().__init__()
        if any(height < 1 or height % 2 == 0 for height in heights):
            raise JetloomError(f"conv_heights: expected odd numbers, got {list(heights)}")
        self.heights, self.mixtures = heights, mixtures
        self.kernels = nn.ParameterList(torch.empty(height, mixtures) for height in heights)
        self.biases = nn.Parameter(torch.zeros(len(heights)))
        for height, kernel in zip(heights, self.kernels, strict=True):
            if init == "keras":
                glorot_(kernel, height * mixtures, height * mixtures)
            else:
                nn.init.uniform_(kernel, -((height * mixtures) ** -0.5), (height * mixtures) ** -0.5)
        out, into = torch.meshgrid(torch.arange(mixtures), torch.arange(mixtures), indexing="ij")
        column = into - out + (mixtures - 1) // 2
        inside = (column >= 0) & (column < mixtures)
        self.register_buffer("column", torch.where(inside, column, mixtures), persistent=False)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (p, p, tallest) and bias (p,) of the one Conv1d."""
        tallest = max(self.heights)
        margins = [(tallest - height) // 2 for height in self.heights]
        # A column of zeros stands for everything outside the kernel.
        kernels = [
            functional.pad(kernel, (0, 1, margin, margin)) for kernel, margin in zip(self.kernels, margins, strict=True)
        ]
        weight = torch.stack(kernels).mean(0)[:, self.column].permute(1, 2, 0)
        return weight, self.biases.mean().expand(self.mixtures)

    def forward(self, scores: Tensor) -> Tensor:
        """(B, H, p, N) to the same shape."""
        weight, bias = self.folded()
        heads = scores.shape[1]
        weight, bias = weight.repeat(heads, 1, 1), bias.repeat(heads)
        scores = functional.conv1d(scores.flatten(1, 2), weight, bias, padding=weight.shape[2] // 2, groups=heads)
        return scores.unflatten(1, (heads, -1))


class SalTAttention(ProjectedAttention):
    """Attention over mixtures of particles, of which E, F or both may be partitioned, with convolved scores.

    Args:
        d_model, heads, key_projection, value_projection, init: as in :class:`ProjectedAttention`.
        convolution: of the scores; None: none.
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        key_projection: Projection,
        value_projection: Projection | None,
        convolution: ScoreConvolution | None,
        init: str,
    ) -> None:
        super().__init__(d_model, heads, key_projection, value_projection, init)
        self.convolution = convolution

    def refine(self, scores: Tensor) -> Tensor:
        return scores if self.convolution is None else self.convolution(scores)

    def partition(self, mask: Tensor, real_runs: bool) -> tuple[int | None, Tensor | None]:
        own = [e for e in (self.value_projection, self.key_projection) if isinstance(e, PartitionedProjection)]
        if not own:
            return None, None
        partitions, capacity = own[0].weight.shape[1:]
        place = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
        if real_runs:
            return partitions, place * partitions // mask.sum(1, keepdim=True).clamp(min=1)
        return partitions, place // capacity

    def closed(self, x: Tensor, layout: Layout) -> Tensor | None:
        return self.key_projection.empty(layout) if isinstance(self.key_projection, PartitionedProjection) else None


class SalT(SmallTagger):
    """SAL-T for jets and point clouds: 3,264 parameters on 150 particles with 3 features and 5 classes.

    Args:
        n_features, n_classes: F and C.
        max_particles: n; partitions have c = ceil(n / p) slots. Shorter inputs give the same answer as padded ones.
        p: partitions.
        d_model, d_ff, heads, layers: d, hidden width of the feed-forward network, H, blocks.
        partition: block-diagonal E and F; "keys" or "values": only E or only F; False: both full, as in Linformer.
        conv_heights: h of each convolution of the scores; none: ``[]``. The author code has [1, 3, 5, 7, 9] in networks
            of several layers.
        share: F = E.
        sort: order of the particles; auto: kt for jets, morton for points. With "none" the answer depends on the order
            of the input.
        published_columns: features that hold pT, eta and phi, for the ``published_*`` keys, which sort standardised
            features as the author code does.
        mask: real: padded particles are left out of partition sums, softmax and pooling, and the convolution finds zero
            scores in their rows. published: they are zero rows that take part in everything (the embedding's bias
            makes them visible), always up to n: the author code.
        partition_by: slots: partition j holds the slots j c onwards of the n, so a jet of few particles fills the first
            partitions only and the others stay closed: the author code. real: the R real particles are cut into p runs
            of nearly equal length, particle i in run floor(i p / R) (a variant the authors tried and dropped).
        init: of the weights; keras: what the published networks started from.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        max_particles: int = 150,
        p: int = 4,
        d_model: int = 16,
        d_ff: int = 16,
        heads: int = 4,
        layers: int = 1,
        partition: bool | Literal["keys", "values"] = True,
        conv_heights: tuple[int, ...] = (1, 3, 5),
        share: bool = False,
        sort: SortKey = "auto",
        published_columns: tuple[int, ...] = (0, 1, 2),
        mask: Literal["real", "published"] = "real",
        partition_by: Literal["slots", "real"] = "slots",
        init: Literal["keras", "torch"] = "keras",
    ) -> None:
        if min(p, max_particles, heads) < 1:
            raise JetloomError(f"p = {p}, max_particles = {max_particles} and heads = {heads} must be at least 1")
        if share and isinstance(partition, str):
            raise JetloomError(f"partition: {partition} treats E and F differently, so share must be false")

        def attention() -> SalTAttention:
            kinds = [
                PartitionedProjection if partition is True or partition == name else Projection
                for name in ("keys", "values")
            ]
            projections = [kind(heads, p, max_particles, init) for kind in kinds]
            convolution = ScoreConvolution(tuple(conv_heights), p, init) if conv_heights else None
            values = None if share else projections[1]
            return SalTAttention(d_model, heads, projections[0], values, convolution, init)

        super().__init__(
            n_features,
            n_classes,
            attention,
            layers=layers,
            d_model=d_model,
            d_ff=d_ff,
            max_particles=max_particles,
            sort=sort,
            published_columns=published_columns,
            mask=mask,
            partitions=p if partition_by == "real" and partition else 0,
            init=init,
        )
        self.ordered = sort == "none"
