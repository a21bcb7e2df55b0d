"""Attention within buckets of locality-sensitive hashing (Reformer, arXiv:2001.04451, section 2).

Queries are keys. Vectors that point in a similar direction probably fall into the same bucket; particles are sorted by
bucket, cut into chunks, and look at their own chunk and the one before.
"""

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.models.layers.attention import CLOSED

ITSELF = CLOSED / 2
"""Score of a particle with itself: it counts only where no other is in reach. Padding (CLOSED) never counts."""


def rotations(width: int, rounds: int, buckets: int, device: torch.device | None = None) -> Tensor:
    """Random directions (rounds, width, buckets / 2) of the hash: normal numbers."""
    return torch.randn(rounds, width, buckets // 2, device=device)


def hash_buckets(query: Tensor, directions: Tensor) -> Tensor:
    """Bucket of each vector in each round: argmax of [x R, -x R] (eq. 3 of the section).

    Args:
        query: (..., N, d).
        directions: (rounds, d, b / 2).

    Returns:
        (..., rounds, N) int64 in [0, b).
    """
    turned = torch.einsum("...nd,rdb->...rnb", query.detach().float(), directions)
    return torch.cat([turned, -turned], -1).argmax(-1)


def lsh_attend(query: Tensor, value: Tensor, mask: Tensor, directions: Tensor, chunk: int) -> Tensor:
    """Attention of particles over those of their hash bucket, rounds merged by their softmax normalisations.

    Departures from the public PyTorch port: the first chunk has none before it (there the last chunk, or that of
    another round, stands in), and padding is sorted behind all buckets; so the width of the padding does not matter.

    Args:
        query: (B, H, N, d), also the keys after division by their length.
        value: (B, H, N, d).
        mask: (B, N) bool.
        directions: (rounds, d, b / 2), from :func:`rotations`.
        chunk: particles per chunk.

    Returns:
        (B, H, N, d)
    """
    batch, heads, number, width = query.shape
    rounds, _, half = directions.shape
    bucket = hash_buckets(query, directions).masked_fill(~mask[:, None, None], 2 * half)
    # Within a bucket by slot: with no two keys alike any sort will do.
    order = (bucket * number + torch.arange(number, device=query.device)).argsort(dim=-1)
    back = order.argsort(dim=-1)

    def sorted_chunks(x: Tensor) -> Tensor:
        """(B, H, rounds, N, D) along the sorted order, cut into (B, H, rounds, chunks, chunk, D)."""
        x = x.gather(3, order[..., None].expand(*order.shape, x.shape[-1]))
        x = functional.pad(x, (0, 0, 0, -number % chunk)).unflatten(3, (-1, chunk))
        return x

    def with_previous(x: Tensor) -> Tensor:
        """(..., chunks, chunk, D) to (..., chunks, 2 chunk, D): the chunk before, then the chunk itself."""
        return torch.cat([functional.pad(x[..., :-1, :, :], (0, 0, 0, 0, 1, 0)), x], -2)

    every_round = (batch, heads, rounds, number)
    queries = sorted_chunks(query[:, :, None].expand(*every_round, width))
    values = with_previous(sorted_chunks(value[:, :, None].expand(*every_round, width)))
    keys = with_previous(functional.normalize(queries.float(), dim=-1).to(queries.dtype))
    slots = torch.arange(1, number + 1, device=query.device)
    # Slot numbers from 1, negative where padded; 0 is the padding of the last chunk and the chunk before the first.
    slots = torch.where(mask, slots, -slots)[:, None, None, :, None].expand(*every_round, 1)
    own = sorted_chunks(slots)
    seen = with_previous(own).transpose(-1, -2)
    scores = (queries @ keys.transpose(-1, -2)).float() * width**-0.5
    scores = scores.masked_fill(own == seen, ITSELF).masked_fill(seen <= 0, CLOSED)
    total = scores.logsumexp(-1, keepdim=True)
    out = ((scores - total).exp().to(values.dtype)) @ values

    def unsorted(x: Tensor) -> Tensor:
        x = x.flatten(3, 4)[..., :number, :]
        return x.gather(3, back[..., None].expand(*back.shape, x.shape[-1]))

    out, total = unsorted(out), unsorted(total)
    share = total.softmax(2).to(out.dtype)
    return (out * share).sum(2)
