"""LayerNorm (arXiv:1607.06450)."""

from torch import Tensor, nn

from jetloom.models.fast import masters


class LayerNorm(nn.LayerNorm):
    """(x - mean) / sqrt(variance + eps), gains and shifts; in float32 under autocast, unless those are in 16 bit."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same shape."""
        if masters.stand_in(self.weight):
            return masters.normalised(super().forward, x)
        return super().forward(x)
