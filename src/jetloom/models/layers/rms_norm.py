"""RMSNorm (arXiv:1910.07467)."""

import torch
from torch import Tensor, nn

from jetloom.models.fast import masters


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) with a gain; in float32 under autocast, as LayerNorm is, unless that is in 16 bit."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same shape."""
        if masters.stand_in(self.weight):
            return masters.normalised(super().forward, x)
        return super().forward(x if x.dtype == torch.float64 else x.float())
