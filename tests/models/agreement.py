"""What tests of several networks look at: kernels beside formulas, and sizes of the tensors in between."""

from typing import Any

import torch
from torch import nn

from jetloom.batch import Batch
from jetloom.models import fast
from tests.models.jets import random_jets, with_padding


def in_double(batch: Batch) -> Batch:
    """The same jets in double precision."""
    return batch.map(lambda x: x.double() if x.is_floating_point() else x)


def kernels_give_the_formulas(model: nn.Module, tolerance: float) -> None:
    """Logits, and gradients to ten times the tolerance, of jets of 0 to 9 particles; padding is not a number."""
    length = torch.tensor([0, 1, 2, 3, 4, 9])
    batch = in_double(random_jets(6, 9, full=True, seed=4))
    batch = with_padding(batch._replace(mask=torch.arange(9) < length[:, None]), float("nan"))
    logits, slopes = [], []
    for kernels in (True, False):
        with torch.enable_grad() if kernels else fast.off():
            logits.append(model(batch))
            slopes.append(torch.autograd.grad(logits[-1].square().sum(), list(model.parameters())))
    torch.testing.assert_close(logits[0], logits[1], rtol=tolerance, atol=tolerance)
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=10 * tolerance, atol=10 * tolerance)
        assert one.isfinite().all()


@torch.no_grad()
def largest_tensor(model: nn.Module, batch: Batch) -> int:
    """Numbers in the largest tensor that any function of a forward pass gives."""
    sizes: list[int] = []

    class Sizes(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = function(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor):
                sizes.append(found.numel())
            return found

    with Sizes():
        model(batch)
    return max(sizes)
