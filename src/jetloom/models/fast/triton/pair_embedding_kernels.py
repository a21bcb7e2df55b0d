"""All layers of a pair embedding that only predicts: what each program on the GPU computes."""

import triton
import triton.language as tl

from jetloom.models.fast.triton.tiles import gelu, load, vector


@triton.jit(do_not_specialize=["rows", "tiles", "programs"])
def embedded(
    x, scale, shift, weights, shifts, last, last_shift, out,
    rows, before, after, layers, tiles, programs,
    ACTIVATED: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, AFTER: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Hidden maps (L, WIDTH, WIDTH), each with a GELU, and the last one, of scale x + shift; out is (after, rows).

    Channels that fill up a tile stay zero: so is the GELU of zero.
    """
    channel, of = tl.arange(0, WIDTH), tl.arange(0, AFTER)
    factor, offset = vector(scale, before, WIDTH), vector(shift, before, WIDTH)
    final, added = load(last, of, WIDTH, after, WIDTH), vector(last_shift, after, AFTER)
    for tile in range(tl.program_id(0), tiles, programs):
        row = tile * ROWS + tl.arange(0, ROWS)
        given = load(x, row, before, rows, WIDTH).to(tl.float32)
        hidden = (given * factor[None, :] + offset[None, :]).to(final.dtype)
        for layer in range(layers):
            matrix = load(weights, layer * WIDTH + channel, WIDTH, layers * WIDTH, WIDTH)
            value = tl.dot(hidden, tl.trans(matrix), input_precision=EXACT)
            value += vector(shifts + layer * WIDTH, WIDTH, WIDTH)[None, :]
            hidden = gelu(value).to(final.dtype)
        value = tl.dot(hidden, tl.trans(final), input_precision=EXACT) + added[None, :]
        if ACTIVATED:
            value = gelu(value)
        at = out + of[None, :].to(tl.int64) * rows + row[:, None]
        tl.store(at, value.to(out.dtype.element_ty), mask=(row < rows)[:, None] & (of < after)[None, :])
