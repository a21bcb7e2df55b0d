"""Attention with a bias of pairs: what each program on the GPU computes.

A program has a tile of the particles of one jet, for one head, and goes over the tiles of all particles of the jet.
The bias is that of the unordered pair: of i and j <= i it lies at place i (i + 1) / 2 + j behind where the jet begins.
Scores are never stored; the backward pass computes them again, for a tile of queries and all keys, and for the same
tile as keys and all queries: so each number of a gradient has one program that adds it up, in one order.
"""

import triton
import triton.language as tl

# What differs from batch to batch must not have programs of its own where it happens to be a multiple of 16.

LOWEST = tl.constexpr(-1e30)
"""Score of what is not seen: its exponential is zero, and differences stay finite."""


@triton.jit
def _tile(x, row, column, real, dim, stride, DIM: tl.constexpr):
    """(BLOCK, DIM) of rows, from a column on; zeros where no particle is."""
    of_head = tl.arange(0, DIM)
    at = x + row[:, None].to(tl.int64) * stride + column + of_head[None, :]
    return tl.load(at, mask=real[:, None] & (of_head < dim)[None, :], other=0.0)


@triton.jit
def _store(x, value, row, column, real, dim, stride, DIM: tl.constexpr):
    of_head = tl.arange(0, DIM)
    at = x + row[:, None].to(tl.int64) * stride + column + of_head[None, :]
    tl.store(at, value.to(x.dtype.element_ty), mask=real[:, None] & (of_head < dim)[None, :])


@triton.jit
def _real(marks, first, place, count, MARKED: tl.constexpr):
    """Which places of a jet hold a particle."""
    inside = place < count
    if MARKED:
        inside = inside & (tl.load(marks + first + place, mask=inside, other=0) != 0)
    return inside


@triton.jit
def _pair(begin, i, j):
    """Place of the bias of each pair."""
    larger = tl.maximum(i[:, None], j[None, :])
    return begin + larger * (larger + 1) // 2 + tl.minimum(i[:, None], j[None, :])


@triton.jit
def _kept(seed, pair, head, pairs, later, dropout):
    """Whether each weight is kept: one draw for each ordered pair and head, the same whenever it is asked for."""
    number = (head * pairs + pair) * 2 + later.to(tl.int32)
    return tl.rand(seed, number) >= dropout


@triton.jit(do_not_specialize=["number", "pairs"])
def forward(
    rows, bias, marks, first_of, count_of, begin_of, seed_at, out, norms,
    number, pairs, width, dim, scale, dropout,
    MARKED: tl.constexpr, DROPS: tl.constexpr, BLOCK: tl.constexpr, DIM: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """softmax(q k^T scale + bias) v of a tile of queries, and the logarithm of the sum of exponentials."""
    jet, head = tl.program_id(0), tl.program_id(1)
    first, count, begin = tl.load(first_of + jet), tl.load(count_of + jet), tl.load(begin_of + jet)
    i = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    if tl.program_id(2) * BLOCK < count:
        seed = tl.load(seed_at)
        asks = _real(marks, first, i, count, MARKED)
        query = _tile(rows, first + i, head * dim, asks, dim, 3 * width, DIM)
        highest = tl.full((BLOCK,), LOWEST, tl.float32)
        total = tl.zeros((BLOCK,), tl.float32)
        sums = tl.zeros((BLOCK, DIM), tl.float32)
        for start in range(0, count, BLOCK):
            j = start + tl.arange(0, BLOCK)
            seen = _real(marks, first, j, count, MARKED)
            key = _tile(rows, first + j, width + head * dim, seen, dim, 3 * width, DIM)
            value = _tile(rows, first + j, 2 * width + head * dim, seen, dim, 3 * width, DIM)
            pair = _pair(begin, i, j)
            both = asks[:, None] & seen[None, :]
            added = tl.load(bias + head.to(tl.int64) * pairs + pair, mask=both, other=0.0).to(tl.float32)
            score = tl.dot(query, tl.trans(key), input_precision=EXACT) * scale + added
            score = tl.where(both, score, LOWEST)
            before, highest = highest, tl.maximum(highest, tl.max(score, 1))
            weight = tl.where(both, tl.exp(score - highest[:, None]), 0.0)
            shrunk = tl.exp(before - highest)
            total = total * shrunk + tl.sum(weight, 1)
            if DROPS:
                kept = _kept(seed, pair, head, pairs, i[:, None] < j[None, :], dropout)
                weight = tl.where(kept, weight / (1.0 - dropout), 0.0)
            sums = sums * shrunk[:, None] + tl.dot(weight.to(value.dtype), value, input_precision=EXACT)
        total = tl.maximum(total, 1e-30)
        _store(out, sums / total[:, None], first + i, head * dim, asks, dim, width, DIM)
        tl.store(norms + head.to(tl.int64) * number + first + i, highest + tl.log(total), mask=asks)


@triton.jit(do_not_specialize=["number", "pairs"])
def backward(
    rows, bias, marks, first_of, count_of, begin_of, seed_at, out, norms, to_out, to_rows, to_bias,
    number, pairs, width, dim, scale, dropout,
    MARKED: tl.constexpr, DROPS: tl.constexpr, BLOCK: tl.constexpr, DIM: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Gradients of the queries, keys and values of a tile, and of the bias of its pairs with no later particles."""
    jet, head = tl.program_id(0), tl.program_id(1)
    first, count, begin = tl.load(first_of + jet), tl.load(count_of + jet), tl.load(begin_of + jet)
    i = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    if tl.program_id(2) * BLOCK < count:
        seed = tl.load(seed_at)
        of_head, norm_of = head * dim, norms + head.to(tl.int64) * number + first
        mine = _real(marks, first, i, count, MARKED)
        query_i = _tile(rows, first + i, of_head, mine, dim, 3 * width, DIM)
        key_i = _tile(rows, first + i, width + of_head, mine, dim, 3 * width, DIM)
        value_i = _tile(rows, first + i, 2 * width + of_head, mine, dim, 3 * width, DIM)
        given_i = _tile(to_out, first + i, of_head, mine, dim, width, DIM)
        found_i = _tile(out, first + i, of_head, mine, dim, width, DIM)
        mean_i = tl.sum(given_i.to(tl.float32) * found_i.to(tl.float32), 1)
        norm_i = tl.load(norm_of + i, mask=mine, other=0.0)
        to_query = tl.zeros((BLOCK, DIM), tl.float32)
        to_key = tl.zeros((BLOCK, DIM), tl.float32)
        to_value = tl.zeros((BLOCK, DIM), tl.float32)
        for start in range(0, count, BLOCK):
            j = start + tl.arange(0, BLOCK)
            seen = _real(marks, first, j, count, MARKED)
            query_j = _tile(rows, first + j, of_head, seen, dim, 3 * width, DIM)
            key_j = _tile(rows, first + j, width + of_head, seen, dim, 3 * width, DIM)
            value_j = _tile(rows, first + j, 2 * width + of_head, seen, dim, 3 * width, DIM)
            given_j = _tile(to_out, first + j, of_head, seen, dim, width, DIM)
            found_j = _tile(out, first + j, of_head, seen, dim, width, DIM)
            mean_j = tl.sum(given_j.to(tl.float32) * found_j.to(tl.float32), 1)
            norm_j = tl.load(norm_of + j, mask=seen, other=0.0)
            pair = _pair(begin, i, j)
            both = mine[:, None] & seen[None, :]
            at = head.to(tl.int64) * pairs + pair
            added = tl.load(bias + at, mask=both, other=0.0).to(tl.float32)
            # Queries i, keys j.
            score = tl.dot(query_i, tl.trans(key_j), input_precision=EXACT) * scale + added
            weight = tl.where(both, tl.exp(score - norm_i[:, None]), 0.0)
            to_weight = tl.dot(given_i, tl.trans(value_j), input_precision=EXACT)
            if DROPS:
                kept = _kept(seed, pair, head, pairs, i[:, None] < j[None, :], dropout)
                to_weight = tl.where(kept, to_weight / (1.0 - dropout), 0.0)
            to_score = weight * (to_weight - mean_i[:, None])
            to_query += tl.dot(to_score.to(key_j.dtype), key_j, input_precision=EXACT)
            # Keys i, queries j, of which the same tile holds the transposed scores.
            score = tl.dot(key_i, tl.trans(query_j), input_precision=EXACT) * scale + added
            weight = tl.where(both, tl.exp(score - norm_j[None, :]), 0.0)
            to_weight = tl.dot(value_i, tl.trans(given_j), input_precision=EXACT)
            used = weight
            if DROPS:
                kept = _kept(seed, pair, head, pairs, j[None, :] < i[:, None], dropout)
                to_weight = tl.where(kept, to_weight / (1.0 - dropout), 0.0)
                used = tl.where(kept, weight / (1.0 - dropout), 0.0)
            to_value += tl.dot(used.to(given_j.dtype), given_j, input_precision=EXACT)
            to_mirrored = weight * (to_weight - mean_j[None, :])
            to_key += tl.dot(to_mirrored.to(query_j.dtype), query_j, input_precision=EXACT)
            to_pair = tl.where(i[:, None] == j[None, :], to_score, to_score + to_mirrored)
            lower = both & (j[None, :] <= i[:, None])
            tl.store(to_bias + at, to_pair.to(to_bias.dtype.element_ty), mask=lower)
        _store(to_rows, to_query * scale, first + i, of_head, mine, dim, 3 * width, DIM)
        _store(to_rows, to_key * scale, first + i, width + of_head, mine, dim, 3 * width, DIM)
        _store(to_rows, to_value, first + i, 2 * width + of_head, mine, dim, 3 * width, DIM)
