"""Features of pairs of particles as a bias of the attention (ParT, arXiv:2202.03772, section 3.2)."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from jetloom.kinematics import pair_features
from jetloom.models.fast import pairs as kernel
from jetloom.models.layers.attention import key_bias
from jetloom.models.layers.norm import RealBatchNorm, linear_norm_gelu


class PairEmbedding(nn.Module):
    """Pair features (n, 4) to one attention bias per head (n, H), for each pair on its own.

    Batch normalisation, then Conv1d - BatchNorm - GELU for each width; the GELU after the last one is kept
    (``use_pre_activation_pair`` is False in every published network).
    """

    def __init__(self, widths: tuple[int, ...], heads: int) -> None:
        super().__init__()
        widths = (*widths, heads)
        layers: list[nn.Module] = [RealBatchNorm(4)]
        for before, after in zip((4, *widths), widths, strict=False):
            layers += [nn.Conv1d(before, after, 1), RealBatchNorm(after), nn.GELU()]
        self.embed = nn.Sequential(*layers)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Embed pairs; ``real`` (n,) tells which count in the statistics, None: all."""
        x = self.embed[0](x, real)
        convolutions = cast("Iterable[nn.Conv1d]", self.embed[1::3])
        norms = cast("Iterable[RealBatchNorm]", self.embed[2::3])
        for convolution, norm in zip(convolutions, norms, strict=True):
            x = linear_norm_gelu(x, convolution.weight[:, :, 0], cast("Tensor", convolution.bias), norm, real)
        return x


def pair_bias(embedding: PairEmbedding, vectors: Tensor, mask: Tensor) -> Tensor:
    """U of eq. 2, the attention bias (B, H, N, N) from the four-vectors, with padded keys closed.

    The statistics count each unordered pair of real particles once.

    Args:
        embedding: of the pair features, eq. 3.
        vectors: (B, N, 4).
        mask: (B, N).
    """
    vectors = vectors.masked_fill(~mask[..., None], 0.0)
    real = (mask[:, :, None] & mask[:, None, :]).tril()
    if kernel.serves():
        return kernel.pair_bias(embedding, vectors, real, key_bias(mask))
    features = pair_features(vectors)
    bias: Tensor = embedding(features.flatten(0, 2), real.flatten())
    return bias.view(*real.shape, -1).permute(0, 3, 1, 2) + key_bias(mask)
