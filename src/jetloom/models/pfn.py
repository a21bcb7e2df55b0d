"""PFN, the Particle Flow Network (arXiv:1810.05165), in the size of the ParT paper's comparison."""

from torch import nn

from jetloom.batch import Batch
from jetloom.models.layers.packing import Packing
from jetloom.models.network import Encoded, Network


def dense_layers(before: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Linear and ReLU for each width."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(before, width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers)


class PFN(Network):
    """Particle Flow Network: F(sum over particles of Phi(particle)).

    No normalisation and no dropout, as in the configuration behind the 86.1k parameters of the ParT paper; the
    original paper has Phi (100, 100, 256) and F (100, 100, 100).

    Args:
        n_features: F.
        n_classes: C.
        phi: widths of the network on each particle.
        f: widths of the network on the sum.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        phi: tuple[int, ...] = (128, 128, 128),
        f: tuple[int, ...] = (128, 128, 128),
    ) -> None:
        super().__init__(jet_width=phi[-1], particle_width=phi[-1])
        self.phi = dense_layers(n_features, phi)
        self.head = nn.Sequential(*dense_layers(phi[-1], f), nn.Linear(f[-1], n_classes))

    def encode(self, batch: Batch) -> Encoded:
        """Phi of each particle, and the sum. Uses features and mask."""
        packing = Packing(batch.mask, batch.length, batch.room)
        latent = packing.unpack(self.phi(packing.pack(batch.features)))
        return Encoded(latent, batch.mask, latent.sum(1))
