"""k-means (Lloyd, IEEE Trans. Inf. Theory 28 (1982) 129) with the start of k-means++ (Arthur, Vassilvitskii 2007)."""

import torch
from torch import Tensor

from jetloom.models.fast import full_precision, values_known

ROWS = 1 << 11
"""Points whose distances to all centres are in memory at once."""


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """(n,) index of the centre that is nearest to each point, (n, D) and (K, D); of equal ones the first."""
    with full_precision(points):
        points, centres = points.float(), centres.float()
        square = centres.square().sum(1)
        # |x - c|^2 less |x|^2, which is the same for all centres.
        some = points.split(ROWS) if values_known() else [points]
        parts = [torch.addmm(square, part, centres.mT, alpha=-2).argmin(1) for part in some]
    return torch.cat(parts) if parts else points.new_empty(0, dtype=torch.int64)


def spread_out(points: Tensor, number: int, seed: int) -> Tensor:
    """(K, D) of the points, each drawn with a probability that grows with its squared distance to those before."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [points[int(torch.randint(len(points), (), generator=generator))]]
    distance = points.new_full((len(points),), torch.inf)
    for _ in range(number - 1):
        distance = torch.minimum(distance, (points - chosen[-1]).square().sum(1))
        # Where all points are chosen already, any will do.
        weight = distance if distance.any() else torch.ones_like(distance)
        chosen.append(points[int(torch.multinomial(weight, 1, generator=generator))])
    return torch.stack(chosen)


def improved(points: Tensor, centres: Tensor, iterations: int) -> Tensor:
    """(K, D): each centre in the middle of the points that it is nearest to, so many times or until nothing moves.

    A centre without a point goes to one of those that lie farthest from theirs.
    """
    before = None
    for _ in range(iterations):
        index = nearest(points, centres)
        if before is not None and torch.equal(index, before):
            break
        before = index
        count = torch.bincount(index, minlength=len(centres))
        total = torch.zeros_like(centres).index_add_(0, index, points)
        empty = count == 0
        far = (points - centres[index]).square().sum(1).topk(min(int(empty.sum()), len(points))).indices
        centres = total / count.clamp(min=1)[:, None]
        centres[empty.nonzero()[: len(far), 0]] = points[far]
    return centres


def kmeans(points: Tensor, number: int, seed: int, iterations: int = 25) -> Tensor:
    """Centres of clusters.

    Args:
        points: (n, D), on the CPU; at least as many as centres.
        number: K.
        seed: of the start.
        iterations: at most.

    Returns:
        (K, D) float32.
    """
    points = points.float()
    return improved(points, spread_out(points, number, seed), iterations)
