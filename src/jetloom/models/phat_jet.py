"""PHAT-JeT (arXiv:2605.21789), the successor of SAL-T by its authors, from the equations of its public code.

Particles are sorted and cut into patches of P; the numbers are the steps of its block:

1. h += LN(W (c + b)): messages on a grid, c_i = sum_j K[u_j - u_i, w_j - w_i] h_j over the particles j whose cell lies
   within the kernel around that of i, with one weight for each channel;
2. h += attention of LN1(h) among the particles of a patch;
3. h += what attention among the patches makes of one token for each, the same for all of its particles;
4. h += W2 GELU(W1 LN2(h)).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import grid as kernel
from jetloom.models.layers.attention import attend, key_bias
from jetloom.models.layers.init import glorot_, keras_linear_
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.order import SortKey, largest_first, real_first, sort_key, take
from jetloom.models.layers.packing import lengthened, of_length, zero_padding
from jetloom.models.layers.readout import mean_of_real
from jetloom.models.network import Encoded, Network

KERNEL = 8
BEFORE = 3
"""Cells of the kernel before its own: an even kernel has one more behind."""
EPSILON = 1e-6


class GridMessages(nn.Module):
    """(1): a depthwise convolution over the cells of a grid, each of which holds the sum of its particles.

    Args:
        width: d.
        cell: edge of a cell, in the unit of the coordinates.
    """

    def __init__(self, width: int, cell: float) -> None:
        super().__init__()
        self.cell = cell
        self.kernel = nn.Parameter(torch.empty(KERNEL, KERNEL, width))
        self.bias = nn.Parameter(torch.zeros(width))
        glorot_(self.kernel, KERNEL**2 * width, KERNEL**2)
        self.pointwise = nn.Linear(width, width)
        self.norm = LayerNorm(width, eps=EPSILON)

    def forward(self, h: Tensor, coordinates: Tensor, mask: Tensor) -> Tensor:
        """Messages (B, N, d) from h (B, N, d), coordinates (B, N, 2) and which particles send (B, N)."""
        far = torch.finfo(coordinates.dtype).max
        first = coordinates.masked_fill(~mask[..., None], far).amin(1, keepdim=True)
        cells = ((coordinates - first) / self.cell).floor()
        if kernel.serves(h):
            received = kernel.received(self.kernel, cells, h.masked_fill(~mask[..., None], 0.0), BEFORE)
        else:
            received = self.received(cells, h, mask)
        message: Tensor = self.norm(self.pointwise(received + self.bias))
        return message

    def received(self, cells: Tensor, h: Tensor, mask: Tensor) -> Tensor:
        """The sum over j in (1)."""
        # What j's cell is from that of i, (B, N, N, 2); outside of the kernel there is no message.
        place = cells[:, None] - cells[:, :, None] + BEFORE
        inside = ((place >= 0) & (place < KERNEL)).all(-1) & mask[:, None]
        row, column = place.clamp(0, KERNEL - 1).unbind(-1)
        place = (row * KERNEL + column).long()
        weight = self.kernel.flatten(0, 1)[place.masked_fill(~inside, 0)] * inside[..., None].to(h.dtype)
        return torch.einsum("bijd,bjd->bid", weight, h)


class Attention(nn.Module):
    """Multi-head attention with biases.

    Args:
        width: d.
        heads: H.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """(B, N, d) to (B, N, d); ``real`` (B, N): the keys that are open, None: all."""
        bias = None if real is None else key_bias(real)
        attended: Tensor = self.out(attend(self.query(x), self.key(x), self.value(x), self.heads, bias))
        return attended


class Tokens(nn.Module):
    """One vector for each patch.

    Args:
        width: d.
        kind: mean or max of its particles, or a mean with learned weights.
    """

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.score = nn.Linear(width, 1) if kind == "learned_pool" else None

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """(G, P, d) and which are particles (G, P), None: all, to (G, d); zero of a patch without any."""
        if self.score is not None:
            score: Tensor = self.score(x)
            score = score if real is None else score.masked_fill(~real[..., None], torch.finfo(score.dtype).min)
            weight = score.softmax(1)
            weighted = weight * x if real is None else (weight * x).masked_fill(~real[..., None], 0.0)
            return weighted.sum(1)
        if real is None:
            return x.amax(1) if self.kind == "max" else x.mean(1)
        if self.kind == "mean":
            return mean_of_real(x.masked_fill(~real[..., None], 0.0), real)
        largest = x.masked_fill(~real[..., None], torch.finfo(x.dtype).min).amax(1)
        return largest.masked_fill(~real.any(1)[:, None], 0.0)


class Block(nn.Module):
    """Steps 1 to 4.

    Args:
        width, heads, hidden: d, H and the width of the feed-forward network.
        cell: of the grid.
        patch: P.
        tokens, gate: as of the network.
    """

    def __init__(self, width: int, heads: int, hidden: int, cell: float, patch: int, tokens: str, gate: bool) -> None:
        super().__init__()
        self.patch = patch
        self.grid = GridMessages(width, cell)
        self.norm1, self.norm2 = LayerNorm(width, eps=EPSILON), LayerNorm(width, eps=EPSILON)
        self.within, self.among = Attention(width, heads), Attention(width, heads)
        self.tokens = Tokens(width, tokens)
        self.projection = nn.Linear(width, width)
        self.gate = nn.Linear(width, width) if gate else None
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, h: Tensor, coordinates: Tensor, sends: Tensor, real: Tensor | None) -> Tensor:
        """(B, N, d) to (B, N, d).

        Args:
            h: sorted particles.
            coordinates: (B, N, 2).
            sends: (B, N), who takes part in the messages on the grid.
            real: (B, N), who takes part in everything else; None: all slots.
        """
        number = h.shape[1]
        patches = self.patches(number)
        h = h + self.grid(h, coordinates, sends)  # (1)
        open_keys = None if real is None else self.patched(real[..., None])[..., 0]
        told = self.within(self.patched(self.norm1(h)), open_keys)
        h = h + told.reshape(h.shape[0], -1, h.shape[2])[:, :number]  # (2)
        normed = self.norm1(h)
        tokens = self.tokens(self.patched(normed), open_keys).unflatten(0, (-1, patches))
        filled = None if open_keys is None else open_keys.any(1).unflatten(0, (-1, patches))
        message = self.projection(self.among(tokens, filled)).repeat_interleave(self.patch, 1)[:, :number]
        h = h + (message if self.gate is None else message * torch.sigmoid(self.gate(normed)))  # (3)
        inner: Tensor = self.fc2(functional.gelu(self.fc1(self.norm2(h))))  # (4)
        return h + inner

    def patches(self, number: int) -> int:
        """How many hold so many particles; ONNX rounds negative quotients otherwise than Python."""
        return (number + self.patch - 1) // self.patch

    def patched(self, x: Tensor) -> Tensor:
        """(B, N, D) to (B N / P, P, D), with zero rows behind the last particles."""
        patches = self.patches(x.shape[1])
        whole = lengthened(x, patches * self.patch - x.shape[1])
        return whole.reshape(-1, self.patch, x.shape[2])


class PhatJet(Network):
    """PHAT-JeT: 6,405 parameters with 3 features and 5 classes.

    Args:
        n_features, n_classes: F and C.
        max_particles: length that ``mask: published`` pads to.
        d_model, d_ff, heads, layers: d, hidden width of the feed-forward network, H, blocks.
        patch: P.
        cell: edge of a cell of the grid, in the unit of its coordinates.
        grid: features: coordinates are two columns of the features, scaled as these are (the author code); jet: deta
            and dphi.
        tokens: what stands for a patch among patches.
        gate: whether particles weigh what their patch tells them. The paper prints two networks as its main one: mean
            without gate, learned_pool with gate.
        pool: of the particles, in front of the head.
        sort: order of the particles; auto: kt. With "none" the answer depends on the order of the input.
        published_columns: features that hold pT, eta and phi, for the grid and the ``published_*`` keys.
        mask: real: padding takes part in nothing. published: the author code's script, in which it takes part in
            everything, as zero rows always up to ``max_particles``.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        max_particles: int = 150,
        d_model: int = 16,
        d_ff: int = 64,
        heads: int = 4,
        layers: int = 1,
        patch: int = 10,
        cell: float = 0.2,
        grid: Literal["features", "jet"] = "features",
        tokens: Literal["mean", "max", "learned_pool"] = "mean",
        gate: bool = False,
        pool: Literal["mean", "max"] = "mean",
        sort: SortKey = "auto",
        published_columns: tuple[int, ...] = (0, 1, 2),
        mask: Literal["real", "published"] = "real",
    ) -> None:
        super().__init__(jet_width=d_model, particle_width=d_model)
        if d_model % heads:
            raise JetloomError(f"heads = {heads} does not divide d_model = {d_model}")
        if min(patch, max_particles, layers) < 1 or cell <= 0:
            raise JetloomError(f"patch = {patch}, layers = {layers} and cell = {cell} must be positive")
        if len(published_columns) != 3 or (grid == "features" and max(published_columns) >= n_features):
            raise JetloomError(
                f"published_columns: expected those of pT, eta and phi among {n_features} features, got "
                f"{list(published_columns)}; with grid: jet the coordinates are deta and dphi"
            )
        self.max_particles, self.sort, self.published_columns = max_particles, sort, published_columns
        self.grid_of_features, self.largest = grid == "features", pool == "max"
        self.masked = mask == "real"
        self.reads_padding, self.ordered = not self.masked, sort == "none"
        self.embed = nn.Linear(n_features, d_model)
        self.blocks = nn.ModuleList(Block(d_model, heads, d_ff, cell, patch, tokens, gate) for _ in range(layers))
        self.head = nn.Sequential(nn.Linear(d_model, d_model), nn.ReLU(), nn.Linear(d_model, n_classes))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                keras_linear_(module)

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the last block, in the network's order, and their mean or maximum.

        Uses features and mask, vectors and coordinates for the sort, and the coordinates of the grid.

        Raises:
            JetloomError: a jet is longer than ``max_particles``.
        """
        batch = of_length(zero_padding(batch), self.max_particles, type(self).__name__, exactly=not self.masked)
        batch, order = self.sorted(batch)
        real = batch.mask if self.masked else None
        sends = batch.mask if self.masked else torch.ones_like(batch.mask)
        coordinates = batch.coordinates
        if self.grid_of_features:
            coordinates = torch.stack([batch.features[..., column] for column in self.published_columns[1:]], -1)
        h = functional.relu(self.embed(batch.features))
        for block in self.blocks:
            h = block(h, coordinates[..., :2].float(), sends, real)
        particles = h.masked_fill(~batch.mask[..., None], 0.0)
        if real is None:
            return Encoded(particles, batch.mask, h.amax(1) if self.largest else h.mean(1), order)
        if not self.largest:
            return Encoded(particles, batch.mask, mean_of_real(particles, real), order)
        largest = h.masked_fill(~real[..., None], torch.finfo(h.dtype).min).amax(1)
        return Encoded(particles, batch.mask, largest.masked_fill(~real.any(1)[:, None], 0.0), order)

    def sorted(self, batch: Batch) -> tuple[Batch, Tensor | None]:
        """Features, coordinates and mask in the order of ``sort``, and their slots (B, N) before; None: unsorted."""
        if self.sort == "none":
            return batch, None
        key = sort_key(batch, self.sort, self.published_columns)
        order = largest_first(real_first(key, batch.mask) if self.masked else key)
        features, coordinates = take(batch.features, order), take(batch.coordinates, order)
        return batch._replace(features=features, coordinates=coordinates, mask=batch.mask.gather(1, order)), order
