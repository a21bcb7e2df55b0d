"""Linformer (arXiv:2006.04768) as the baseline of the SAL-T paper (arXiv:2510.23641) has it.

Keys and values of the n particles are projected to p mixtures of particles before the attention, so that its cost is
linear in n. The network around it is in :mod:`jetloom.models.dyntanh`, numbers (1) to (7) are shared with it.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from jetloom.errors import JetloomError
from jetloom.models.attention import CLOSED
from jetloom.models.dyntanh import Attention, Layout, SmallTagger, glorot_, keras_linear_
from jetloom.models.sorting import SortKey


class Projection(nn.Module):
    """E (or F): the rows of a sequence to p mixtures of them, one weight per head, mixture and row; no bias.

    Args:
        heads: H.
        mixtures: p.
        length: n.
        init: "keras" or "torch".
    """

    def __init__(self, heads: int, mixtures: int, length: int, init: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, length, mixtures))
        if init == "keras":
            # Keras counts the first axis of three as the receptive field.
            glorot_(self.weight, heads * length, heads * mixtures)
        else:
            nn.init.uniform_(self.weight, -1 / math.sqrt(length), 1 / math.sqrt(length))

    def mix(self, weight: Tensor, x: Tensor, layout: Layout) -> Tensor:
        """Weight (H, n, p) and rows (B, N, d), N <= n, to the mixtures (B, H, p, d)."""
        number, width = x.shape[1:]
        rows = x.transpose(1, 2).reshape(-1, number)
        mixtures = rows @ weight.transpose(0, 1).flatten(1)[:number]
        return mixtures.view(-1, width, len(weight), weight.shape[2]).permute(0, 2, 3, 1)


class ProjectedAttention(Attention):
    """Multi-head attention of all particles over p mixtures of particles.

    With q_h = x Wq_h (no bias; keys and values likewise) the paper's steps are

        (3)  K'_h = E_h k_h,  V'_h = F_h v_h
        (4)  S_h = q_h K'_h^T / sqrt(d_h),  A_h = softmax(refine(S_h)) over the p mixtures,
             output = concat_h(A_h V'_h) Wo + bo

    They are computed without any (B, n, d) query, key or value: mixing rows and mapping channels commute, so that
    S_h = x M_h^T with M_h = E_h x (Wk_h Wq_h^T) / sqrt(d_h) and the output is sum_h A_h U_h with U_h = F_h x
    (Wv_h Wo_h). What depends on n is three products with H p rows. Scores are kept as (B, H, p, n).

    Args:
        d_model: d.
        heads: H.
        key_projection, value_projection: E and F; F = None: E is used for both.
        init: "keras" or "torch".
    """

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

    def project(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """The mixtures E_h x and F_h x, each (B, H, p, d)."""
        first, second = self.key_projection, self.value_projection
        if second is None:
            mixtures = first.mix(first.weight, x, layout)
            return mixtures, mixtures
        if type(first) is type(second):
            return first.mix(torch.cat([first.weight, second.weight]), x, layout).chunk(2, 1)
        return first.mix(first.weight, x, layout), second.mix(second.weight, x, layout)

    def refine(self, scores: Tensor) -> Tensor:
        """What happens to the scores (B, H, p, N) before the softmax: here nothing."""
        return scores

    def closed(self, x: Tensor, layout: Layout) -> Tensor | None:
        """(B, p) bool, mixtures without any particle; None: there are none."""
        return None

    def weights(self, x: Tensor, keys: Tensor, layout: Layout) -> Tensor:
        """A, what each particle takes from each mixture: rows (B, N, d) and E x (B, H, p, d) to (B, H, p, N)."""
        query, key = (linear.weight.unflatten(0, (self.heads, -1)) for linear in (self.query, self.key))
        key_to_score = torch.einsum("hek,heq->hkq", key, query) * (x.shape[2] / self.heads) ** -0.5
        per_score = keys @ key_to_score
        scores = torch.bmm(per_score.flatten(1, 2), x.transpose(1, 2)).unflatten(1, (self.heads, -1))
        scores = self.refine(scores)
        closed = self.closed(x, layout)
        if closed is not None:
            scores = scores.masked_fill(closed[:, None, :, None], CLOSED)
        if torch.compiler.is_exporting():
            # onnxruntime transposes for a softmax over another than the last axis, which takes longer than these.
            likely = (scores - scores.amax(2, keepdim=True)).exp()
            return likely / likely.sum(2, keepdim=True)
        return scores.softmax(2)

    def shares(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, N), what particle i takes of particle l, mean over heads; rows add up to 1.

        i takes A_h[j, i] of mixture j, and mixture j takes |F_h[j, l]| / sum_l |F_h[j, l]| of l.
        """
        taken = self.weights(x, self.project(x, layout)[0], layout)
        projection = self.value_projection or self.key_projection
        # The mixtures of unit vectors are the weights of the projection, whatever its form.
        unit = torch.eye(x.shape[1], device=x.device, dtype=x.dtype).expand(len(x), -1, -1)
        unit = unit if layout.mask is None else unit * layout.mask[:, None]
        given = projection.mix(projection.weight, unit, layout).abs()
        given = given / given.sum(-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
        return torch.einsum("bhji,bhjl->bil", taken, given) / taken.shape[1]

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, d) to (B, N, d); padded rows of x must be zero where there is a mask."""
        keys, values = self.project(x, layout)
        value = self.value.weight.unflatten(0, (self.heads, -1))
        value_to_output = torch.einsum("hev,ohe->hvo", value, self.out.weight.unflatten(1, (self.heads, -1)))
        per_output = values @ value_to_output
        weights = self.weights(x, keys, layout).flatten(1, 2)
        attended = torch.bmm(per_output.flatten(1, 2).transpose(1, 2), weights.to(per_output.dtype))
        return (attended + self.out.bias[:, None]).transpose(1, 2)


class Linformer(SmallTagger):
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
