"""JetCLR (arXiv:2108.04253): two views of a jet are alike, views of different jets are not."""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.tasks.contrastive import views
from jetloom.tasks.contrastive.views import View
from jetloom.tasks.draws import drawing
from jetloom.tasks.task import Data, Headed, Sums, Task

Augmentation = Literal["rotation", "translation", "splitting", "smearing"]


class Contrastive(Task):
    """NT-Xent between two views of each jet, on a projection that is thrown away afterwards.

    The first view is rotated and translated; the second is rotated, its particles split, smeared, and translated. Of
    these a translation must be named to be done: inputs relative to the jet axis would say how far a jet was shifted.

    Args:
        data: inputs of the particles.
        temperature: tau.
        projection: widths of the projection head; ReLU and Linear for each, as published.
        augmentations: of the four.
        translation_width: largest shift over the extent of the jet.

    Raises:
        JetloomError: point clouds, no augmentation, no width, or a temperature that is not positive.
    """

    totals: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "alignment", "uniformity", "jets")

    def __init__(
        self,
        data: Data,
        *,
        temperature: float = 0.1,
        projection: tuple[int, ...] = (64, 64),
        augmentations: tuple[Augmentation, ...] = ("rotation", "splitting", "smearing"),
        translation_width: float = 1.0,
    ) -> None:
        super().__init__(data)
        if data.kind != "jets":
            raise JetloomError(f"task.contrastive: its views are of jets; the data are {data.kind}")
        if not temperature > 0:
            raise JetloomError(f"task.contrastive.temperature: expected a positive number, got {temperature}")
        if not projection or min(projection) < 1:
            raise JetloomError(f"task.contrastive.projection: expected at least one width, got {list(projection)}")
        if not augmentations:
            raise JetloomError("task.contrastive.augmentations: expected at least one; a jet is like itself anyway")
        self.temperature, self.projection, self.augmentations = temperature, projection, frozenset(augmentations)
        self.translation_width = translation_width

    @property
    def columns(self) -> list[str]:
        """Squared distance of the projected views; 1 where the partner is the nearest of all views of the batch."""
        return ["alignment", "partner_found"]

    @property
    def width(self) -> int:
        """Of the projection."""
        return self.projection[-1]

    def attach(self, network: Headed) -> None:
        """The projection in place of the network's own head: what it leaves is the encoder's ``jet``."""
        widths = (network.jet_width, *self.projection)
        layers = [(nn.ReLU(), nn.Linear(*pair)) for pair in pairwise(widths)]
        network.head = nn.Sequential(*(layer for pair in layers for layer in pair))

    def step(self, model: nn.Module, batch: Batch, sums: Sums) -> Tensor:
        """NT-Xent of two views that are drawn for this step."""
        return self.loss(self._projected(model, batch), batch, sums)

    def validate(self, model: nn.Module, batch: Batch, sums: Sums) -> None:
        """The same of two views that are drawn for this batch."""
        self.loss(self._projected(model, batch), batch, sums)

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """(2 B, P): projections of the first views, then of the second ones, the same each time."""
        with drawing(batch.mask.device, len(batch.mask)):
            return self._projected(model, batch)

    def loss(self, answer: Tensor, batch: Batch, sums: Sums) -> Tensor:
        """NT-Xent of the projections (2 B, P), over the jets of this process."""
        logits, partner = nt_xent(answer, self.temperature)
        loss = functional.cross_entropy(logits, partner)
        with torch.no_grad():
            found = (logits.argmax(1) == partner).float().mean()
            first, second = functional.normalize(answer, dim=1).chunk(2)
            alignment = (first - second).square().sum(1).mean()
            distances = torch.pdist(first)
            uniformity = (-2 * distances.square()).exp().mean() if len(distances) else torch.ones_like(alignment)
            jets = torch.full_like(loss.detach(), len(batch.mask))
            figures = torch.stack([loss.detach(), found, alignment, uniformity])
            sums["totals"] += torch.cat([figures * jets, jets[None]])
        return loss

    def row(self, sums: Sums) -> dict[str, float]:
        """``loss``, ``accuracy`` (share of views whose partner is the nearest), ``alignment`` and ``uniformity``."""
        row = super().row(sums)
        return row | {"uniformity": sums["totals"][3].div(sums["totals"][-1]).log().item()}

    def outputs(self, answer: Tensor) -> Tensor:
        """(B, 2): of the first view of each jet."""
        logits, partner = nt_xent(answer, self.temperature)
        first, second = functional.normalize(answer, dim=1).chunk(2)
        found = (logits.argmax(1) == partner)[: len(first)]
        return torch.stack([(first - second).square().sum(1), found.float()], 1)

    def views(self, batch: Batch) -> tuple[Batch, Batch]:
        """Two views of each jet, as networks read them."""
        start = views.of_batch(batch)
        first, second = self._turned(start), self._turned(start)
        if "splitting" in self.augmentations:
            second = views.split(second)
        if "smearing" in self.augmentations:
            second = views.smeared(second)
        if "translation" in self.augmentations:
            first, second = (views.translated(view, self.translation_width) for view in (first, second))
        one, two = (views.batch_of(view, batch, self.data.inputs) for view in (first, second))
        return one, two

    def _turned(self, view: View) -> View:
        return views.rotated(view) if "rotation" in self.augmentations else view

    def _projected(self, model: nn.Module, batch: Batch) -> Tensor:
        with torch.no_grad():
            one, two = self.views(batch)
            pair = [
                None if a is None or b is None else torch.cat([a, b])
                for a, b in zip(one.tensors, two.tensors, strict=True)
            ]
        # Both at once: normalisation over the batch sees them alike.
        projected: Tensor = model(Batch._make([*pair, None, None])).float()
        return projected


def nt_xent(answer: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Logits s_ik / tau of the 2 B views against each other, and the place of each one's partner.

    l_i = -ln [exp(s_ij / tau) / sum_{k != i} exp(s_ik / tau)] with the cosine s and the partner j of i
    (arXiv:2002.05709, eq. 1): the cross entropy of these. The partner is one of the sum.

    Args:
        answer: (2 B, P), row i + B is the partner of row i.
        temperature: tau.

    Returns:
        (2 B, 2 B), minus infinity on the diagonal, and (2 B,).
    """
    rows = functional.normalize(answer, dim=1)
    own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    logits = (rows @ rows.mT / temperature).masked_fill(own, -torch.inf)
    return logits, torch.arange(len(rows), device=rows.device).roll(len(rows) // 2)
