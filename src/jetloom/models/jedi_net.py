"""JEDI-net (arXiv:1908.05318), an interaction network on all pairs of particles, from the equations of the paper.

With networks f_R, f_O and phi_C of three linear layers of widths h, h / 2 and D, an activation behind each but the last
one of phi_C:

1. m_i = sum_{j != i} f_R([x_i, x_j]), D = D_e: what receiver i is told by all senders j;
2. o_i = f_O([x_i, m_i]), D = D_o;
3. logits = phi_C(o), of all o_i in turn (flat) or of their sum.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.all_pairs import sum_over_senders
from jetloom.models.layers.packing import Packing, lengthened, of_length, unpacked
from jetloom.models.network import Encoded, Network

Activation = Literal["relu", "elu", "selu"]
ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "selu": nn.SELU}


def layers(widths: tuple[int, ...], activation: str) -> list[nn.Module]:
    """Linear and activation for each pair of widths."""
    found: list[nn.Module] = []
    for before, after in pairwise(widths):
        # In its place: what stands in front of it is needed by nobody, and pairs are many.
        found += [nn.Linear(before, after), ACTIVATIONS[activation](inplace=True)]
    return found


class JediNet(Network):
    """JEDI-net: 33,625 parameters with 16 features and 5 classes.

    Args:
        n_features, n_classes: F and C.
        max_particles: longest jet; N of the flat form, and the length that ``mask: published`` pads to.
        readout: flat: phi_C reads each particle at its place in the order; sum: their sum.
        hidden: h.
        messages: D_e.
        outputs: D_o.
        activations: of f_R, f_O and phi_C.
        mask: real: padding sends nothing, receives nothing and is zero in (3). published: it takes part as zero rows,
            always up to ``max_particles``.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        max_particles: int = 100,
        readout: Literal["flat", "sum"] = "flat",
        hidden: int = 30,
        messages: int = 10,
        outputs: int = 10,
        activations: tuple[Activation, ...] = ("elu", "elu", "elu"),
        mask: Literal["real", "published"] = "real",
    ) -> None:
        super().__init__(jet_width=outputs * (max_particles if readout == "flat" else 1), particle_width=outputs)
        if len(activations) != 3:
            raise JetloomError(
                f"activations: expected those of three networks, f_R, f_O and phi_C, got {list(activations)}"
            )
        if min(max_particles, hidden // 2, messages, outputs) < 1:
            raise JetloomError(
                f"hidden = {hidden} must be at least 2, and max_particles = {max_particles}, messages = {messages} and "
                f"outputs = {outputs} at least 1"
            )
        self.max_particles, self.flat, self.ordered = max_particles, readout == "flat", readout == "flat"
        self.masked = mask == "real"
        self.reads_padding = not self.masked
        of_relation, of_object, of_jet = activations
        inner = (hidden, hidden // 2)
        self.relation = nn.Sequential(*layers((2 * n_features, *inner, messages), of_relation))
        self.object = nn.Sequential(*layers((n_features + messages, *inner, outputs), of_object))
        self.head = nn.Sequential(*layers((self.jet_width, *inner), of_jet), nn.Linear(inner[-1], n_classes))

    def encode(self, batch: Batch) -> Encoded:
        """(1) and (2), and what phi_C reads. Uses features and mask.

        Raises:
            JetloomError: a jet is longer than ``max_particles``.
        """
        batch = of_length(batch, self.max_particles, type(self).__name__, exactly=not self.masked)
        padded = ~batch.mask[..., None]
        packing = Packing(batch.mask, batch.length) if self.masked else unpacked(batch.mask)
        x = packing.pack(batch.features if self.masked else batch.features.masked_fill(padded, 0.0))
        told = sum_over_senders(self.relation, x, packing)  # (1)
        particles = packing.unpack(self.object(torch.cat([x, told.to(x.dtype)], -1)))  # (2)
        if self.flat:
            jet = lengthened(particles, self.max_particles - particles.shape[1]).flatten(1)
        else:
            jet = particles.sum(1)
        return Encoded(particles if self.masked else particles.masked_fill(padded, 0.0), batch.mask, jet)
