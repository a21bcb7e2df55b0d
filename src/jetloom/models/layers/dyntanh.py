"""DynTanh, which stands in the place of a normalisation (arXiv:2503.10622)."""

import torch
from torch import Tensor, nn

from jetloom.models.fast import tanh as kernel


class DynTanh(nn.Module):
    """tanh(alpha x + beta) with two learned numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if kernel.serves(x):
            return kernel.tanh(x, self.alpha, self.beta)
        return torch.tanh(self.alpha * x + self.beta)
