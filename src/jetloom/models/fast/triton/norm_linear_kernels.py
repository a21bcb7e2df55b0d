"""LayerNorm and the linear map behind it: what each program on the GPU computes."""

import triton
import triton.language as tl

from jetloom.models.fast.triton.tiles import load, standardised, store, to_standardised


@triton.jit
def _at(rows, row, of, number, columns):
    """Places of some columns of (number, columns), and which are inside."""
    inside = (row < number)[:, None] & (of < columns)[None, :]
    return rows + row[:, None].to(tl.int64) * columns + of[None, :], inside


@triton.jit(do_not_specialize=["rows"])
def forward(
    x, weight, bias, out, rows, width, columns, eps,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """z W^T + b of rows z of mean 0 and deviation 1, some columns at a time."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    given = load(x, row, width, rows, WIDTH).to(tl.float32)
    standard = standardised(given, width, eps, WIDTH)[0].to(weight.dtype.element_ty)
    for begin in range(0, columns, CHUNK):
        of = begin + tl.arange(0, CHUNK)
        matrix = load(weight, of, width, columns, WIDTH)
        value = tl.dot(standard, tl.trans(matrix), input_precision=EXACT)
        value += tl.load(bias + of, mask=of < columns, other=0.0).to(tl.float32)[None, :]
        at, inside = _at(out, row, of, rows, columns)
        tl.store(at, value.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def backward(
    x, weight, to_out, to_x, standards, rows, width, columns, eps,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Gradient of x, and z once more."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    back = tl.zeros((ROWS, WIDTH), tl.float32)
    for begin in range(0, columns, CHUNK):
        of = begin + tl.arange(0, CHUNK)
        at, inside = _at(to_out, row, of, rows, columns)
        given = tl.load(at, mask=inside, other=0.0).to(weight.dtype.element_ty)
        back += tl.dot(given, load(weight, of, width, columns, WIDTH), input_precision=EXACT)
    given = load(x, row, width, rows, WIDTH).to(tl.float32)
    standard, rstd = standardised(given, width, eps, WIDTH)
    store(standards, standard, row, width, rows, WIDTH)
    store(to_x, to_standardised(back, standard, rstd, width), row, width, rows, WIDTH)
