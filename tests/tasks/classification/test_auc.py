"""AUC from counts, against scikit-learn's from all scores."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from jetloom.config import Monitor, Training
from jetloom.tasks.classification.auc import count_, empty_counts, macro_auc
from jetloom.tasks.classification.learn import Classification
from jetloom.tasks.task import Data
from jetloom.training.module import Tagger
from jetloom.training.progress import Progress


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


class OnAppleGpu(Tensor):
    """Says that it lies on an Apple GPU, computes on the CPU, and refuses float64 as such a GPU does."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnAppleGpu":
        tensor = Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device="mps")
        tensor.inner = inner
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        device = torch.device(kwargs.pop("device", None) or "mps")
        args, kwargs = tree_map_only(OnAppleGpu, lambda x: x.inner, (args, kwargs))
        found = func(*args, **kwargs)

        def placed(x: Tensor) -> Tensor:
            if device.type != "mps":
                return x
            if x.dtype == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it")
            return OnAppleGpu(x)

        return tree_map_only(Tensor, placed, found)

    def tolist(self) -> list[Any]:
        """Which torch leaves to subclasses."""
        return self.inner.tolist()


def test_an_epoch_ends_on_a_device_without_float64() -> None:
    rows = []
    for place in (lambda x: x, OnAppleGpu):
        logits, label = scored(500, 3, 1.0)
        counts = empty_counts(3, torch.device("cpu"))
        count_(counts, logits, label)
        task = Classification(Data(["a", "b", "c"], []))
        tagger = Tagger(nn.Linear(2, 3), task, Progress(Training(), Monitor("loss", False), epoch=4), seed=1)
        tagger.trainer = SimpleNamespace(world_size=1)
        tagger.optimizers = lambda: SimpleNamespace(optimizer=SimpleNamespace(param_groups=[{"lr": 0.1, "peak": 0.1}]))
        tagger._train_sums = {"totals": place(torch.tensor([50.0, 60.0, 100.0]))}
        tagger._val_sums = {"totals": place(torch.tensor([5.0, 8.0, 10.0])), "counts": place(counts)}
        rows.append(tagger.finish_epoch() | {"seconds": 0})
    assert rows[0] == rows[1]
    assert rows[1]["train_accuracy"] == pytest.approx(0.6)


def test_the_pretended_device_refuses_float64() -> None:
    tensor = OnAppleGpu(torch.ones(2))
    assert tensor.device.type == "mps"
    assert (tensor + 1).cpu().tolist() == [2.0, 2.0]
    with pytest.raises(TypeError, match="float64"):
        tensor.double()
