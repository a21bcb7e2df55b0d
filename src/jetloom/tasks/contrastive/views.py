"""Views of a jet that are the same jet to a contrastive task: the augmentations of JetCLR (arXiv:2108.04253).

Each is an operation on all jets of a batch at once. Random numbers come from torch's generator of the device, which a
training seeds by (seed, step, rank) and a validation by (seed, batch): the same key, the same views.

Angles are deta and dphi relative to the jet axis, as batches hold them: the axis is the origin.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.models.layers.constants import constants
from jetloom.tasks.task import Input

SMEARING = 0.1
"""GeV; over pT the width in eta and phi by which soft particles are moved."""
SOFTEST = 0.1
"""GeV; particles that are softer are moved as if they had this pT."""
STEEPEST = 15.0
"""Largest pseudorapidity that a moved particle gets, so that its momentum stays finite."""


class View(NamedTuple):
    """Particles of B jets in N slots."""

    pt: Tensor
    """(B, N) GeV; zero where padded."""
    place: Tensor
    """(B, N, 2) deta, dphi; zero where padded."""
    mask: Tensor
    """(B, N) bool, True for a particle."""
    parent: Tensor
    """(B, N) slot of the batch whose particle this one was, or was a part of."""


def of_batch(batch: Batch) -> View:
    """The jets as they are. Needs four-vectors."""
    assert batch.vectors is not None
    pt = kinematics.pt(batch.vectors).masked_fill(~batch.mask, 0.0)
    slots = torch.arange(pt.shape[1], device=pt.device).expand_as(pt)
    return View(pt, batch.coordinates.float().masked_fill(~batch.mask[..., None], 0.0), batch.mask, slots)


def rotated(view: View) -> View:
    """Each jet turned about its axis by an angle of its own, U(0, 2 pi)."""
    angle = 2 * torch.pi * torch.rand(len(view.pt), 1, device=view.pt.device)
    (eta, phi), cos, sin = view.place.unbind(-1), angle.cos(), angle.sin()
    return view._replace(place=torch.stack([cos * eta - sin * phi, sin * eta + cos * phi], -1))


def translated(view: View, width: float) -> View:
    """Each jet shifted by U(-w, w) times its extent along either angle; phi stays within pi of the axis.

    Args:
        view: jets.
        width: w.
    """
    real = view.mask[..., None]
    low = view.place.masked_fill(~real, torch.inf).amin(1, keepdim=True)
    high = view.place.masked_fill(~real, -torch.inf).amax(1, keepdim=True)
    reach = (width * (high - low)).clamp(min=0.0)
    most = constants([torch.inf, torch.pi], reach)
    lowest, highest = torch.maximum(-reach, -most - low), torch.minimum(reach, most - high)
    shift = lowest + (highest - lowest) * torch.rand_like(reach)
    return view._replace(place=torch.where(real, view.place + shift, view.place))


def split(view: View) -> View:
    """Particles split in two that fly on together, the shares r and 1 - r of the momentum with r ~ U(0, 1).

    Mothers are drawn among the real particles, half of them or as many as there are free slots; the second part goes
    into a free slot. What is there already is never overwritten, and the sum of the momenta stays.
    """
    mask = view.mask
    number = mask.sum(1, keepdim=True)
    splits = torch.minimum(number // 2, mask.shape[1] - number)
    order = torch.rand_like(view.pt).masked_fill(~mask, 2.0).argsort(1)
    rank = order.argsort(1)
    # The j-th mother of the random order gives a part to the j-th free slot.
    free = (~mask).cumsum(1).sub(1).clamp(min=0)
    mothers, daughters = rank < splits, ~mask & (free < splits)
    share = torch.rand_like(view.pt)
    mother = order.gather(1, free)
    kept = torch.where(mothers, view.pt * (1 - share.gather(1, rank)), view.pt)
    return View(
        torch.where(daughters, view.pt.gather(1, mother) * share.gather(1, free), kept),
        torch.where(daughters[..., None], _taken(view.place, mother), view.place),
        mask | daughters,
        torch.where(daughters, view.parent.gather(1, mother), view.parent),
    )


def smeared(view: View) -> View:
    """Each particle moved along either angle by N(0, 0.1 GeV / pT): only soft ones move visibly."""
    width = (SMEARING / view.pt.clamp(min=SOFTEST))[..., None]
    moved = view.place + width * torch.randn_like(view.place)
    return view._replace(place=torch.where(view.mask[..., None], moved, view.place))


def batch_of(view: View, batch: Batch, inputs: Sequence[Input]) -> Batch:
    """The batch that a network reads of a view: hardest particle first, everything derived from the new kinematics.

    A particle keeps its mass, a part of one the same share of it. Inputs that are no function of the kinematics
    (charge, kind, impact parameters) are those of the parent. pT and energy of the jet, to which some inputs are
    relative, stay those of the jet as it was.

    Args:
        view: of the jets of ``batch``.
        batch: with four-vectors.
        inputs: name and standardisation of each column of its features.
    """
    assert batch.vectors is not None
    order = view.pt.masked_fill(~view.mask, -1.0).argsort(dim=1, descending=True, stable=True)
    view = View(view.pt.gather(1, order), _taken(view.place, order), *(x.gather(1, order) for x in view[2:]))
    real = view.mask[..., None]
    old = batch.map_slots(lambda x: _taken(x, view.parent) if x.dim() == 3 else x.gather(1, view.parent))
    assert old.vectors is not None
    before = old.vectors.float().masked_fill(~real, 0.0)
    shift = view.place - old.coordinates.float().masked_fill(~real, 0.0)
    vectors = _moved(before, view.pt, _outward(batch)[:, None] * shift[..., 0], shift[..., 1])
    place = torch.stack([view.place[..., 0], kinematics.delta_phi(view.place[..., 1], torch.zeros(()))], -1)
    columns = _Columns(before, vectors, place)
    features = [columns.of(item, old.features[..., index]) for index, item in enumerate(inputs)]
    return Batch(
        torch.stack(features, -1).masked_fill(~real, 0.0),
        vectors.masked_fill(~real, 0.0),
        place.masked_fill(~real, 0.0),
        view.mask,
        batch.label,
        batch.observers,
    )


class _Columns:
    """Inputs of moved particles, (B, N) each, from their four-vectors before and after and from deta and dphi."""

    def __init__(self, before: Tensor, vectors: Tensor, place: Tensor) -> None:
        pt, energy = kinematics.pt(vectors), vectors[..., 3]
        self.ratio = {"pt": pt / kinematics.pt(before), "e": energy / before[..., 3]}
        self.values = {
            "part_pt": pt,
            "part_pt_log": pt.log(),
            "part_e_log": energy.log(),
            "part_deltaR": place.square().sum(-1).sqrt(),
            "part_deta": place[..., 0],
            "part_dphi": place[..., 1],
        }

    def of(self, item: Input, old: Tensor) -> Tensor:
        """One of them, standardised; ``old`` is that of the parent."""
        name, subtract, multiply, low, high = item
        raw = old if subtract is None or multiply is None else old / multiply + subtract
        if name in self.values:
            raw = self.values[name]
        elif name == "part_ptrel":
            raw = raw * self.ratio["pt"]
        elif name in ("part_logptrel", "part_logerel"):
            raw = raw + self.ratio["pt" if name == "part_logptrel" else "e"].log()
        else:
            return old
        value = raw if subtract is None or multiply is None else ((raw - subtract) * multiply).clamp(low, high)
        return value.nan_to_num(0.0, 0.0, 0.0)


def _moved(before: Tensor, pt: Tensor, deta: Tensor, dphi: Tensor) -> Tensor:
    """Four-vectors (B, N, 4) of the same masses, times the share of pT that is left, in other directions."""
    share = pt / kinematics.pt(before).clamp(min=1e-20)
    eta = (kinematics.eta(before) + deta).clamp(-STEEPEST, STEEPEST)
    phi = kinematics.phi(before) + dphi
    momentum = torch.stack([pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()], -1)
    scaled = share[..., None] * before
    # E^2 + p'^2 - p^2: exact where the particle stays in place.
    change = momentum.square().sum(-1) - scaled[..., :3].square().sum(-1)
    energy = (scaled[..., 3].square() + change).clamp(min=0.0).sqrt().maximum(momentum.square().sum(-1).sqrt())
    return torch.cat([momentum, energy[..., None]], -1)


def _outward(batch: Batch) -> Tensor:
    """(B,) 1 or -1: the sign of deta against eta, which data sets choose so that deta grows away from the middle."""
    assert batch.vectors is not None
    number = batch.mask.sum(1, keepdim=True).clamp(min=1)
    eta, deta = (
        x.masked_fill(~batch.mask, 0.0) for x in (kinematics.eta(batch.vectors), batch.coordinates[..., 0].float())
    )
    eta, deta = (x - x.sum(1, keepdim=True) / number for x in (eta, deta))
    return torch.where((eta * deta * batch.mask).sum(1) < 0, -1.0, 1.0)


def _taken(x: Tensor, slots: Tensor) -> Tensor:
    """(B, N, K) at other slots (B, N)."""
    return x.gather(1, slots[..., None].expand(*slots.shape, x.shape[-1]))
