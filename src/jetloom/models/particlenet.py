"""ParticleNet (arXiv:1902.08570) as configured for the comparison in the ParT paper: dynamic graph convolutions.

Parameters carry the names of weaver-core, so that the published ``ParticleNet_{kin,kinpid,full}.pt`` load.
"""

from collections.abc import Iterable
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import edges as kernel
from jetloom.models.fast import larger
from jetloom.models.layers.neighbours import Rule, nearest_neighbours
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.packing import Packing
from jetloom.models.layers.readout import mean_of_real
from jetloom.models.network import Encoded, Network


class EdgeConvolution(nn.Module):
    """EdgeConv: three shared linear maps on [x_i, x_j - x_i], mean over the neighbours j, and a shortcut.

    Args:
        width: channels of the input.
        channels: of the maps in turn.
    """

    def __init__(self, width: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        widths = (2 * width, *channels)
        self.convs = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 1, bias=False) for i in range(len(channels)))
        self.bns = nn.ModuleList(RealBatchNorm(after) for after in channels)
        if width == channels[-1]:
            self.sc = None
        else:
            self.sc = nn.Conv1d(width, channels[-1], 1, bias=False)
            self.sc_bn = RealBatchNorm(channels[-1])

    def forward(self, x: Tensor, neighbours: Tensor, real: Tensor | None) -> Tensor:
        """Packed (n, C) and neighbours (n, k), n for a missing one, to (n, C'); ``real`` (n,): rows that count."""
        mean = self.edges(x, neighbours, real).view(*neighbours.shape, -1).mean(1)
        shortcut = x if self.sc is None else self.sc_bn(functional.linear(x, self.sc.weight[:, :, 0]), real)
        return functional.relu(mean + shortcut)

    def edges(self, x: Tensor, neighbours: Tensor, real: Tensor | None) -> Tensor:
        """h([x_i, x_j - x_i]) for the k neighbours j of each particle i, (n k, C'): eq. 2.

        A missing neighbour has x_j = 0, as padding has in the published code.
        """
        number = neighbours.shape[1]
        real = None if real is None else real.repeat_interleave(number, output_size=real.shape[0] * number)
        weights = [convolution.weight[:, :, 0, 0] for convolution in cast("Iterable[nn.Conv2d]", self.convs)]
        norms = cast("Iterable[RealBatchNorm]", self.bns)
        if kernel.serves():
            return kernel.edges(x, neighbours, real, weights, norms)
        others = torch.cat([x, x.new_zeros(1, x.shape[1])])[neighbours]
        own = x[:, None].expand_as(others)
        edges = torch.cat([own, others - own], -1).flatten(0, 1)
        for weight, norm in zip(weights, norms, strict=True):
            edges = functional.relu(norm(functional.linear(edges, weight), real))
        return edges


class ParticleNet(Network):
    """ParticleNet: EdgeConv blocks on the nearest neighbours in (eta, phi), then in feature space; mean; two layers.

    As in weaver-core without its optional fusion layer; the fourth entry of the paper's comparison table. A particle
    of a jet with k or fewer particles gets missing neighbours, which count as zero vectors, as in the published code.

    Where particles lie at one place, as the towers of a detector simulation do, the published rule takes some particles
    for neighbours of themselves and leaves others out (:func:`jetloom.models.layers.neighbours.nearest_neighbours`);
    which ones depends on the order of the slots and on the length of the padded input. A graph in ONNX takes the front
    one of two slots at equal distances.

    Deviation: batch-normalisation statistics leave padding out.

    Args:
        n_features: F.
        n_classes: C.
        neighbours: k.
        convolutions: channels of the maps of each EdgeConv block.
        hidden: width of the layer before the last.
        dropout: after that layer.
        knn: how neighbours are found. published: as weaver-core 0.5 does; weaver0.4: as weaver-core 0.4 does, which
            differs from it only where rounding is larger than the distance; exact: a particle is never its own
            neighbour, and the order of the particles matters in ties at the k-th place only.
        max_particles: narrower inputs are treated as if they were padded to this length, so that the answer does not
            depend on the padding; None: ties are decided at the length that the input has.
    """

    published_names: ClassVar[dict[str, str]] = {r"^fc\.": "head."}

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        neighbours: int = 16,
        convolutions: tuple[tuple[int, ...], ...] = ((64, 64, 64), (128, 128, 128), (256, 256, 256)),
        hidden: int = 256,
        dropout: float = 0.1,
        knn: Rule = "published",
        max_particles: int | None = None,
    ) -> None:
        widths = (n_features, *(channels[-1] for channels in convolutions))
        super().__init__(jet_width=widths[-1], particle_width=widths[-1])
        if neighbours < 1:
            raise JetloomError(f"neighbours = {neighbours} must be at least 1")
        self.neighbours, self.knn, self.max_particles = neighbours, knn, max_particles or 0
        # Ties are then decided at the length of the input, by its empty slots too.
        self.reads_padding = knn != "exact" and max_particles is None
        self.bn_fts = RealBatchNorm(n_features)
        self.edge_convs = nn.ModuleList(
            EdgeConvolution(width, channels) for width, channels in zip(widths, convolutions, strict=False)
        )
        self.head = nn.Sequential(
            nn.Sequential(nn.Linear(widths[-1], hidden), nn.ReLU(), nn.Dropout(dropout)), nn.Linear(hidden, n_classes)
        )

    def encode(self, batch: Batch) -> Encoded:
        """EdgeConv blocks, and the mean over the particles. Uses features, coordinates and mask."""
        length = larger(batch.mask.shape[1], self.max_particles)
        packing = Packing(batch.mask, batch.length, batch.room)
        x = self.bn_fts(packing.pack(batch.features), packing.real)
        points = packing.unpack(packing.pack(batch.coordinates))
        for index, block in enumerate(self.edge_convs):
            if index:
                points = packing.unpack(x)
            x = block(x, nearest_neighbours(points, packing, self.neighbours, self.knn, length), packing.real)
        particles = packing.unpack(x)
        return Encoded(particles, batch.mask, mean_of_real(particles, batch.mask))
