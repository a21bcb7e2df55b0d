"""PointNet as the SAL-T repository (aaronw5/SAL-T4HEP, models/pointNet.py) has it: no alignment networks.

A small network on each point, the maximum over all points, a small network on that (arXiv:1612.00593, eq. 1).
"""

from itertools import pairwise

from torch import nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.packing import Packing
from jetloom.models.network import Encoded, Network


class PointNet(Network):
    """f(points) = g(max_i h(point_i)).

    h: Linear - BatchNorm - ReLU of widths w, 2 w, 4 w; g: the same of widths 2 w, w, then dropout and one linear layer.
    No layer before a batch normalisation has a bias.

    Args:
        n_features, n_classes: F and C.
        base_width: w; 16 in the author code, 21 where it matches the floating-point operations of SAL-T.
        dropout: before the last layer.
    """

    def __init__(self, n_features: int, n_classes: int, *, base_width: int = 16, dropout: float = 0.3) -> None:
        w = base_width
        super().__init__(jet_width=4 * w, particle_width=4 * w)
        self.point_layers, self.point_norms = _layers([n_features, w, 2 * w, 4 * w])
        layers, norms = _layers([4 * w, 2 * w, w])
        steps = [step for pair in zip(layers, norms, strict=True) for step in (*pair, nn.ReLU())]
        self.head = nn.Sequential(*steps, nn.Dropout(dropout), nn.Linear(w, n_classes))

    def encode(self, batch: Batch) -> Encoded:
        """h of each point, and the maximum. Uses features and mask; statistics come from real points."""
        packing = Packing(batch.mask, batch.length, batch.room)
        x = packing.pack(batch.features)
        for layer, norm in zip(self.point_layers, self.point_norms, strict=True):
            x = functional.relu(norm(layer(x), packing.real))
        points = packing.unpack(x)
        # After a ReLU nothing is below zero, so the zero of an empty slot never is the maximum.
        return Encoded(points, batch.mask, points.amax(1))


def _layers(widths: list[int]) -> tuple[nn.ModuleList, nn.ModuleList]:
    pairs = list(pairwise(widths))
    return (
        nn.ModuleList(nn.Linear(before, after, bias=False) for before, after in pairs),
        nn.ModuleList(RealBatchNorm(after) for _, after in pairs),
    )
