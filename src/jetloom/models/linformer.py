"""Linformer (arXiv:2006.04768) as the baseline of the SAL-T paper (arXiv:2510.23641) has it.

Keys and values of the n particles are projected to p mixtures of particles before the attention, so that its cost is
linear in n. The network around it is in :mod:`jetloom.models.small_tagger`, numbers (1) to (7) are shared with it.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import mixtures as kernel
from jetloom.models.fast.triton import projected_tagger as on_gpu
from jetloom.models.layers.attention import CLOSED, joined, split
from jetloom.models.layers.init import glorot_, keras_linear_
from jetloom.models.layers.order import SortKey
from jetloom.models.layers.packing import zero_padding
from jetloom.models.small_tagger import Attention, Layout, SmallTagger


class Projection(nn.Module):
    """E (or F): the rows of a sequence to p mixtures of them, one weight per head, mixture and row; no bias.

    Args:
        heads: H.
        mixtures: p.
        length: n.
        init: "keras" or "torch".
    """

    capacity: int = 0
    """c, slots of a partition; 0: there is none, each mixture is of all rows."""

    def __init__(self, heads: int, mixtures: int, length: int, init: str) -> None:
        super().__init__()
        self.mixtures, self.length = mixtures, length
        self.weight = nn.Parameter(torch.empty(heads, length, mixtures))
        if init == "keras":
            # Keras counts the first axis of three as the receptive field.
            glorot_(self.weight, heads * length, heads * mixtures)
        else:
            nn.init.uniform_(self.weight, -1 / math.sqrt(length), 1 / math.sqrt(length))

    def matrix(self, number: int, layout: Layout) -> Tensor:
        """E_h for N <= n rows, broadcastable to (B, H, p, N)."""
        return self.weight[:, :number].mT

    def mixed(self, weight: Tensor, x: Tensor, layout: Layout) -> Tensor:
        """For the kernel: weights like this one's (H', n, p) times rows (B, N, d) to mixtures (B, H', p, d)."""
        return kernel.mixed(weight, x)


class ProjectedAttention(Attention):
    """Multi-head attention of all particles over p mixtures of particles.

    With q_h = x Wq_h (no bias; keys and values likewise) the paper's steps are

        (3)  K'_h = E_h k_h,  V'_h = F_h v_h
        (4)  S_h = q_h K'_h^T / sqrt(d_h),  A_h = softmax(refine(S_h)) over the p mixtures,
             output = concat_h(A_h V'_h) Wo + bo

    Args:
        d_model: d.
        heads: H.
        key_projection, value_projection: E and F; F = None: E is used for both.
        init: "keras" or "torch".
    """

    height: int = 0
    """For the kernel: h of :meth:`score_kernel`; 0: there is none."""

    def __init__(
        self, d_model: int, heads: int, key_projection: Projection, value_projection: Projection | None, init: str
    ) -> None:
        super().__init__()
        if heads < 1 or d_model % heads:
            raise JetloomError(f"heads = {heads} does not divide d_model = {d_model}")
        self.heads = heads
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model)
        self.key_projection, self.value_projection = key_projection, value_projection
        if init == "keras":
            for linear in (self.query, self.key, self.value, self.out):
                keras_linear_(linear)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, d) to (B, N, d); padded rows of x must be zero where there is a mask."""
        if kernel.serves():
            return kernel.attend(self, x, layout)
        values = self.value_matrix(x.shape[1], layout) @ split(self.value(x), self.heads)  # (3)
        out: Tensor = self.out(joined(self.weights(x, layout) @ values))  # (4)
        return out

    def weights(self, x: Tensor, layout: Layout) -> Tensor:
        """A, what each particle takes from each mixture: rows (B, N, d) to (B, H, N, p)."""
        query, key = split(self.query(x), self.heads), split(self.key(x), self.heads)
        keys = self.key_projection.matrix(x.shape[1], layout) @ key  # (3)
        scores = self.refine(query @ keys.mT / math.sqrt(query.shape[-1]))  # (4)
        closed = self.closed(layout)
        if closed is not None:
            scores = scores.masked_fill(closed[:, None, None], CLOSED)
        return scores.softmax(-1)

    def value_matrix(self, number: int, layout: Layout) -> Tensor:
        """F_h for N rows, broadcastable to (B, H, p, N)."""
        return (self.value_projection or self.key_projection).matrix(number, layout)

    def refine(self, scores: Tensor) -> Tensor:
        """What happens to the scores (B, H, N, p) before the softmax: here nothing."""
        return scores

    def refined(self, scores: Tensor) -> Tensor:
        """For the kernel: :meth:`refine` of scores kept as (B, H, p, N)."""
        return scores

    def score_kernel(self) -> Tensor | None:
        """For the kernel: the one (h, p) by which :meth:`refine` convolves scores, up to a bias; None: it does not."""
        return None

    def closed(self, layout: Layout) -> Tensor | None:
        """(B, p) bool, mixtures without any particle; None: there are none."""
        return None

    def shares(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, N), what particle i takes of particle l, mean over heads; rows add up to 1.

        i takes A_h[i, j] of mixture j, and mixture j takes |F_h[j, l]| / sum_l |F_h[j, l]| of l.
        """
        number = x.shape[1]
        given = self.value_matrix(number, layout).expand(len(x), -1, -1, -1).abs()
        if layout.mask is not None:
            given = given * layout.mask[:, None, None]
        given = given / given.sum(-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
        return (self.weights(x, layout) @ given).mean(1)


class ProjectedTagger(SmallTagger):
    """The frame around attention over mixtures of particles, :class:`ProjectedAttention`, in each block."""

    def forward(self, batch: Batch) -> Tensor:
        """Batch to what the head says, for classes the logits (B, C)."""
        if on_gpu.serves(self, batch.features):
            batch = self.fitted(batch if self.masked else zero_padding(batch))
            return on_gpu.logits(self, batch, self.order(batch))
        return super().forward(batch)


class Linformer(ProjectedTagger):
    """Linformer for jets and point clouds: 6,809 parameters on 150 particles with 3 features and 5 classes.

    Args:
        n_features, n_classes: F and C.
        max_particles: n, the number of rows of E and F. Fewer particles use the first rows.
        p: mixtures of particles, the rank of the projection.
        d_model, d_ff, heads, layers: d, hidden width of the feed-forward network, H, blocks.
        share: F = E.
        sort: order of the particles; auto: kt for jets, morton for points. E and F weigh particles by their place, so
            with "none" the answer depends on the order of the input.
        published_columns: features that hold pT, eta and phi, for the ``published_*`` keys, which sort standardised
            features as the author code does.
        mask: real: padded particles are left out of mixtures, scores and pooling. published: they are zero rows that
            take part in everything (the embedding's bias makes them visible), always up to n: the author code.
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
        share: bool = False,
        sort: SortKey = "auto",
        published_columns: tuple[int, ...] = (0, 1, 2),
        mask: Literal["real", "published"] = "real",
        init: Literal["keras", "torch"] = "keras",
    ) -> None:
        if min(p, max_particles, heads) < 1:
            raise JetloomError(f"p = {p}, max_particles = {max_particles} and heads = {heads} must be at least 1")

        def attention() -> ProjectedAttention:
            projections = [Projection(heads, p, max_particles, init) for _ in range(1 if share else 2)]
            return ProjectedAttention(d_model, heads, projections[0], None if share else projections[1], init)

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
            partitions=0,
            init=init,
        )
        self.ordered = sort == "none"
