"""L-GATr-slim (arXiv:2512.17011), from the equations of its public code; sizes of the study arXiv:2608.02735.

Each item of a jet carries vectors (C_v four-vectors) and scalars (C_s numbers). They are mixed among their own kind by
linear maps, and meet in Minkowski products only: scalars are invariant and vectors equivariant under Lorentz
transformations of all items. Three reference vectors among the items leave the rotations about the beam alone.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.models.fast import full_precision, regroup
from jetloom.models.fast import streams as kernel
from jetloom.models.layers.attention import attend, key_bias
from jetloom.models.layers.constants import constants
from jetloom.models.layers.items import REFERENCES, with_items_in_front
from jetloom.models.layers.minkowski import METRIC, channel_products, with_mass
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.layers.sizes import Size, blocks_of, heads_of
from jetloom.models.network import Encoded, Network

NORM_EPSILON = 0.01
SMALLEST_SCALAR_HEAD = 4


class Streams(NamedTuple):
    """What n items carry."""

    vectors: Tensor
    """(n, ..., 4, C_v)"""
    scalars: Tensor
    """(n, ..., C_s)"""

    def plus(self, other: "Streams") -> "Streams":
        """The sum of both."""
        return Streams(self.vectors + other.vectors, self.scalars + other.scalars)


def normalised(x: Streams) -> Streams:
    """Both streams over sqrt((sum_c |<v_c, v_c>| + sum_c s_c^2) / (C_v + C_s) + 0.01)."""
    squares = channel_products(x.vectors, x.vectors).abs().sum(-1) + x.scalars.square().sum(-1)
    factor = (squares / (x.vectors.shape[-1] + x.scalars.shape[-1]) + NORM_EPSILON).rsqrt()[..., None]
    return Streams(x.vectors * factor[..., None], x.scalars * factor)


class Norm(nn.Module):
    """The joint RMS normalisation, with a gain for each channel.

    Args:
        width: C_v and C_s.
        gains: which of both streams have one.
    """

    def __init__(self, width: tuple[int, int], gains: tuple[bool, bool]) -> None:
        super().__init__()
        self.vectors, self.scalars = (
            nn.Parameter(torch.ones(channels)) if has else None for channels, has in zip(width, gains, strict=True)
        )

    def forward(self, x: Streams) -> Streams:
        """Streams of the same shape."""
        vectors, scalars = normalised(x)
        vectors = vectors if self.vectors is None else vectors * self.vectors
        return Streams(vectors, scalars if self.scalars is None else scalars * self.scalars)


class Attention(nn.Module):
    """softmax(<q, k> / sqrt(4 h_v + h_s)) v: the Minkowski product over vector channels, the usual one over scalars.

    Queries, keys and values are normalised for each item and head.

    Args:
        width: C_v and C_s.
        heads: H.
        ratio: of the channels of all heads together to those of the stream.
        bias: of the scalars in the first projection.
    """

    def __init__(self, width: tuple[int, int], heads: int, ratio: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.of_vectors = max(ratio * width[0] // heads, 1)
        self.of_scalars = max(ratio * width[1] // heads, SMALLEST_SCALAR_HEAD)
        self.in_vectors = nn.Linear(width[0], 3 * self.of_vectors * heads, bias=False)
        self.in_scalars = nn.Linear(width[1], 3 * self.of_scalars * heads, bias=bias)
        self.out_vectors = nn.Linear(self.of_vectors * heads, width[0], bias=False)
        self.out_scalars = nn.Linear(self.of_scalars * heads, width[1])

    def forward(self, x: Streams, packing: Packing, bias: Tensor) -> Streams:
        """Packed streams, normalised, to packed streams; ``bias`` closes the keys of padding."""
        return self.attended(self.compared(x), packing, bias)

    def compared(self, x: Streams) -> Tensor:
        """(n, 3 H (4 h_v + h_s)): of each head g q, k and v."""
        # The head is the fastest index of the projections and the slowest behind the attention.
        vectors = self.in_vectors(x.vectors).unflatten(-1, (3, self.of_vectors, self.heads)).permute(0, 2, 4, 1, 3)
        scalars = self.in_scalars(x.scalars).unflatten(-1, (3, self.of_scalars, self.heads)).transpose(-1, -2)
        vectors, scalars = normalised(Streams(vectors, scalars))
        query, others = torch.cat([vectors.flatten(-2), scalars], -1).flatten(2).split([1, 2], 1)
        return torch.cat([query * self.signs(query), others], 1).flatten(1)

    def attended(self, compared: Tensor, packing: Packing, bias: Tensor) -> Streams:
        """What the heads find by these, packed."""
        query, key, value = packing.spread(compared).chunk(3, -1)
        attended = packing.pack(attend(query, key, value, self.heads, bias)).unflatten(-1, (self.heads, -1))
        if regroup.serves(attended):
            vectors, scalars = regroup.parted(attended, self.of_vectors)
        else:
            vectors, scalars = attended.split([4 * self.of_vectors, self.of_scalars], -1)
            vectors = vectors.unflatten(-1, (4, self.of_vectors)).transpose(1, 2).flatten(2)
        return Streams(self.out_vectors(vectors), self.out_scalars(scalars.flatten(1)))

    def signs(self, like: Tensor) -> Tensor:
        """(H (4 h_v + h_s),): the metric for vectors, 1 for scalars."""
        metric = constants(METRIC, like).repeat_interleave(self.of_vectors)
        return torch.cat([metric, like.new_ones(self.of_scalars)]).repeat(self.heads)


class GatedLinear(nn.Module):
    """The feed-forward network: sigmoid(<g, g'> / 2) p for vectors, GELU(g) p for scalars, between linear maps.

    Args:
        width: C_v and C_s.
        ratio: hidden channels over those of the stream.
        version: 1 has GELU(<g, g'>) for vectors, and the exact GELU.
        last: there is no new vector.
    """

    def __init__(self, width: tuple[int, int], ratio: int, version: int, last: bool) -> None:
        super().__init__()
        self.version = version
        vectors, scalars = width[0] * ratio, width[1] * ratio
        self.in_vectors = None if last else nn.Linear(width[0], 3 * vectors, bias=False)
        self.in_scalars = nn.Linear(width[1], 2 * scalars)
        self.out_vectors = None if last else nn.Linear(vectors, width[0], bias=False)
        self.out_scalars = nn.Linear(scalars, width[1])

    def forward(self, x: Streams) -> Streams:
        """Packed streams to what is added to them."""
        exact = self.version == 1
        inner, gate = self.in_scalars(x.scalars).chunk(2, -1)
        scalars = self.out_scalars(functional.gelu(gate, approximate="none" if exact else "tanh") * inner)
        if self.in_vectors is None or self.out_vectors is None:
            return Streams(torch.zeros_like(x.vectors), scalars)
        inner, first, second = self.in_vectors(x.vectors).chunk(3, -1)
        products = channel_products(first, second)
        gate = functional.gelu(products) if exact else torch.sigmoid(0.5 * products)
        return Streams(self.out_vectors(gate[..., None, :] * inner), scalars)


class Block(nn.Module):
    """x + Attention(Norm(x)), then x + GatedLinear(Norm(x)).

    Args:
        width, heads, ratios, version: as of the network.
        last: whether the vectors behind it are read by nobody.
    """

    def __init__(self, width: tuple[int, int], heads: int, ratios: tuple[int, int], version: int, last: bool) -> None:
        super().__init__()
        self.version = version
        gains = version != 1
        self.norm1 = Norm(width, (gains, gains))
        self.norm2 = Norm(width, (gains and not last, gains))
        self.attention = Attention(width, heads, ratios[0], bias=version == 1)
        self.feed_forward = GatedLinear(width, ratios[1], version, last)

    def forward(self, x: Streams, packing: Packing, bias: Tensor) -> Streams:
        """Packed streams to packed streams of the same shape."""
        if self.version == 2 and kernel.serves(x.scalars):
            compared = kernel.queries_keys_values(self.attention, self.norm1, *x, NORM_EPSILON)
            x = x.plus(self.attention.attended(compared, packing, bias))
            return x.plus(Streams(*kernel.feed_forward(self.feed_forward, self.norm2, *x, NORM_EPSILON)))
        x = x.plus(self.attention(self.norm1(x), packing, bias))
        return x.plus(self.feed_forward(self.norm2(x)))


class LGATrSlim(Network):
    """L-GATr-slim: 2,014,401 parameters with 7 features and one logit.

    A global item, with a vector of zero and a scalar that marks it, reads the jet out. Everything is computed in
    float32, also under autocast: products of four-vectors cancel. Where this departs from the author code: the
    feed-forward network of the last block has no vectors, which nobody would read (there they exist and are frozen).

    Args:
        n_features, n_classes: F and C.
        size: published widths of the size study, 0 being 1.4 million parameters; over the widths below.
        vectors, scalars: C_v and C_s.
        blocks, heads: of the attention, H.
        attention_ratio, mlp_ratio: channels of heads and of the feed-forward network over those of the streams.
        version: 2: arXiv:2608.02735; 1: the network of the first paper (exact GELU, norms without gains).
        references: with the reference items; without them the logits are as invariant as the features.
        unit: of the momenta, GeV.
        mass_floor: particles of a smaller mass, GeV, get this one.
    """

    single = True
    jets_apart = True

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        size: Size = None,
        vectors: int = 32,
        scalars: int = 96,
        blocks: int = 12,
        heads: int = 8,
        attention_ratio: int = 1,
        mlp_ratio: int = 4,
        version: Literal[2, 1] = 2,
        references: bool = True,
        unit: float = 20.0,
        mass_floor: float = 5e-3,
    ) -> None:
        if size is not None:
            vectors, scalars, mlp_ratio = 2 ** (size + 5), 2 ** (size + 7), 2
            blocks, heads = blocks_of(size), heads_of(size)
        super().__init__(jet_width=scalars, particle_width=scalars)
        self.front = ((0.0, 0.0, 0.0, 0.0), *(REFERENCES if references else ()))
        self.unit, self.mass_floor = unit, mass_floor
        width, ratios = (vectors, scalars), (attention_ratio, mlp_ratio)
        self.embed_vectors = nn.Linear(1, vectors, bias=False)
        self.embed_scalars = nn.Linear(n_features + 1, scalars)
        self.blocks = nn.ModuleList(
            Block(width, heads, ratios, version, last=index == blocks - 1) for index in range(blocks)
        )
        self.head = nn.Linear(scalars, n_classes)
        if version == 2:
            self.start()

    def start(self) -> None:
        """No bias, and a tenth of the usual weights around the attention."""
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
            if isinstance(module, Attention):
                for linear in (module.in_vectors, module.in_scalars, module.out_vectors, module.out_scalars):
                    with torch.no_grad():
                        linear.weight.mul_(0.1)

    def encode(self, batch: Batch) -> Encoded:
        """Scalars of each particle and of the global item. Uses features, vectors and mask."""
        vectors, scalars, mask = self.items(batch)
        with full_precision(vectors):
            packing, bias = Packing(mask, batch.longer(len(self.front))), key_bias(mask)
            x = Streams(self.embed_vectors(packing.pack(vectors)[..., None]), self.embed_scalars(packing.pack(scalars)))
            for block in self.blocks:
                x = block(x, packing, bias)
            scalars = packing.unpack(x.scalars)
        return Encoded(scalars[:, mask.shape[1] - batch.mask.shape[1] :], batch.mask, scalars[:, 0])

    def items(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Four-vectors (B, M, 4), scalars (B, M, F + 1) and mask (B, M): global item, references, particles."""
        padded = ~batch.mask[..., None]
        momenta = vectors_of(batch).masked_fill(padded, 0.0)
        momenta = momenta if momenta.dtype == torch.float64 else momenta.float()
        momenta = with_mass(momenta, self.mass_floor).masked_fill(padded, 0.0) / self.unit
        front = torch.stack([constants(item, momenta) for item in self.front])
        vectors = torch.cat([front.expand(momenta.shape[0], -1, -1), momenta], 1)
        features = batch.features.masked_fill(padded, 0.0).to(momenta.dtype)
        scalars = with_items_in_front(features, len(front))
        return vectors, scalars, functional.pad(batch.mask, (len(front), 0), value=True)
