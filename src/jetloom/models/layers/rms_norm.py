"""RMSNorm (arXiv:1910.07467)."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) with a gain, in float32 under autocast, as LayerNorm is."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same shape."""
        return super().forward(x if x.dtype == torch.float64 else x.float())
