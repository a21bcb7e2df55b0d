"""PointNet as the SAL-T repository (aaronw5/SAL-T4HEP, models/pointNet.py) has it: no alignment networks.

A small network on each point, the maximum over all points, a small network on that (arXiv:1612.00593, eq. 1).
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.models.layers import Packing, RealBatchNorm


class PointNet(nn.Module):
    """f(points) = g(max_i h(point_i)).

    h: Linear - BatchNorm - ReLU of widths w, 2 w, 4 w; g: the same of widths 2 w, w, then dropout and one linear layer.
    No layer before a batch normalisation has a bias.

    Args:
        n_features, n_classes: F and C.
        base_width: w; 16 in the author code, 21 where it matches the floating-point operations of SAL-T.
        dropout: before the last layer.
    """

    ordered = False

    def __init__(self, n_features: int, n_classes: int, *, base_width: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        w = base_width
        self.point_layers, self.point_norms = _layers([n_features, w, 2 * w, 4 * w])
        self.layers, self.norms = _layers([4 * w, 2 * w, w])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(w, n_classes)

    def forward(self, batch: Batch) -> Tensor:
        """Batch to logits (B, C). Uses features and mask; statistics of the normalisation come from real points."""
        packing = Packing(batch.mask)
        x = packing.pack(batch.features)
        for layer, norm in zip(self.point_layers, self.point_norms, strict=True):
            x = functional.relu(norm(layer(x), packing.real))
        # After a ReLU nothing is below zero, so a zero never is the maximum.
        x = packing.unpack(x).masked_fill(~batch.mask[..., None], 0.0).amax(1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.relu(norm(layer(x)))
        return self.head(self.dropout(x))


def _layers(widths: list[int]) -> tuple[nn.ModuleList, nn.ModuleList]:
    pairs = list(pairwise(widths))
    return (
        nn.ModuleList(nn.Linear(before, after, bias=False) for before, after in pairs),
        nn.ModuleList(RealBatchNorm(after) for _, after in pairs),
    )
