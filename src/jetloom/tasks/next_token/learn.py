"""Next token: which particle comes next, hardest first, or whether the jet ends (arXiv:2403.05618)."""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.packing import Packing
from jetloom.models.omnijet import OmniJet
from jetloom.tasks.lengths import lengths
from jetloom.tasks.task import Data, Headed, Sums, Task


class TokenHead(nn.Module):
    """Logits of the tokens.

    Args:
        width: D.
        tokens: K + 2.
    """

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.token = nn.Linear(width, tokens)

    def forward(self, known: Tensor) -> Tensor:
        """(..., D) to (..., K + 2)."""
        logits: Tensor = self.token(known)
        return logits


class NextToken(Task):
    """Cross entropy of each token from those before it; the stop token is one of them, the start token none.

    The loss is the sum over the targets of a batch, over the number of jets times the mean number of targets of a
    training jet. A mean over the targets of a batch, whose jets are of like length, would weigh a jet of n particles by
    1 / n, and what is generated would be too short.

    Args:
        data: of codes.
        window: learn the first so many targets of a jet, 128 as published: of a jet of as many particles or more not
            that it ends. None: all of them. An evaluation counts all.

    Raises:
        JetloomError: other data, a window without a target.
    """

    totals: ClassVar[tuple[str, ...]] = ("nats", "targets", "jets")

    def __init__(self, data: Data, *, window: int | None = None) -> None:
        super().__init__(data)
        if data.kind != "tokens":
            raise JetloomError("task.next_token: learns from tokens; make a token set first: made_by.tokenise")
        if window is not None and window < 1:
            raise JetloomError(f"task.next_token.window: expected at least 1, got {window}")
        self.window, self._expected, self._cut = window, float(data.max_particles + 1), 0.0

    @property
    def columns(self) -> list[str]:
        """Sum of the nats of the targets of a jet, and their number."""
        return ["nats", "targets"]

    def attach(self, network: Headed) -> None:
        """Logits of all tokens in place of those of classes.

        Raises:
            JetloomError: the network reads no tokens one after the other.
        """
        if not isinstance(network, OmniJet):
            raise JetloomError("task next_token: the network does not read token by token; base it on omnijet")
        network.head = TokenHead(network.jet_width, network.codes + 2)

    def fit(
        self, network: Headed, observers: Callable[[], NDArray[np.float32]], jets: Callable[[], Iterable[Batch]]
    ) -> None:
        """How many targets a jet has: its particles, and the stop token."""
        del network, observers
        targets = lengths(jets()) + 1
        if self.window is not None and len(targets):
            self._cut = float((targets > self.window).mean())
        self._expected = float(np.minimum(targets, self.window or np.inf).mean()) if len(targets) else 1.0

    def step(self, model: nn.Module, batch: Batch, sums: Sums) -> Tensor:
        """Loss of a batch."""
        return self.loss(nats(model, batch, self.window), batch, sums)

    def validate(self, model: nn.Module, batch: Batch, sums: Sums) -> None:
        """The same."""
        self.loss(nats(model, batch, self.window), batch, sums)

    def remark(self, row: Mapping[str, float]) -> str:
        """Jets that are longer than the window."""
        del row
        if not self._cut:
            return ""
        return f"task.next_token.window: {self._cut:.1%} of the training jets have {self.window} particles or more"

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, 2): the columns."""
        return nats(model, batch)

    def loss(self, answer: Tensor, batch: Batch, sums: Sums) -> Tensor:
        """Sum of the nats over a constant for each jet.

        Args:
            answer: (B, 2), the columns.
            batch: of these jets.
            sums: of this pass.
        """
        total = answer.detach().sum(0)
        sums["totals"] += functional.pad(total, (0, 1), value=float(len(answer)))
        return answer[:, 0].sum() / (len(answer) * self._expected)

    def row(self, sums: Sums) -> dict[str, float]:
        """``loss``: nats of a token; ``jet_nats``: of a whole jet."""
        total, targets, jets = sums["totals"].tolist()
        return {"loss": total / max(targets, 1), "jet_nats": total / jets}


def nats(model: nn.Module, batch: Batch, window: int | None = None) -> Tensor:
    """(B, 2): sum of the cross entropies of the targets of each jet, the first ``window`` of them, and their number."""
    assert isinstance(model, OmniJet)
    tokens, there = model.tokens(batch)
    number = batch.longer(1)
    if window is not None:
        tokens, there = tokens[:, : window + 1], there[:, : window + 1]
        number = None if number is None else number.clip(max=window)
    asked = Packing(there[:, 1:], number)
    known, targets = model.read(tokens[:, :-1], asked.mask, number), tokens[:, 1:, None]
    logits = model.head(asked.pack(known)).float()
    each = functional.cross_entropy(logits, asked.pack(targets)[:, 0], reduction="none")
    total = asked.sums(each[:, None])[:, 0]
    return torch.stack([total, asked.mask.sum(1).to(total)], 1)
