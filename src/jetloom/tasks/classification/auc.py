"""AUC of a pass over jets, from counts that are summed on the device: no score is kept, ranks just add up."""

import torch
from torch import Tensor

BINS = 2048
"""Of the log-odds of a score: finer than the spread between seeds by far, and counted as ties inside a bin."""
LIMIT = 16.0
"""Log-odds beyond are counted as this."""


def empty_counts(n_classes: int, device: torch.device) -> Tensor:
    """(C, C, BINS) int64: jets by class whose score is meant, true class and bin."""
    return torch.zeros(n_classes, n_classes, BINS, dtype=torch.int64, device=device)


def count_(counts: Tensor, logits: Tensor, label: Tensor) -> None:
    """Add jets to the counts.

    Args:
        counts: of :func:`empty_counts`.
        logits: (B, C) float32.
        label: (B,) int64.
    """
    n_classes = logits.shape[1]
    log_score = logits.detach().log_softmax(1)
    # A diverged model is noticed by its loss; here it only must not count outside.
    log_odds = (log_score - torch.log(-torch.expm1(log_score))).nan_to_num(0.0)
    bins = ((log_odds + LIMIT) * (BINS / (2 * LIMIT))).clamp(0, BINS - 1).long()
    scored = torch.arange(n_classes, device=logits.device)
    cells = (scored * n_classes + label[:, None]) * BINS + bins
    counts.view(-1).index_add_(0, cells.flatten(), torch.ones_like(cells).flatten())


def macro_auc(counts: Tensor) -> float:
    """Macro one-vs-one AUC of the counts, as in :mod:`~jetloom.tasks.classification.metrics`;
    NaN without a pair of classes."""
    # Not on the device: an Apple GPU has no float64.
    counts = counts.cpu().double()
    own = counts.diagonal().t()[:, None]
    below = counts.cumsum(2) - counts / 2
    pairs = own.sum(2) * counts.sum(2)
    areas = (own * below).sum(2) / pairs
    counted = (pairs > 0) & ~torch.eye(len(counts), dtype=torch.bool)
    return areas[counted].mean().item()
