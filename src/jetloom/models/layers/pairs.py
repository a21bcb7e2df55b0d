"""Features of pairs of particles as a bias of the attention (ParT, arXiv:2202.03772, section 3.2)."""

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Room
from jetloom.kinematics import pair_features
from jetloom.models.fast import folding
from jetloom.models.fast import pairs as kernel
from jetloom.models.fast.packing import places, places_with_room
from jetloom.models.fast.triton import pair_embedding as on_gpu
from jetloom.models.layers.attention import key_bias
from jetloom.models.layers.norm import RealBatchNorm, linear_norm_gelu


class PairEmbedding(nn.Module):
    """Pair features (n, 4) to one attention bias per head (n, H), for each pair on its own.

    Batch normalisation, then Conv1d - BatchNorm - GELU for each width.

    Args:
        widths: hidden ones.
        heads: H.
        pre_activation: without the last GELU; every published ParT has it (``use_pre_activation_pair`` is False).
    """

    def __init__(self, widths: tuple[int, ...], heads: int, pre_activation: bool = False) -> None:
        super().__init__()
        self.pre_activation = pre_activation
        widths = (*widths, heads)
        layers: list[nn.Module] = [RealBatchNorm(4)]
        for before, after in zip((4, *widths), widths, strict=False):
            layers += [nn.Conv1d(before, after, 1), RealBatchNorm(after), nn.GELU()]
        self.embed = nn.Sequential(*layers[: -1 if pre_activation else None])

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Embed pairs; ``real`` (n,) tells which count in the statistics, None: all."""
        first = cast("RealBatchNorm", self.embed[0])
        convolutions = cast("Iterable[nn.Conv1d]", self.embed[1::3])
        norms = cast("Iterable[RealBatchNorm]", self.embed[2::3])
        if on_gpu.serves(x, [first, *norms]):
            layers = zip(convolutions, norms, strict=True)
            maps = [folding.batch_norm(norm, layer.weight[:, :, 0], layer.bias) for layer, norm in layers]
            return on_gpu.embedded(x, folding.running(first), maps, not self.pre_activation)
        x = first(x, real)
        last = len(self.embed) // 3
        for number, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True), 1):
            x = convolved(x, convolution, norm, real, gelu=number < last or not self.pre_activation)
        return x


def convolved(x: Tensor, convolution: nn.Conv1d, norm: RealBatchNorm, real: Tensor | None, gelu: bool) -> Tensor:
    """Conv1d - BatchNorm, and a GELU, of pairs (n, K) to (n, D); ``real`` (n,) count in the statistics, None: all."""
    weight, bias = convolution.weight[:, :, 0], cast("Tensor", convolution.bias)
    if gelu:
        return linear_norm_gelu(x, weight, bias, norm, real)
    normalised: Tensor = norm(functional.linear(x, weight, bias), real)
    return normalised


def pair_bias(
    embedding: Callable[[Tensor, Tensor | None], Tensor],
    vectors: Tensor,
    mask: Tensor,
    length: NDArray[np.int64] | None = None,
    room: Room | None = None,
) -> Tensor:
    """U of eq. 2, the attention bias (B, H, N, N) from the four-vectors, with padded keys closed.

    The statistics count each unordered pair of real particles once.

    Args:
        embedding: of the pair features, eq. 3.
        vectors: (B, N, 4).
        mask: (B, N).
        length: (B,) particles of each jet, where the host knows it.
        room: compute as many pairs as are said there, real ones and some others.
    """
    vectors = vectors.masked_fill(~mask[..., None], 0.0)
    real = (mask[:, :, None] & mask[:, None, :]).tril()
    if room is not None:
        return kernel.pair_bias(embedding, vectors, key_bias(mask), *places_with_room(real.flatten(), room.pairs))
    if kernel.serves(mask, length is not None):
        number = None if length is None else int((length * (length + 1) // 2).sum())
        return kernel.pair_bias(embedding, vectors, key_bias(mask), places(real.flatten(), number), None)
    features = pair_features(vectors)
    bias: Tensor = embedding(features.flatten(0, 2), real.flatten())
    return bias.view(*real.shape, -1).permute(0, 3, 1, 2) + key_bias(mask)
