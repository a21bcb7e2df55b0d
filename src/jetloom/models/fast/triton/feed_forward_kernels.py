"""The feed-forward half of a block: what each program on the GPU computes.

With z = (x - mean) / deviation of each row, h = Dropout(GELU(U z + a)) and, where there is a second norm, h normalised
like x, the half is scale x + step Dropout(V h + b). Hidden values are computed some columns at a time and never stored.
Since V (h - mean) / deviation = (V h - mean V 1) / deviation, one pass over the columns is enough for the second norm.
"""

import triton
import triton.language as tl

from jetloom.models.fast.triton.tiles import dropped, kept, load, normal, standardised, store, to_standardised, vector


@triton.jit
def _block(x, column, width, columns, begin, WIDTH: tl.constexpr, CHUNK: tl.constexpr):
    """(WIDTH, CHUNK) of x (width, columns) from a column on; zeros outside."""
    of = begin + tl.arange(0, CHUNK)
    inside = (column < width)[:, None] & (of < columns)[None, :]
    return tl.load(x + column[:, None] * columns + of[None, :], mask=inside, other=0.0)


@triton.jit
def _hidden(
    standard, first, shift, seed, row, begin, width, hidden, dropout,
    DROPS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Of some hidden columns: U, the values after GELU and dropout, and their derivative; zeros behind the last."""
    of = begin + tl.arange(0, CHUNK)
    matrix = load(first, of, width, hidden, WIDTH)
    argument = tl.dot(standard, tl.trans(matrix), input_precision=EXACT)
    argument += tl.load(shift + of, mask=of < hidden, other=0.0).to(tl.float32)[None, :]
    below, density = normal(argument)
    value, slope = argument * below, below + argument * density
    if DROPS:
        stays = kept(seed, row, begin, hidden, dropout, CHUNK)
        value = tl.where(stays, value / (1.0 - dropout), 0.0)
        slope = tl.where(stays, slope / (1.0 - dropout), 0.0)
    return matrix, value, slope


@triton.jit(do_not_specialize=["rows"])
def forward(
    x, first, shift, second, sums, added, scale, seed_at, out, found, means, rstds,
    rows, width, hidden, eps, inner_eps, step, dropout,
    DROPS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """The half; with a second norm also V h, mean and one over the deviation for the backward pass."""
    channel = tl.arange(0, WIDTH)
    seed = tl.load(seed_at) if DROPS else 0
    total, offset = vector(sums, width, WIDTH), vector(added, width, WIDTH)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    given = load(x, row, width, rows, WIDTH).to(tl.float32)
    standard = standardised(given, width, eps, WIDTH)[0].to(first.dtype.element_ty)
    value = tl.zeros((ROWS, WIDTH), tl.float32)
    mean = tl.zeros((ROWS,), tl.float32)
    squares = tl.zeros((ROWS,), tl.float32)
    for begin in range(0, hidden, CHUNK):
        _, new, _ = _hidden(
            standard, first, shift, seed, row, begin, width, hidden, dropout, DROPS, WIDTH, CHUNK, EXACT
        )
        new = new.to(first.dtype.element_ty)
        block = _block(second, channel, width, hidden, begin, WIDTH, CHUNK)
        value += tl.dot(new, tl.trans(block), input_precision=EXACT)
        if found is not None:
            # Two sets of columns become one (Chan, Golub, LeVeque 1983).
            number = tl.minimum(hidden - begin, CHUNK).to(tl.float32)
            new = new.to(tl.float32)
            own = tl.sum(new, 1) / number
            centred = tl.where((begin + tl.arange(0, CHUNK) < hidden)[None, :], new - own[:, None], 0.0)
            off = own - mean
            squares += tl.sum(centred * centred, 1) + off * off * number * begin / (begin + number)
            mean += off * number / (begin + number)
    if found is not None:
        rstd = tl.rsqrt(squares / hidden + inner_eps)
        value = (value - mean[:, None] * total[None, :]) * rstd[:, None]
        store(found, value, row, width, rows, WIDTH)
        tl.store(means + row, mean, mask=row < rows)
        tl.store(rstds + row, rstd, mask=row < rows)
    value = (value + offset[None, :]) * step
    if DROPS:
        value = dropped(value, seed + 1, row, width, dropout, WIDTH)
    # Again from memory, which is nearer than a spilled register.
    given = load(x, row, width, rows, WIDTH).to(tl.float32)
    if scale is not None:
        given *= vector(scale, width, WIDTH)[None, :]
    store(out, given + value, row, width, rows, WIDTH)


@triton.jit
def _to_outer(to_out, seed, row, width, rows, step, dropout, DROPS: tl.constexpr, WIDTH: tl.constexpr):
    """Gradients of the answer and of V h + b."""
    given = load(to_out, row, width, rows, WIDTH).to(tl.float32)
    value = given * step
    if DROPS:
        value = dropped(value, seed + 1, row, width, dropout, WIDTH)
    return given, value


@triton.jit
def _to_argument(
    standard, to_value, level, rise, mean, rstd, first, shift, second, seed, row, begin, width, hidden, dropout,
    DROPS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Of some hidden columns: U, what V gets, and the gradient of what the GELU gets."""
    matrix, value, slope = _hidden(
        standard, first, shift, seed, row, begin, width, hidden, dropout, DROPS, WIDTH, CHUNK, EXACT
    )
    block = _block(second, tl.arange(0, WIDTH), width, hidden, begin, WIDTH, CHUNK)
    back = tl.dot(to_value, block, input_precision=EXACT)
    if mean is not None:
        value = (value - mean[:, None]) * rstd[:, None]
        back = (back - level[:, None] - value * rise[:, None]) * rstd[:, None]
    return matrix, value, back * slope


@triton.jit
def _norm_back(to_value, found, sums, means, rstds, row, width, hidden, rows, WIDTH: tl.constexpr):
    """What the statistics of the second norm take from the gradient, level + rise h, and those statistics.

    The gradient of h is to_value V: its mean, and that of its product with h, need only V 1 and V h.
    """
    if found is None:
        level, rise, mean, rstd = None, None, None, None
    else:
        level = tl.sum(to_value * vector(sums, width, WIDTH)[None, :], 1) / hidden
        rise = tl.sum(to_value * load(found, row, width, rows, WIDTH).to(tl.float32), 1) / hidden
        mean = tl.load(means + row, mask=row < rows, other=0.0)
        rstd = tl.load(rstds + row, mask=row < rows, other=0.0)
    return level, rise, mean, rstd


@triton.jit(do_not_specialize=["rows"])
def to_rows(
    x, first, shift, second, sums, scale, seed_at, found, means, rstds, to_out, to_x, to_added, to_scale,
    rows, width, hidden, eps, step, dropout,
    DROPS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Gradient of x and, for each tile of rows, those of b and of the scale (T, D)."""
    tile, channel = tl.program_id(0), tl.arange(0, WIDTH)
    inside = channel < width
    row = tile * ROWS + tl.arange(0, ROWS)
    seed = tl.load(seed_at) if DROPS else 0
    given = load(x, row, width, rows, WIDTH).to(tl.float32)
    standard = standardised(given, width, eps, WIDTH)[0].to(first.dtype.element_ty)
    to_given, to_value = _to_outer(to_out, seed, row, width, rows, step, dropout, DROPS, WIDTH)
    tl.store(to_added + tile * width + channel, tl.sum(to_value, 0), mask=inside)
    if scale is not None:
        tl.store(to_scale + tile * width + channel, tl.sum(to_given * given, 0), mask=inside)
    level, rise, mean, rstd = _norm_back(to_value, found, sums, means, rstds, row, width, hidden, rows, WIDTH)
    to_value = to_value.to(first.dtype.element_ty)
    back = tl.zeros((ROWS, WIDTH), tl.float32)
    for begin in range(0, hidden, CHUNK):
        matrix, _, to_argument = _to_argument(
            standard, to_value, level, rise, mean, rstd, first, shift, second, seed, row, begin, width, hidden,
            dropout, DROPS, WIDTH, CHUNK, EXACT,
        )  # fmt: skip
        back += tl.dot(to_argument.to(matrix.dtype), matrix, input_precision=EXACT)
    # Again from memory, which is nearer than a spilled register.
    standard, inverse = standardised(load(x, row, width, rows, WIDTH).to(tl.float32), width, eps, WIDTH)
    back = to_standardised(back, standard, inverse, width)
    to_given = load(to_out, row, width, rows, WIDTH).to(tl.float32)
    if scale is not None:
        to_given *= vector(scale, width, WIDTH)[None, :]
    store(to_x, to_given + back, row, width, rows, WIDTH)


@triton.jit(do_not_specialize=["rows", "tiles", "programs"])
def to_maps(
    x, first, shift, second, sums, seed_at, found, means, rstds, to_out, to_first, to_shift, to_second,
    rows, tiles, programs, width, hidden, eps, step, dropout,
    DROPS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Gradients of U (G, hidden, D), a (G, hidden) and V (G, D, hidden), some hidden columns in each program."""
    program, begin = tl.program_id(0), tl.program_id(1) * CHUNK
    channel, of = tl.arange(0, WIDTH), begin + tl.arange(0, CHUNK)
    seed = tl.load(seed_at) if DROPS else 0
    of_first = tl.zeros((CHUNK, WIDTH), tl.float32)
    of_second = tl.zeros((WIDTH, CHUNK), tl.float32)
    of_shift = tl.zeros((CHUNK,), tl.float32)
    for tile in range(program, tiles, programs):
        row = tile * ROWS + tl.arange(0, ROWS)
        given = load(x, row, width, rows, WIDTH).to(tl.float32)
        standard = standardised(given, width, eps, WIDTH)[0].to(first.dtype.element_ty)
        _, to_value = _to_outer(to_out, seed, row, width, rows, step, dropout, DROPS, WIDTH)
        level, rise, mean, rstd = _norm_back(to_value, found, sums, means, rstds, row, width, hidden, rows, WIDTH)
        to_value = to_value.to(first.dtype.element_ty)
        _, value, to_argument = _to_argument(
            standard, to_value, level, rise, mean, rstd, first, shift, second, seed, row, begin, width, hidden,
            dropout, DROPS, WIDTH, CHUNK, EXACT,
        )  # fmt: skip
        of_shift += tl.sum(to_argument, 0)
        of_first += tl.dot(tl.trans(to_argument.to(standard.dtype)), standard, input_precision=EXACT)
        of_second += tl.dot(tl.trans(to_value), value.to(standard.dtype), input_precision=EXACT)
    inside = of < hidden
    wide = channel < width
    tl.store(to_shift + program * hidden + of, of_shift, mask=inside)
    at = to_first + (program * hidden + of)[:, None] * width + channel[None, :]
    tl.store(at, of_first, mask=inside[:, None] & wide[None, :])
    at = to_second + (program * width + channel)[:, None] * hidden + of[None, :]
    tl.store(at, of_second, mask=wide[:, None] & inside[None, :])
