"""Tokenisation: particles as codes, so that as little as possible of them is lost (arXiv:2403.05618)."""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.tokenizer import Reconstruction, Tokenizer, axis, vectors_from
from jetloom.statistics.closeness import perplexity, used
from jetloom.substructure import OBSERVABLES, observables
from jetloom.tasks.lengths import lengths
from jetloom.tasks.task import Data, Headed, Sums, Task

COLLAPSED = 0.05
"""Share of the codes below which a user is told."""


class Tokenisation(Task):
    """Squared error of what the codes stand for, and what keeps latent vectors and codebook together.

    L = mean (x - x')^2 + alpha [(1 - beta) mean (z - sg c)^2 + beta mean (sg z - c)^2], where x are the particles, x'
    what the codes stand for, z the latent vectors, c the entries of the codebook that stand for them and sg holds the
    gradient; of a tokenizer without latent vectors the first term alone. beta weighs the term of the codebook, as in
    the authors' code.

    Each mean is over the numbers of all kept particles of a batch in proportion to their number: a sum over a constant,
    the mean number of particles of a training jet times the jets. Batches are of jets of like length; a mean over the
    particles of a batch would weigh those of short jets more. Unlike in the authors' code padding does not count.

    Args:
        data: of jets.
        alpha, beta: as above.

    Raises:
        JetloomError: point clouds or codes, or a weight out of range.
    """

    totals: ClassVar[tuple[str, ...]] = ("loss", "squares", "kept", "particles", "jets")

    def __init__(self, data: Data, *, alpha: float = 10.0, beta: float = 0.9) -> None:
        super().__init__(data)
        if data.kind != "jets":
            raise JetloomError(f"task.tokenisation: codes are of particles of jets; the data are {data.kind}")
        if alpha < 0 or not 0 <= beta <= 1:
            raise JetloomError(f"task.tokenisation: expected alpha >= 0 and beta in [0, 1], got {alpha} and {beta}")
        self.alpha, self.beta = alpha, beta
        self._expected = float(data.max_particles)
        self._codes = 0

    @property
    def columns(self) -> list[str]:
        """Sum of the squares over the kept particles of a jet, and their number; observables decoded and true."""
        given = [f"{side}_{name}" for side in ("decoded", "true") for name in OBSERVABLES]
        return ["squares", "kept", "particles", *given]

    def attach(self, network: Headed) -> None:
        """Nothing stands behind a tokenizer.

        Raises:
            JetloomError: the network is none.
        """
        if not isinstance(network, Tokenizer):
            raise JetloomError("task tokenisation: the network is no tokenizer; expected kmeans or vqvae")
        network.head = nn.Identity()
        self._codes = network.codes

    def fit(
        self, network: Headed, observers: Callable[[], NDArray[np.float32]], jets: Callable[[], Iterable[Batch]]
    ) -> None:
        """Start of the codebook, and how many particles a jet has.

        Raises:
            JetloomError: fewer particles than codes.
        """
        del observers
        assert isinstance(network, Tokenizer)
        network.begin(jets())
        found = lengths(jets())
        self._expected = max(float(found.mean()), 1e-9) if len(found) else 1e-9

    def sums(self, device: torch.device) -> Sums:
        """With a count of each code."""
        empty = super().sums(device)
        return empty | {"codes": torch.zeros(self._codes, dtype=empty["totals"].dtype, device=device)}

    def step(self, model: nn.Module, batch: Batch, sums: Sums) -> Tensor:
        """The loss of a batch; a codebook replaces entries that nothing uses."""
        return self._added(model, batch, sums)

    def validate(self, model: nn.Module, batch: Batch, sums: Sums) -> None:
        """The same of a codebook as it is."""
        self._added(model, batch, sums)

    def loss(self, answer: Tensor, batch: Batch, sums: Sums) -> Tensor:
        """A tokenizer's loss is of codes and latent vectors, which an answer has not."""
        raise NotImplementedError("tokenisation takes step and validate")

    def row(self, sums: Sums) -> dict[str, float]:
        """``loss``; ``mse`` of a number of a particle; ``perplexity`` and ``used`` share of the codes; ``dropped``."""
        loss, squares, kept, particles, jets = sums["totals"].tolist()
        counts = sums["codes"].cpu().numpy()
        return {
            "loss": loss / jets,
            "mse": squares / max(kept, 1),
            "perplexity": perplexity(counts),
            "used": used(counts),
            "dropped": 1 - kept / max(particles, 1),
        }

    def remark(self, row: Mapping[str, float]) -> str:
        """A codebook of which next to nothing is used."""
        if row["val_used"] >= COLLAPSED:
            return ""
        return (
            f"the codebook has collapsed: {row['val_used']:.1%} of {self._codes} codes are used; replace unused codes "
            "sooner (option `patience` of vqvae) or lower training.learning_rate"
        )

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, K): the columns."""
        found = _reconstructed(model, batch)
        vectors, eta_phi = vectors_of(batch), axis(vectors_of(batch), batch.mask)
        kept = found.given.kept
        decoded = vectors_from(found.values.float(), *eta_phi)
        sides = [(decoded, kept), (vectors, batch.mask)]
        told = [observables(of.double().cpu().numpy(), mask.cpu().numpy()) for of, mask in sides]
        columns = torch.from_numpy(np.stack([side[name] for side in told for name in OBSERVABLES], 1))
        counts = torch.stack([_squares(found), kept.sum(1).float(), batch.mask.sum(1).float()], 1)
        return torch.cat([counts, columns.to(counts)], 1)

    def _added(self, model: nn.Module, batch: Batch, sums: Sums) -> Tensor:
        found = _reconstructed(model, batch)
        kept = found.given.kept
        squares, number = _squares(found).sum(), kept.sum()
        total = squares
        if found.latent is not None and found.chosen is not None:
            latent, chosen = found.latent.float(), found.chosen.float()
            packing = Packing(kept)
            committed = packing.pack((latent - chosen.detach()).square().mean(-1, keepdim=True)).sum()
            moved = packing.pack((latent.detach() - chosen).square().mean(-1, keepdim=True)).sum()
            total = squares + self.alpha * ((1 - self.beta) * committed + self.beta * moved)
        per_jet = total / self._expected
        with torch.no_grad():
            particles, jets = batch.mask.sum(), torch.full_like(per_jet, len(batch.mask))
            sums["totals"] += torch.stack([per_jet.detach(), squares, number, particles, jets])
            sums["codes"].index_add_(0, found.code.flatten(), kept.flatten().to(sums["codes"].dtype))
        return per_jet / len(batch.mask)


def _reconstructed(model: nn.Module, batch: Batch) -> Reconstruction:
    assert isinstance(model, Tokenizer)
    return model.reconstruct(batch)


def _squares(found: Reconstruction) -> Tensor:
    """(B,) sum over the kept particles of the mean square of their three numbers."""
    return (found.values.float() - found.given.values).square().mean(-1).masked_fill(~found.given.kept, 0.0).sum(1)
