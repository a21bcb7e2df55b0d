"""P-CNN, the one-dimensional residual network over particles ordered by pT, as in the ParT paper's comparison.

It descends from the boosted-jet tagger DeepAK8 (CMS, arXiv:2004.08262) and the landscape of top taggers
(arXiv:1902.09914).
"""

from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.models.layers.packing import of_length
from jetloom.models.network import Encoded, Network


class ResidualUnit(nn.Module):
    """Two convolutions of width 3, each with normalisation and ReLU; then the input is added, with no ReLU after."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(before, after, 3, stride, padding=1),
            nn.BatchNorm1d(after),
            nn.ReLU(),
            nn.Conv1d(after, after, 3, padding=1),
            nn.BatchNorm1d(after),
            nn.ReLU(),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Conv1d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + self.shortcut(x)
        return out


class PCNN(Network):
    """P-CNN: it reads particles as a sequence of fixed length, so their order and that length are part of the model.

    Every jet is brought to ``max_particles`` slots, empty ones being zero; as in the published code empty slots
    pass the convolutions, the normalisations and the mean. So the answer does not depend on the width of the batch,
    but a model with another ``max_particles`` is another model.

    Args:
        n_features: F.
        n_classes: C.
        max_particles: length of the sequence.
        stem: channels of the first convolution.
        stages: channels of the residual units of each stage; from the second stage on the first unit halves the length.
        hidden: width of the layer before the last.
        dropout: after that layer.
    """

    ordered = True

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        max_particles: int = 128,
        stem: int = 32,
        stages: tuple[tuple[int, ...], ...] = ((64, 64), (64, 64), (128, 128)),
        hidden: int = 512,
        dropout: float = 0.2,
    ) -> None:
        last = stages[-1][-1]
        super().__init__(jet_width=last, particle_width=None)
        self.max_particles = max_particles
        self.stem = nn.Sequential(
            nn.BatchNorm1d(n_features), nn.Conv1d(n_features, stem, 3, padding=1), nn.BatchNorm1d(stem), nn.ReLU()
        )
        units: list[nn.Module] = []
        before = stem
        for number, stage in enumerate(stages):
            for place, after in enumerate(stage):
                units.append(ResidualUnit(before, after, stride=2 if number and not place else 1))
                before = after
        self.units = nn.Sequential(*units)
        self.head = nn.Sequential(nn.Linear(last, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_classes))

    def encode(self, batch: Batch) -> Encoded:
        """Mean over what is left of the sequence, which has no particles any more. Uses features and mask.

        Raises:
            JetloomError: a jet has real particles beyond ``max_particles``.
        """
        batch = of_length(batch, self.max_particles, type(self).__name__, exactly=True)
        x = batch.features.masked_fill(~batch.mask[..., None], 0.0)
        return Encoded(None, batch.mask, self.units(self.stem(x.transpose(1, 2))).mean(2))
