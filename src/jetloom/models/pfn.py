"""PFN, the Particle Flow Network (arXiv:1810.05165), in the size of the ParT paper's comparison."""

from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.models.layers import Packing


def dense_layers(before: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Linear and ReLU for each width."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(before, width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers)


class PFN(nn.Module):
    """Particle Flow Network: F(sum over particles of Phi(particle)).

    No normalisation and no dropout, as in the configuration behind the 86.1k parameters of the ParT paper; the
    original paper has Phi (100, 100, 256) and F (100, 100, 100).

    Args:
        n_features: F.
        n_classes: C.
        phi: widths of the network on each particle.
        f: widths of the network on the sum.
    """

    ordered = False

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        phi: tuple[int, ...] = (128, 128, 128),
        f: tuple[int, ...] = (128, 128, 128),
    ) -> None:
        super().__init__()
        self.phi = dense_layers(n_features, phi)
        self.f = dense_layers(phi[-1], f)
        self.out = nn.Linear(f[-1], n_classes)

    def forward(self, batch: Batch) -> Tensor:
        """Batch to logits (B, C). Uses features and mask."""
        packing = Packing(batch.mask)
        latent = packing.unpack(self.phi(packing.pack(batch.features)))
        return self.out(self.f(latent.masked_fill(~batch.mask[..., None], 0.0).sum(1)))
