"""Tiles of packed rows in memory and in registers: what the kernels share."""

import triton
import triton.language as tl


@triton.jit
def load(x, row, width, rows, WIDTH: tl.constexpr):
    """(ROWS, WIDTH) of x (rows, width); zeros outside."""
    column = tl.arange(0, WIDTH)
    inside = (row < rows)[:, None] & (column < width)[None, :]
    return tl.load(x + row[:, None].to(tl.int64) * width + column[None, :], mask=inside, other=0.0)


@triton.jit
def store(x, value, row, width, rows, WIDTH: tl.constexpr):
    """What of the tile lies inside of x (rows, width)."""
    column = tl.arange(0, WIDTH)
    inside = (row < rows)[:, None] & (column < width)[None, :]
    at = x + row[:, None].to(tl.int64) * width + column[None, :]
    tl.store(at, value.to(x.dtype.element_ty), mask=inside)


@triton.jit
def vector(x, width, WIDTH: tl.constexpr):
    """(WIDTH,) in single precision of x (width,); zeros behind."""
    column = tl.arange(0, WIDTH)
    return tl.load(x + column, mask=column < width, other=0.0).to(tl.float32)


@triton.jit
def standardised(x, width, eps, WIDTH: tl.constexpr):
    """Rows less their mean over their deviation, and one over the deviation."""
    inside = (tl.arange(0, WIDTH) < width)[None, :]
    centred = tl.where(inside, x - (tl.sum(x, 1) / width)[:, None], 0.0)
    rstd = tl.rsqrt(tl.sum(centred * centred, 1) / width + eps)
    return centred * rstd[:, None], rstd


@triton.jit
def to_standardised(back, standard, rstd, width):
    """Gradient of the rows that were standardised, less what their mean and deviation take."""
    slope = tl.sum(back * standard, 1) / width
    return (back - (tl.sum(back, 1) / width)[:, None] - standard * slope[:, None]) * rstd[:, None]


@triton.jit
def kept(seed, row, begin, width, dropout, WIDTH: tl.constexpr):
    """Whether each of (ROWS, WIDTH) numbers from a column on, of rows of a width, is kept; a draw serves four columns.

    Columns begin at multiples of four.
    """
    fours = begin // 4 + tl.arange(0, WIDTH // 4)
    a, b, c, d = tl.rand4x(seed, row[:, None] * tl.cdiv(width, 4) + fours[None, :])
    numbers = tl.join(tl.join(a, b), tl.join(c, d))
    return tl.reshape(numbers, (row.shape[0], WIDTH)) >= dropout


@triton.jit
def dropped(x, seed, row, width, dropout, WIDTH: tl.constexpr):
    """Rows (ROWS, WIDTH) of which some numbers are zero and the others larger."""
    return tl.where(kept(seed, row, 0, width, dropout, WIDTH), x / (1.0 - dropout), 0.0)


@triton.jit
def normal(y):
    """Distribution function and density of the normal distribution."""
    return 0.5 * (1.0 + tl.erf(y * 0.7071067811865476)), 0.3989422804014327 * tl.exp(-0.5 * y * y)


@triton.jit
def gelu(y):
    """y times the distribution function (arXiv:1606.08415)."""
    below, _ = normal(y)
    return y * below
