"""Linear map, batch normalisation and GELU of rows: what each program on the GPU computes.

Programs are few; each goes over tiles of rows and keeps what it sums over them in its registers.
"""

import triton
import triton.language as tl

from jetloom.models.fast.triton.tiles import gelu, load, normal, store, vector


@triton.jit
def _weighed(marks, row, rows, MARKED: tl.constexpr):
    """1 for rows that count in the statistics."""
    weight = (row < rows).to(tl.float32)
    if MARKED:
        weight *= tl.load(marks + row, mask=row < rows, other=0).to(tl.float32)
    return weight


@triton.jit(do_not_specialize=["rows", "tiles", "programs"])
def products(
    x, weight, bias, marks, y, sums,
    rows, before, after, tiles, programs,
    MARKED: tl.constexpr, ROWS: tl.constexpr, BEFORE: tl.constexpr, AFTER: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """y = x W^T + b; for each program how many rows count, their mean and their summed squares about it (3, G, D)."""
    program = tl.program_id(0)
    of = tl.arange(0, AFTER)
    matrix = load(weight, of, before, after, BEFORE)
    offset = vector(bias, after, AFTER)
    number = 0.0
    mean = tl.zeros((AFTER,), tl.float32)
    squares = tl.zeros((AFTER,), tl.float32)
    for tile in range(program, tiles, programs):
        row = tile * ROWS + tl.arange(0, ROWS)
        found = tl.dot(load(x, row, before, rows, BEFORE), tl.trans(matrix), input_precision=EXACT) + offset[None, :]
        stored = found.to(y.dtype.element_ty)
        store(y, stored, row, after, rows, AFTER)
        value, counts = stored.to(tl.float32), _weighed(marks, row, rows, MARKED)
        new = tl.sum(counts, 0)
        own = tl.sum(value * counts[:, None], 0) / tl.maximum(new, 1.0)
        centred = (value - own[None, :]) * counts[:, None]
        # Two sets of rows become one (Chan, Golub, LeVeque 1983).
        together = tl.maximum(number + new, 1.0)
        off = own - mean
        squares += tl.sum(centred * centred, 0) + off * off * number * new / together
        mean += off * new / together
        number += new
    at = program * after + of
    tl.store(sums + at, tl.zeros((AFTER,), tl.float32) + number, mask=of < after)
    tl.store(sums + programs * after + at, mean, mask=of < after)
    tl.store(sums + 2 * programs * after + at, squares, mask=of < after)


@triton.jit(do_not_specialize=["rows", "tiles", "programs"])
def activated(y, scale, shift, out, rows, after, tiles, programs, ROWS: tl.constexpr, AFTER: tl.constexpr):
    """GELU(scale y + shift)."""
    factor, offset = vector(scale, after, AFTER), vector(shift, after, AFTER)
    for tile in range(tl.program_id(0), tiles, programs):
        row = tile * ROWS + tl.arange(0, ROWS)
        value = load(y, row, after, rows, AFTER).to(tl.float32) * factor[None, :] + offset[None, :]
        store(out, gelu(value), row, after, rows, AFTER)


@triton.jit
def _to_normalised(y, to_out, row, scale, shift, after, rows, AFTER: tl.constexpr):
    """Gradient of what the GELU gets, and y."""
    given = load(to_out, row, after, rows, AFTER).to(tl.float32)
    value = load(y, row, after, rows, AFTER).to(tl.float32)
    argument = value * scale[None, :] + shift[None, :]
    below, density = normal(argument)
    return given * (below + argument * density), value


@triton.jit(do_not_specialize=["rows", "tiles", "programs"])
def sums_back(
    y, to_out, scale, shift, mean, sums, rows, after, tiles, programs, ROWS: tl.constexpr, AFTER: tl.constexpr
):
    """For each program the sums of the gradient of what the GELU gets, and of it times y - mean (2, G, D)."""
    program = tl.program_id(0)
    of = tl.arange(0, AFTER)
    factor, offset, centre = vector(scale, after, AFTER), vector(shift, after, AFTER), vector(mean, after, AFTER)
    plain = tl.zeros((AFTER,), tl.float32)
    times = tl.zeros((AFTER,), tl.float32)
    for tile in range(program, tiles, programs):
        row = tile * ROWS + tl.arange(0, ROWS)
        back, value = _to_normalised(y, to_out, row, factor, offset, after, rows, AFTER)
        plain += tl.sum(back, 0)
        times += tl.sum(back * (value - centre[None, :]), 0)
    at = program * after + of
    tl.store(sums + at, plain, mask=of < after)
    tl.store(sums + programs * after + at, times, mask=of < after)


@triton.jit(do_not_specialize=["rows", "tiles", "programs"])
def back(
    x, weight, y, to_out, scale, shift, mean, constant, slope, marks, to_x, to_weight,
    rows, before, after, tiles, programs,
    MARKED: tl.constexpr, ROWS: tl.constexpr, BEFORE: tl.constexpr, AFTER: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Gradients of x, and of W for each program (G, D, K).

    That of y is scale times that of what the GELU gets, less what the statistics take: constant + slope (y - mean).
    """
    program = tl.program_id(0)
    of = tl.arange(0, AFTER)
    matrix = load(weight, of, before, after, BEFORE)
    factor, offset, centre = vector(scale, after, AFTER), vector(shift, after, AFTER), vector(mean, after, AFTER)
    level, rise = vector(constant, after, AFTER), vector(slope, after, AFTER)
    total = tl.zeros((AFTER, BEFORE), tl.float32)
    for tile in range(program, tiles, programs):
        row = tile * ROWS + tl.arange(0, ROWS)
        given, value = _to_normalised(y, to_out, row, factor, offset, after, rows, AFTER)
        counts = _weighed(marks, row, rows, MARKED)
        taken = (level[None, :] + rise[None, :] * (value - centre[None, :])) * counts[:, None]
        to_y = (given * factor[None, :] - taken).to(matrix.dtype)
        store(to_x, tl.dot(to_y, matrix, input_precision=EXACT), row, before, rows, BEFORE)
        total += tl.dot(tl.trans(to_y), load(x, row, before, rows, BEFORE), input_precision=EXACT)
    column = tl.arange(0, BEFORE)
    at = to_weight + (program * after + of)[:, None] * before + column[None, :]
    tl.store(at, total, mask=(of < after)[:, None] & (column < before)[None, :])
