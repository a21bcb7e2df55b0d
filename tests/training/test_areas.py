"""AUC from counts, against scikit-learn's from all scores."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from jetloom.training.areas import count_, empty_counts, macro_auc


def scored(jets: int, n_classes: int, separation: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(jets)
    label = torch.randint(n_classes, (jets,), generator=generator)
    logits = torch.randn(jets, n_classes, generator=generator)
    logits[torch.arange(jets), label] += separation
    return logits, label


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("separation", [0.0, 1.0, 8.0])
def test_that_of_scikit_learn(n_classes, separation):
    logits, label = scored(3000, n_classes, separation)
    parts = [empty_counts(n_classes, torch.device("cpu")) for _ in range(2)]
    for start in range(0, 3000, 700):
        # As two ranks with several batches each would.
        count_(parts[start % 1400 // 700], logits[start : start + 700], label[start : start + 700])
    scores = logits.softmax(1).numpy()
    expected = roc_auc_score(
        label, scores[:, 1] if n_classes == 2 else scores, multi_class="raise" if n_classes == 2 else "ovo"
    )
    assert macro_auc(parts[0] + parts[1]) == pytest.approx(expected, abs=2e-4)


def test_certain_scores_and_missing_classes():
    counts = empty_counts(3, torch.device("cpu"))
    count_(counts, torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]]), torch.tensor([0, 1]))
    assert macro_auc(counts) == 1.0
    alone = empty_counts(3, torch.device("cpu"))
    count_(alone, torch.zeros(4, 3), torch.tensor([1, 1, 1, 1]))
    assert math.isnan(macro_auc(alone))
