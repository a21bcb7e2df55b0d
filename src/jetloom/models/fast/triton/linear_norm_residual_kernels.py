"""Linear map, LayerNorm, dropout and residual: what each program on the GPU computes."""

import triton
import triton.language as tl

from jetloom.models.fast.triton.tiles import dropped, load, standardised, store, to_standardised, vector


@triton.jit
def _normed(attended, weight, bias, row, width, rows, eps, WIDTH: tl.constexpr, EXACT: tl.constexpr):
    """The map, its rows of mean 0 and deviation 1, and one over the deviation."""
    matrix = load(weight, tl.arange(0, WIDTH), width, width, WIDTH)
    given = load(attended, row, width, rows, WIDTH)
    value = tl.dot(given, tl.trans(matrix), input_precision=EXACT) + vector(bias, width, WIDTH)[None, :]
    standard, rstd = standardised(value, width, eps, WIDTH)
    return matrix, standard, rstd


@triton.jit(do_not_specialize=["rows"])
def forward(
    attended, weight, bias, gamma, beta, x, seed_at, out, rows, width, eps, dropout,
    DROPS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """x + Dropout(gamma z + beta)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    _, value, _ = _normed(attended, weight, bias, row, width, rows, eps, WIDTH, EXACT)
    value = value * vector(gamma, width, WIDTH)[None, :] + vector(beta, width, WIDTH)[None, :]
    if DROPS:
        value = dropped(value, tl.load(seed_at), row, width, dropout, WIDTH)
    store(out, load(x, row, width, rows, WIDTH).to(tl.float32) + value, row, width, rows, WIDTH)


@triton.jit(do_not_specialize=["rows", "tiles"])
def backward(
    attended, weight, bias, gamma, seed_at, to_out, to_attended, to_value, sums, rows, tiles, width, eps, dropout,
    DROPS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Gradients of what comes in and of what the map makes of it; for each tile those of gamma, beta, b (3, T, D)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    matrix, standard, rstd = _normed(attended, weight, bias, row, width, rows, eps, WIDTH, EXACT)
    given = load(to_out, row, width, rows, WIDTH).to(tl.float32)
    if DROPS:
        given = dropped(given, tl.load(seed_at), row, width, dropout, WIDTH)
    back = to_standardised(given * vector(gamma, width, WIDTH)[None, :], standard, rstd, width)
    channel = tl.arange(0, WIDTH)
    at, inside = sums + tl.program_id(0) * width + channel, channel < width
    tl.store(at, tl.sum(given * standard, 0), mask=inside)
    tl.store(at + tiles * width, tl.sum(given, 0), mask=inside)
    tl.store(at + 2 * tiles * width, tl.sum(back, 0), mask=inside)
    factor = back.to(matrix.dtype)
    store(to_value, factor, row, width, rows, WIDTH)
    store(to_attended, tl.dot(factor, matrix, input_precision=EXACT), row, width, rows, WIDTH)
