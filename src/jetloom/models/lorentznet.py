"""LorentzNet (arXiv:2201.08187), from the equations of the paper.

Particles carry a four-vector x and scalars h; messages see four-vectors through Minkowski products only, so h is
invariant and x equivariant under Lorentz transformations. Two beam particles break this, on purpose, to boosts along
and rotations about the beam axis. Numbers in brackets are the paper's equations (section 3).
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.constants import constants
from jetloom.models.layers.minkowski import product
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.layers.readout import mean_of_real
from jetloom.models.network import Encoded, Network


def squash(x: Tensor) -> Tensor:
    """psi(x) = sign(x) ln(1 + |x|), which tames products that span many powers of ten."""
    return x.sign() * x.abs().log1p()


class GroupEquivariantBlock(nn.Module):
    """One Lorentz group equivariant block.

    Args:
        width: n, channels of h.
        scalars: of the inputs, given to every block again.
        step: c, scale of the coordinates' update.
        last: the last block leaves the four-vectors alone.
    """

    def __init__(self, width: int, scalars: int, step: float, last: bool) -> None:
        super().__init__()
        self.step = step
        self.edge1 = nn.Linear(2 * width + 2, width, bias=False)
        self.edge_norm = RealBatchNorm(width)
        self.edge2 = nn.Linear(width, width)
        self.weight = nn.Linear(width, 1)
        self.node1 = nn.Linear(2 * width + scalars, width)
        self.node_norm = RealBatchNorm(width)
        self.node2 = nn.Linear(width, width)
        self.vector1 = None if last else nn.Linear(width, width)
        self.vector2 = None if last else nn.Linear(width, 1, bias=False)
        if self.vector2 is not None:
            nn.init.xavier_uniform_(self.vector2.weight, gain=0.001)

    def forward(self, h: Tensor, x: Tensor, scalars: Tensor, packing: Packing, edges: Packing) -> tuple[Tensor, Tensor]:
        """Scalars h (B, N, n), four-vectors x (B, N, 4) and inputs (B, N, S) to new h and x.

        Args:
            packing: of the particles.
            edges: of the (B, N N) ordered pairs of different real particles.
        """
        batch, number, width = h.shape
        difference = x[:, :, None] - x[:, None]
        squared, products = product(difference, difference), product(x[:, :, None], x[:, None])
        # (9): Linear on [h_i, h_j, psi, psi] is a sum of three maps, two of which need each particle only once.
        to_own, to_other, to_products = self.edge1.weight.split([width, width, 2], 1)
        own, other = functional.linear(h, to_own), functional.linear(h, to_other)
        minkowski = functional.linear(squash(torch.stack([squared, products], -1)), to_products)
        message = edges.pack((own[:, :, None] + other[:, None] + minkowski).flatten(1, 2))
        message = functional.relu(self.edge2(functional.relu(self.edge_norm(message, edges.real))))
        weight = torch.sigmoid(self.weight(message))
        open_pairs = edges.mask.view(batch, number, number, 1)

        def sum_over_others(values: Tensor) -> Tensor:
            spread = edges.unpack(values).view(batch, number, number, -1)
            return spread.masked_fill(~open_pairs, 0.0).sum(2)

        message = message * weight
        # (11)
        update = packing.pack(torch.cat([h, sum_over_others(message).to(h.dtype), scalars], -1))
        update = self.node2(functional.relu(self.node_norm(self.node1(update), packing.real)))
        h = h + packing.unpack(update)
        if self.vector1 is not None and self.vector2 is not None:
            # (10), as a mean over the other particles.
            factor = edges.unpack(self.vector2(functional.relu(self.vector1(message)))).view(batch, number, number, 1)
            shift = (difference * factor.to(x.dtype)).clamp(-100.0, 100.0).masked_fill(~open_pairs, 0.0).sum(2)
            x = x + self.step * shift / open_pairs.sum(2).clamp(min=1)
        return h, x


class LorentzNet(Network):
    """LorentzNet: 224,072 parameters with the scalars of top tagging and 2 classes.

    Where this departs from the author code: means are over the true number of other particles (there over the padded
    length of the batch, so that a jet's answer depends on its neighbours in the batch). Four-vectors and their products
    stay in float32 under autocast: E^2 - p^2 cancels.

    Args:
        n_features, n_classes: F and C.
        scalars: mass: the mass of each particle in one of two channels, particle or beam in this order, through psi:
            the paper's choice for top tagging; features: the inputs as they are, zero for beams (the logits are then as
            invariant as these, no more).
        beams: add two particles (0, 0, +-1, sqrt 2) of mass 1 along the beam.
        width: n.
        blocks: L.
        step: c: 5e-3 for top tagging, 1e-3 for quark/gluon.
        dropout: before the last layer.
    """

    published_names: ClassVar[dict[str, str]] = {
        r"^LGEBs\.": "blocks.",
        r"\.phi_e\.0\.": ".edge1.",
        r"\.phi_e\.1\.": ".edge_norm.",
        r"\.phi_e\.3\.": ".edge2.",
        r"\.phi_m\.0\.": ".weight.",
        r"\.phi_h\.0\.": ".node1.",
        r"\.phi_h\.1\.": ".node_norm.",
        r"\.phi_h\.3\.": ".node2.",
        r"\.phi_x\.0\.": ".vector1.",
        r"\.phi_x\.2\.": ".vector2.",
        r"^embedding\.": "embed.",
        r"^graph_dec\.": "head.",
    }

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        scalars: Literal["mass", "features"] = "mass",
        beams: bool = True,
        width: int = 72,
        blocks: int = 6,
        step: float = 5e-3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(jet_width=width, particle_width=width)
        if blocks < 1:
            raise JetloomError(f"blocks = {blocks}: expected at least 1")
        inputs = n_features if scalars == "features" else 2
        self.beams, self.use_features = beams, scalars == "features"
        self.embed = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            GroupEquivariantBlock(width, inputs, step, last=index == blocks - 1) for index in range(blocks)
        )
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, n_classes))

    def encode(self, batch: Batch) -> Encoded:
        """h of each particle, and the mean. Uses vectors and mask, and features where they are the scalars."""
        x, scalars, mask = self.particles(batch)
        number = mask.shape[1]
        pairs = mask[:, :, None] & mask[:, None] & ~torch.eye(number, dtype=torch.bool, device=mask.device)
        length = batch.longer(number - batch.mask.shape[1])
        packing = Packing(mask, length)
        edges = Packing(pairs.flatten(1), None if length is None else length * (length - 1))
        h = self.embed(scalars)
        for block in self.blocks:
            h, x = block(h, x, scalars, packing, edges)
        h = h.masked_fill(~mask[..., None], 0.0)
        beams = mask.shape[1] - batch.mask.shape[1]
        return Encoded(h[:, beams:], batch.mask, mean_of_real(h, mask))

    def particles(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Four-vectors (B, M, 4), scalars (B, M, S) and mask (B, M), with the beams in front where there are any."""
        vectors, mask = vectors_of(batch), batch.mask
        vectors = vectors.masked_fill(~mask[..., None], 0.0)
        vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
        if self.use_features:
            scalars = batch.features.masked_fill(~mask[..., None], 0.0).to(vectors.dtype)
        else:
            mass = product(vectors, vectors).abs().sqrt()
            scalars = squash(torch.stack([mass, torch.zeros_like(mass)], -1))
        if self.beams:
            beams = torch.stack([constants((0.0, 0.0, pz, 2.0**0.5), vectors) for pz in (1.0, -1.0)])
            vectors = torch.cat([beams.expand(vectors.shape[0], -1, -1), vectors], 1)
            scalars = functional.pad(scalars, (0, 0, 2, 0))
            if not self.use_features:
                scalars[:, :2, 1] = squash(torch.ones_like(scalars[:, :2, 1]))
            mask = functional.pad(mask, (2, 0), value=True)
        return vectors, scalars, mask
