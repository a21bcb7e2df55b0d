"""A whole SAL-T or Linformer of one block where it only predicts: what the program of a jet on the GPU computes.

It goes over the particles twice, a tile at a time: for the mixtures of them, and for all that follows. Their embedding
is computed again whenever it is asked for, so no particle is ever stored. The mixtures of all heads are the rows of one
matrix, head by head; its channels of other heads are zero, and so one product serves all heads. Numbers (2) to (7) are
those of the formulas.
"""

import triton
import triton.language as tl

FEATURES = tl.constexpr(16)
"""Of a tile: with more of them at a time a program for sm_90 has not enough registers (Triton 3.6 and 3.8, ptxas)."""
LOWEST = tl.constexpr(-1e30)
"""Score of what is no mixture: its exponential is zero, and differences stay finite."""
CLOSED = tl.constexpr(-1e4)
"""Score of a mixture without any particle."""


@triton.jit
def _matrix(x, rows, columns, kind, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """(ROWS, COLUMNS), zeros beyond what there is."""
    row, column = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    return tl.load(x + row[:, None] * columns + column[None, :], mask=inside, other=0.0).to(kind)


@triton.jit
def _vector(x, length, LENGTH: tl.constexpr):
    place = tl.arange(0, LENGTH)
    return tl.load(x + place, mask=place < length, other=0.0).to(tl.float32)


@triton.jit
def _product(x, y, sizes: tl.constexpr):
    """x y, both as precise as y is."""
    return tl.dot(x.to(y.dtype), y, input_precision=sizes.exact)


@triton.jit
def _tanh(x, alpha, beta):
    """tanh(alpha x + beta)."""
    return 2.0 * tl.sigmoid(2.0 * (tl.load(alpha).to(tl.float32) * x + tl.load(beta).to(tl.float32))) - 1.0


@triton.jit
def _taken(jets, first, place, number, sizes: tl.constexpr):
    """Rows of the batch from which the particles at some places of the order come, and which of them take part."""
    taken = (place >= 0) & (place < number)
    row = first + (tl.load(jets.order + first + place, mask=taken, other=0) if sizes.ordered else place)
    if sizes.masked:
        taken = taken & (tl.load(jets.marks + row, mask=taken, other=0) != 0)
    return row, taken


@triton.jit
def _last(jets, first, number, sizes: tl.constexpr):
    """Number of places up to the last particle that takes part."""
    last = number
    if sizes.masked:
        last = 0
        for start in range(0, number, sizes.block):
            place = start + tl.arange(0, sizes.block)
            _, taken = _taken(jets, first, place, number, sizes)
            last = tl.maximum(last, tl.max(tl.where(taken, place + 1, 0), 0))
    return last


@triton.jit
def _embedded(jets, weights, first, place, number, sizes: tl.constexpr):
    """(2): relu(W x + b) of particles (block, WIDTH), zero where none takes part; and which do."""
    row, taken = _taken(jets, first, place, number, sizes)
    block: tl.constexpr = sizes.block
    WIDTH: tl.constexpr = sizes.WIDTH
    channel = tl.arange(0, WIDTH)
    x = tl.zeros((block, WIDTH), tl.float32) + _vector(weights.embed_bias, sizes.width, sizes.WIDTH)
    for begin in range(0, sizes.inputs, FEATURES):
        feature = begin + tl.arange(0, FEATURES)
        inside = feature < sizes.inputs
        at = jets.features + row[:, None] * sizes.inputs + feature[None, :]
        given = tl.load(at, mask=taken[:, None] & inside[None, :], other=0.0)
        at = weights.embed + channel[None, :] * sizes.inputs + feature[:, None]
        weight = tl.load(at, mask=inside[:, None] & (channel < sizes.width)[None, :], other=0.0)
        x += _product(given, weight.to(given.dtype), sizes)
    return tl.where(taken[:, None], tl.maximum(x, 0.0), 0.0), taken


@triton.jit
def _of_mixtures(weight, place, number, capacity: tl.constexpr, sizes: tl.constexpr):
    """E (or F) (MIXTURES, block): what each mixture takes of the particles at some places.

    Where it is block-diagonal the weights of a head, partition by partition, lie in the order of the particles.
    """
    row = tl.arange(0, sizes.MIXTURES)
    head, mixture = (row // sizes.OF_HEAD)[:, None], (row % sizes.OF_HEAD)[:, None]
    inside = (head < sizes.heads) & (mixture < sizes.mixtures) & (place < number)[None, :]
    if capacity:
        inside = inside & (mixture == (place // capacity)[None, :])
        at = head * (sizes.mixtures * capacity) + place[None, :]
    else:
        at = (head * sizes.length + place[None, :]) * sizes.mixtures + mixture
    return tl.load(weight + at, mask=inside, other=0.0)


@triton.jit
def _mixed(jets, weights, first, last, number, sizes: tl.constexpr):
    """E x and F x (MIXTURES, WIDTH), and how many particles the partition of each mixture has."""
    MIXTURES: tl.constexpr = sizes.MIXTURES
    WIDTH: tl.constexpr = sizes.WIDTH
    of_keys = tl.zeros((MIXTURES, WIDTH), tl.float32)
    of_values = tl.zeros((MIXTURES, WIDTH), tl.float32)
    filled = tl.zeros((MIXTURES,), tl.int32)
    for start in range(0, last, sizes.block):
        place = start + tl.arange(0, sizes.block)
        x, taken = _embedded(jets, weights, first, place, number, sizes)
        x = x.to(jets.features.dtype.element_ty)
        of_keys += _product(_of_mixtures(weights.to_keys, place, number, sizes.capacity_of_keys, sizes), x, sizes)
        of_values += _product(_of_mixtures(weights.to_values, place, number, sizes.capacity_of_values, sizes), x, sizes)
        if sizes.closes:
            partition = tl.arange(0, sizes.MIXTURES) % sizes.OF_HEAD
            stands = taken[None, :] & (partition[:, None] == (place // sizes.capacity_of_keys)[None, :])
            filled += tl.sum(stands.to(tl.int32), 1)
    return of_keys, of_values, filled


@triton.jit
def _of_own_head(x, sizes: tl.constexpr):
    """(MIXTURES, WIDTH) with zeros in the channels of other heads."""
    head = tl.arange(0, sizes.MIXTURES) // sizes.OF_HEAD
    of = tl.arange(0, sizes.WIDTH) // (sizes.width // sizes.heads)
    return tl.where(head[:, None] == of[None, :], x, 0.0)


@triton.jit
def _line(weights, line, kind, sizes: tl.constexpr):
    """A line of the kernel of (4') (MIXTURES, MIXTURES): what each new score takes of the scores of its head."""
    row = tl.arange(0, sizes.MIXTURES)
    out, into = row[:, None], row[None, :]
    column = into - out + (sizes.mixtures - 1) // 2
    inside = (out // sizes.OF_HEAD == into // sizes.OF_HEAD) & (column >= 0) & (column < sizes.mixtures)
    inside = inside & (out % sizes.OF_HEAD < sizes.mixtures) & (into % sizes.OF_HEAD < sizes.mixtures)
    return tl.load(weights.score_kernel + line * sizes.mixtures + column, mask=inside, other=0.0).to(kind)


@triton.jit
def _softmax(scores, sizes: tl.constexpr):
    """Over the mixtures of each head (block, MIXTURES)."""
    block: tl.constexpr = sizes.block
    MIXTURES: tl.constexpr = sizes.MIXTURES
    OF_HEAD: tl.constexpr = sizes.OF_HEAD
    mixture = tl.arange(0, MIXTURES) % OF_HEAD
    scores = tl.where((mixture < sizes.mixtures)[None, :], scores, LOWEST)
    scores = tl.reshape(scores, (block, MIXTURES // OF_HEAD, OF_HEAD))
    likely = tl.exp(scores - tl.max(scores, 2)[:, :, None])
    return tl.reshape(likely / tl.sum(likely, 2)[:, :, None], (block, MIXTURES))


@triton.jit(do_not_specialize=["number"])
def logits(jets, weights, answer, number, sizes: tl.constexpr):
    """All of the network for one jet with so many places: what it gives for each class."""
    block: tl.constexpr = sizes.block
    MIXTURES: tl.constexpr = sizes.MIXTURES
    WIDTH: tl.constexpr = sizes.WIDTH
    jet = tl.program_id(0).to(tl.int64)
    first = jet * number
    kind = jets.features.dtype.element_ty
    last = _last(jets, first, number, sizes)
    of_keys, of_values, filled = _mixed(jets, weights, first, last, number, sizes)

    # (3): the scores of x are x per_score^T, and per_output is what is taken of each mixture.
    query = _matrix(weights.query, sizes.width, sizes.width, kind, sizes.WIDTH, sizes.WIDTH)
    key = _matrix(weights.key, sizes.width, sizes.width, kind, sizes.WIDTH, sizes.WIDTH)
    value = _matrix(weights.value, sizes.width, sizes.width, kind, sizes.WIDTH, sizes.WIDTH)
    out = _matrix(weights.out, sizes.width, sizes.width, kind, sizes.WIDTH, sizes.WIDTH)
    keys = _of_own_head(_product(of_keys, tl.trans(key), sizes), sizes)
    values = _of_own_head(_product(of_values, tl.trans(value), sizes), sizes)
    per_score = (_product(keys, query, sizes) * (sizes.width // sizes.heads) ** -0.5).to(kind)
    per_output = _product(values, tl.trans(out), sizes).to(kind)

    fc1 = _matrix(weights.fc1, sizes.hidden, sizes.width, kind, sizes.HIDDEN, sizes.WIDTH)
    fc2 = _matrix(weights.fc2, sizes.width, sizes.hidden, kind, sizes.WIDTH, sizes.HIDDEN)
    # tanh never falls below -1.
    pooled = tl.full((WIDTH,), -1.0, tl.float32)
    for start in range(0, last, sizes.block):
        place = start + tl.arange(0, sizes.block)
        x, taken = _embedded(jets, weights, first, place, number, sizes)
        if sizes.height:
            # A bias, the same for all mixtures, would change nothing behind the softmax.
            scores = tl.zeros((block, MIXTURES), tl.float32)
            for line in range(sizes.height):
                near, _ = _embedded(jets, weights, first, place + line - sizes.height // 2, number, sizes)
                of_line = _product(_line(weights, line, kind, sizes), per_score, sizes).to(kind)
                scores += _product(near, tl.trans(of_line), sizes)
        else:
            scores = _product(x, tl.trans(per_score), sizes)
        if sizes.closes:
            scores = tl.where((filled > 0)[None, :], scores, CLOSED)
        x += _product(_softmax(scores, sizes), per_output, sizes)  # (4)
        x += _vector(weights.out_bias, sizes.width, sizes.WIDTH)[None, :]
        x = _tanh(x, weights.alpha1, weights.beta1)  # (5)
        inner = _product(x, tl.trans(fc1), sizes) + _vector(weights.fc1_bias, sizes.hidden, sizes.HIDDEN)[None, :]
        x += _product(tl.maximum(inner, 0.0), tl.trans(fc2), sizes)
        x += _vector(weights.fc2_bias, sizes.width, sizes.WIDTH)[None, :]
        x = _tanh(x, weights.alpha2, weights.beta2)  # (6)
        pooled = tl.maximum(pooled, tl.max(tl.where(taken[:, None], x, -1.0), 0))  # (7)

    head1 = _matrix(weights.head1, sizes.width, sizes.width, tl.float32, sizes.WIDTH, sizes.WIDTH)
    head2 = _matrix(weights.head2, sizes.classes, sizes.width, tl.float32, sizes.CLASSES, sizes.WIDTH)
    found = tl.maximum(tl.sum(head1 * pooled[None, :], 1) + _vector(weights.head1_bias, sizes.width, sizes.WIDTH), 0.0)
    found = tl.sum(head2 * found[None, :], 1) + _vector(weights.head2_bias, sizes.classes, sizes.CLASSES)
    of = tl.arange(0, sizes.CLASSES)
    tl.store(answer + jet * sizes.classes + of, found.to(answer.dtype.element_ty), mask=of < sizes.classes)
