"""Which of the classes a jet belongs to: cross entropy of the logits."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from jetloom.batch import Batch
from jetloom.tasks.classification.auc import count_, empty_counts, macro_auc
from jetloom.tasks.task import Sums, Task


class Classification(Task):
    """Cross entropy over the classes of the data set; accuracy and, in validation, the macro AUC stand beside it."""

    totals: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "jets")
    output: ClassVar[str] = "scores"

    @property
    def columns(self) -> list[str]:
        """``score_<class>``."""
        return [f"score_{name}" for name in self.data.classes]

    def validation_sums(self, device: torch.device) -> Sums:
        """The totals, and counts of jets by class, score and true class."""
        return self.sums(device) | {"counts": empty_counts(len(self.data.classes), device)}

    def loss(self, answer: Tensor, batch: Batch, sums: Sums) -> Tensor:
        """Mean cross entropy (nats)."""
        label = batch.labels
        loss = cross_entropy(answer, label)
        right = (answer.detach().argmax(dim=1) == label).sum()
        jets = len(label)
        sums["totals"] += torch.stack([loss.detach() * jets, right.float(), torch.full_like(loss.detach(), jets)])
        return loss

    def score(self, answer: Tensor, batch: Batch, sums: Sums) -> None:
        """Loss, right answers, and the counts behind the AUC."""
        self.loss(answer, batch, sums)
        count_(sums["counts"], answer, batch.labels)

    def row(self, sums: Sums) -> dict[str, float]:
        """``loss``, ``accuracy`` and, in validation, ``auc``."""
        counts = sums.get("counts")
        return super().row(sums) | ({} if counts is None else {"auc": macro_auc(counts)})

    def said(self, answer: Tensor) -> str:
        """The class of the highest score."""
        return self.data.classes[int(answer.argmax())]

    def outputs(self, answer: Tensor) -> Tensor:
        """Softmax scores (B, C)."""
        return answer.softmax(dim=1)
