"""SAL-T, the Spatially Aware Linear Transformer (arXiv:2510.23641), from its author code.

It is the Linformer of :mod:`jetloom.models.linformer` with three changes, each an option:

- particles are sorted by kT = pT * deltaR, so that neighbours in the sequence are alike
  (:mod:`jetloom.models.layers.order`);
- (3') E and F are block-diagonal: mixture j is a sum over partition j, the j-th run of c = ceil(n / p) particles,
  K'_h[j] = sum_l E_h[j, l] k_h[j c + l];
- (4') the scores are smoothed by convolutions along the particles before the softmax.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.errors import JetloomError
from jetloom.models.fast import mixtures as kernel
from jetloom.models.layers.init import glorot_
from jetloom.models.layers.order import SortKey
from jetloom.models.layers.packing import lengthened
from jetloom.models.linformer import ProjectedAttention, ProjectedTagger, Projection
from jetloom.models.small_tagger import Layout


class PartitionedProjection(Projection):
    """(3'): block-diagonal E (or F), one weight per head, partition and slot.

    Args:
        heads, mixtures, length, init: H, p, n and the initialiser, as in :class:`Projection`.
    """

    def __init__(self, heads: int, mixtures: int, length: int, init: str) -> None:
        nn.Module.__init__(self)
        self.mixtures, self.length = mixtures, length
        self.capacity = capacity = -(-length // mixtures)
        self.weight = nn.Parameter(torch.empty(heads, mixtures, capacity))
        if init == "keras":
            glorot_(self.weight, heads * mixtures, heads * capacity)
        else:
            nn.init.uniform_(self.weight, -(capacity**-0.5), capacity**-0.5)

    def matrix(self, number: int, layout: Layout) -> Tensor:
        """E_h with E_h[j, j c + l] = weight[h, j, l], (H, p, N), or (B, H, p, N) where runs are cut jet by jet."""
        partitions = self.weight.shape[1]
        if layout.slots is not None and layout.filled is not None:
            stands = functional.one_hot(layout.slots, number) * layout.filled[..., None]
            stands = stands.unflatten(1, (partitions, -1)).to(self.weight.dtype)
            return torch.einsum("hjl,bjln->bhjn", self.weight[..., : stands.shape[2]], stands)
        diagonal = torch.eye(partitions, dtype=self.weight.dtype, device=self.weight.device)
        return (self.weight[:, :, None] * diagonal[:, :, None]).flatten(2)[..., :number]

    def mixed(self, weight: Tensor, x: Tensor, layout: Layout) -> Tensor:
        return kernel.mixed_in_partitions(weight, x, layout, self.length)

    def empty(self, layout: Layout) -> Tensor | None:
        """(B, p) bool, partitions without a particle; None: padding counts as particles."""
        if layout.mask is None:
            return None
        partitions, capacity = self.weight.shape[1:]
        if layout.filled is not None:
            filled: Tensor = layout.filled.unflatten(1, (partitions, -1)).any(2)
            return ~filled
        mask = lengthened(layout.mask, partitions * capacity - layout.mask.shape[1])
        filled = mask.unflatten(1, (partitions, capacity)).any(2)
        return ~filled


class ScoreConvolution(nn.Module):
    """(4'): the mean of convolutions with kernels (h, p), h along the particles, p across all mixtures.

    Each has one input and one output channel, stride 1, a bias and zero padding that keeps the shape (TensorFlow's
    SAME: one column more behind than before, for even p); all heads share them.

    Args:
        heights: h of each kernel, odd.
        mixtures: p.
        init: "keras" or "torch"; "identity": scores stay as they are until the convolution has learnt something.
    """

    column: Tensor

    def __init__(self, heights: tuple[int, ...], mixtures: int, init: str) -> None:
        super().__init__()
        if any(height < 1 or height % 2 == 0 for height in heights):
            raise JetloomError(f"conv_heights: expected odd numbers, got {list(heights)}")
        self.kernels = nn.ParameterList(torch.empty(height, mixtures) for height in heights)
        self.biases = nn.Parameter(torch.zeros(len(heights)))
        for height, weight in zip(heights, self.kernels, strict=True):
            if init == "identity":
                with torch.no_grad():
                    weight.zero_()[height // 2, (mixtures - 1) // 2] = 1
            elif init == "keras":
                glorot_(weight, height * mixtures, height * mixtures)
            else:
                nn.init.uniform_(weight, -((height * mixtures) ** -0.5), (height * mixtures) ** -0.5)
        # For the kernel: where in a kernel's row stands the weight of mixture i for mixture o.
        out, into = torch.meshgrid(torch.arange(mixtures), torch.arange(mixtures), indexing="ij")
        column = into - out + (mixtures - 1) // 2
        inside = (column >= 0) & (column < mixtures)
        self.register_buffer("column", torch.where(inside, column, mixtures), persistent=False)

    def forward(self, scores: Tensor) -> Tensor:
        """(B, H, N, p) to the same shape."""
        image, mixtures = scores.flatten(0, 1)[:, None], scores.shape[-1]
        before = (mixtures - 1) // 2
        maps = []
        for weight, bias in zip(self.kernels, self.biases, strict=True):
            margin = len(weight) // 2
            padded = functional.pad(image, (before, mixtures - 1 - before, margin, margin))
            maps.append(functional.conv2d(padded, weight[None, None], bias[None]))
        return torch.stack(maps).mean(0).view(scores.shape)


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
        self.height = 0 if convolution is None else max(len(weight) for weight in convolution.kernels)

    def refine(self, scores: Tensor) -> Tensor:
        return scores if self.convolution is None else self.convolution(scores)

    def refined(self, scores: Tensor) -> Tensor:
        if self.convolution is None:
            return scores
        return kernel.convolved(
            scores, list(self.convolution.kernels), self.convolution.biases, self.convolution.column
        )

    def score_kernel(self) -> Tensor | None:
        return None if self.convolution is None else kernel.mean_kernel(list(self.convolution.kernels))

    def closed(self, layout: Layout) -> Tensor | None:
        return self.key_projection.empty(layout) if isinstance(self.key_projection, PartitionedProjection) else None

    def partition(self, mask: Tensor, real_runs: bool) -> tuple[int | None, Tensor | None]:
        own = [e for e in (self.value_projection, self.key_projection) if isinstance(e, PartitionedProjection)]
        if not own:
            return None, None
        partitions, capacity = own[0].weight.shape[1:]
        place = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
        if real_runs:
            return partitions, place * partitions // mask.sum(1, keepdim=True).clamp(min=1)
        return partitions, place // capacity


class SalT(ProjectedTagger):
    """SAL-T for jets and point clouds: 3,264 parameters on 150 particles with 3 features and 5 classes.

    Args:
        n_features, n_classes: F and C.
        max_particles: n; partitions have c = ceil(n / p) slots. Shorter inputs give the same answer as padded ones.
        p: partitions.
        d_model, d_ff, heads, layers: d, hidden width of the feed-forward network, H, blocks.
        partition: block-diagonal E and F; "keys" or "values": only E or only F; False: both full, as in Linformer.
        conv_heights: h of each convolution of the scores; none: ``[]``. The author code has [1, 3, 5, 7, 9] in networks
            of several layers.
        conv_init: drawn: convolutions begin as ``init`` says, the author code; identity: scores stay as they are until
            the convolutions have learnt something, so that the network starts as the one without them.
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
        conv_init: Literal["drawn", "identity"] = "drawn",
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
            start = init if conv_init == "drawn" else conv_init
            convolution = ScoreConvolution(tuple(conv_heights), p, start) if conv_heights else None
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
