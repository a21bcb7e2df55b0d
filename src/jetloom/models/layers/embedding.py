"""From the features of a particle to a vector."""

from torch import Tensor, nn

from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.norm import RealBatchNorm


class ParticleEmbedding(nn.Module):
    """Batch normalisation, then LayerNorm - Linear - GELU for each width, as in ParT. Packed (n, F) to (n, D).

    Args:
        n_features: F.
        widths: the last is D.
        first_norm: LayerNorm before the first Linear. It takes two degrees of freedom from the input of each particle:
            harmless among 17 features, not with three coordinates.
    """

    def __init__(self, n_features: int, widths: tuple[int, ...], first_norm: bool = True) -> None:
        super().__init__()
        self.input_bn = RealBatchNorm(n_features)
        layers: list[nn.Module] = []
        for before, after in zip((n_features, *widths), widths, strict=False):
            layers += [LayerNorm(before)] if layers or first_norm else []
            layers += [nn.Linear(before, after), nn.GELU()]
        self.embed = nn.Sequential(*layers)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Embed particles; ``real`` (n,) tells which count in the statistics, None: all."""
        out: Tensor = self.embed(self.input_bn(x, real))
        return out
