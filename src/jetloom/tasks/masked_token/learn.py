"""Masked particles: which of the k-means codes has a particle that the network does not see (arXiv:2401.13537)."""

from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.kmeans import kmeans, nearest
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.network import Encoded, Network
from jetloom.tasks.draws import drawing
from jetloom.tasks.masked_token.head import TokenHead
from jetloom.tasks.task import Data, Headed, Sums, Task

SAMPLE = 100_000
"""Particles of the training split that the codes are made of."""
SOFTEST = 1e-8
"""GeV; least pT before the logarithm."""


class MaskedToken(Task):
    """Cross entropy of the code of each masked particle, given those that are not masked.

    A code is the nearest of K centres of k-means in (ln pT - 1.8, 3 deta, 3 dphi), which is fitted before the training.
    Of n particles of a jet ``share`` n are masked, at least one and never all: their inputs are replaced by a learnt
    vector, their four-vectors and coordinates by zeros. Their rank in pT is all that the head knows of them.

    The loss is the sum over the masked particles of a batch, over the number of jets times the mean number of masked
    particles of a training jet. A mean over the masked particles of a batch, whose jets are of like length, would
    weigh those of short jets more.

    Args:
        data: length of the jets.
        share: of the particles that are masked.
        codes: K.
        head_width: of the layers that predict the codes.
        head_blocks: how many of them.

    Raises:
        JetloomError: point clouds, a share that is not between 0 and 1, fewer than two codes, or no such width.
    """

    totals: ClassVar[tuple[str, ...]] = ("nats", "right", "masked", "unigram", "jets")

    def __init__(
        self, data: Data, *, share: float = 0.3, codes: int = 512, head_width: int = 64, head_blocks: int = 2
    ) -> None:
        super().__init__(data)
        if data.kind != "jets":
            raise JetloomError(f"task.masked_token: its codes are of particles of jets; the data are {data.kind}")
        if not 0 < share < 1:
            raise JetloomError(f"task.masked_token.share: expected a number between 0 and 1, got {share}")
        if codes < 2:
            raise JetloomError(f"task.masked_token.codes: expected at least 2, got {codes}")
        if head_width < 4 or head_width % 4 or head_blocks < 1:
            raise JetloomError(
                f"task.masked_token: expected a head_width that 4 divides and at least one of head_blocks, got "
                f"{head_width} and {head_blocks}"
            )
        self.share, self.codes, self.head_width, self.head_blocks = share, codes, head_width, head_blocks
        self._expected = share * data.max_particles

    @property
    def columns(self) -> list[str]:
        """Sums over the masked particles of a jet: nats, right codes, their number, nats of the unigram."""
        return ["nats", "right", "masked", "unigram_nats"]

    def attach(self, network: Headed) -> None:
        """A head on the particles.

        Raises:
            JetloomError: the network keeps no particles.
        """
        if network.particle_width is None:
            raise JetloomError(f"task.masked_token: {type(network).__name__} keeps no particles; choose another model")
        network.head = TokenHead(
            network.particle_width, network.jet_width, len(self.data.inputs), self.codes, self.data.max_particles,
            self.head_width, self.head_blocks,
        )  # fmt: skip

    def fit(
        self, network: Headed, observers: Callable[[], NDArray[np.float32]], jets: Callable[[], Iterable[Batch]]
    ) -> None:
        """Centres of the codes and how often each occurs; how many particles of a jet are masked.

        Raises:
            JetloomError: fewer particles than codes.
        """
        points, masked = _sample(jets(), self.share)
        if len(points) < self.codes:
            raise JetloomError(
                f"task.masked_token: the training split has {len(points)} particles, fewer than codes = {self.codes}"
            )
        assert isinstance(network.head, TokenHead)
        # The seed of the training decides which particles these are.
        centres = kmeans(points, self.codes, seed=0)
        count = torch.bincount(nearest(points, centres), minlength=self.codes)
        network.head.centres.copy_(centres)
        network.head.frequency.copy_((count + 1) / (count + 1).sum())
        # Before it knows anything, it says how often each code occurs.
        with torch.no_grad():
            network.head.code.bias.copy_(network.head.frequency.log())
        self._expected = masked

    def step(self, model: nn.Module, batch: Batch, sums: Sums) -> Tensor:
        """Loss of particles that are masked for this step."""
        return self.loss(self._guessed(model, batch), batch, sums)

    def validate(self, model: nn.Module, batch: Batch, sums: Sums) -> None:
        """The same of particles that are masked for this batch."""
        self.loss(self._guessed(model, batch), batch, sums)

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, 4): the columns, of particles that are the same each time."""
        with drawing(batch.mask.device, len(batch.mask)):
            return self._guessed(model, batch)

    def loss(self, answer: Tensor, batch: Batch, sums: Sums) -> Tensor:
        """Sum of the nats over a constant for each jet.

        Args:
            answer: (B, 4), the columns.
            batch: of these jets.
            sums: of this pass.
        """
        total = answer.detach().sum(0)
        sums["totals"] += torch.cat([total, total.new_full((1,), len(answer))])
        return answer[:, 0].sum() / (len(answer) * self._expected)

    def row(self, sums: Sums) -> dict[str, float]:
        """Of a masked particle: ``loss`` (nats), ``accuracy``, ``unigram`` (nats). ``masked``: particles of a jet."""
        nats, right, masked, unigram, jets = sums["totals"].tolist()
        number = max(masked, 1)
        return {"loss": nats / number, "accuracy": right / number, "masked": masked / jets, "unigram": unigram / number}

    def _guessed(self, model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, Network) and isinstance(model.head, TokenHead)
        head, hidden = model.head, masked_slots(batch.mask, self.share)
        encoded: Encoded = model.run(model.encode, covered(batch, hidden, head.stand_in))
        number = None
        if batch.length is not None:
            number = masked_number(torch.from_numpy(batch.length), self.share).numpy()
        chosen = Packing(hidden, number)
        logits = head.logits(encoded.in_place(hidden.shape[1]), chosen, batch.length).float()
        code = nearest(particles(*(chosen.pack(x) for x in (vectors_of(batch), batch.coordinates))), head.centres)
        figures = torch.stack([
            functional.cross_entropy(logits, code, reduction="none"),
            (logits.detach().argmax(1) == code).float(),
            torch.ones_like(logits[:, 0]),
            -head.frequency[code].log(),
        ], 1)  # fmt: skip
        # Sums over the masked particles of each jet.
        return chosen.sums(figures)


def masked_number(number: Tensor, share: float) -> Tensor:
    """How many of so many particles are masked: at least one, never all."""
    return torch.minimum((share * number).round().clamp(min=1), number - 1).clamp(min=0).long()


def masked_slots(mask: Tensor, share: float) -> Tensor:
    """(B, N) bool: particles that are masked, drawn among the real ones of each jet."""
    rank = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, 2.0).argsort(1).argsort(1)
    return rank < masked_number(mask.sum(1, keepdim=True), share)


def covered(batch: Batch, hidden: Tensor, stand_in: Tensor) -> Batch:
    """The batch without what is known of hidden particles (B, N), but that they are there.

    Args:
        batch: jets.
        hidden: particles.
        stand_in: (F,) in place of their features.
    """
    slots = hidden[..., None]
    return batch._replace(
        features=torch.where(slots, stand_in.to(batch.features.dtype), batch.features),
        vectors=None if batch.vectors is None else batch.vectors.masked_fill(slots, 0.0),
        coordinates=batch.coordinates.masked_fill(slots, 0.0),
    )


def particles(vectors: Tensor, coordinates: Tensor) -> Tensor:
    """(n, 3) of particles (n, 4) and (n, 2): ln pT - 1.8 (pT in GeV), 3 deta, 3 dphi (arXiv:2403.05618)."""
    pt = kinematics.pt(vectors).clamp(min=SOFTEST)
    return torch.cat([pt.log()[:, None] - 1.8, 3 * coordinates.float()], 1)


def _sample(jets: Iterable[Batch], share: float) -> tuple[Tensor, float]:
    """Particles of the first jets, at most ``SAMPLE``, and the mean number of masked ones of these jets."""
    points, number = [torch.empty(0, 3)], [torch.empty(0)]
    for batch in jets:
        points.append(particles(vectors_of(batch)[batch.mask], batch.coordinates[batch.mask]))
        number.append(masked_number(batch.mask.sum(1), share).float())
        if sum(map(len, points)) >= SAMPLE:
            break
    return torch.cat(points)[:SAMPLE], max(float(torch.cat(number).sum()) / max(len(torch.cat(number)), 1), 1e-9)
