"""Parts that several architectures share: arithmetic on real particles only."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch

SLOTS = 4096
"""Particle slots that go through a network at a time where it only predicts, on a CPU."""


def keep_dense() -> bool:
    """True while torch.compile or torch.export records a graph.

    Shapes that depend on how many particles are real would break or bloat the graph, so padded slots are then carried
    along and masked instead of being left out. The result is the same.
    """
    return torch.compiler.is_compiling()


def trimmed(batch: Batch) -> Batch:
    """The batch without the slots that no jet fills, behind its last real particle; a recorded graph keeps them."""
    if keep_dense():
        return batch
    filled = batch.mask.any(0).nonzero()
    width = int(filled[-1]) + 1 if len(filled) else 1
    if width >= batch.mask.shape[1]:
        return batch
    return Batch(*(None if x is None else x[:, :width] for x in batch[:4]), batch.label)


def in_parts(
    model: nn.Module,
    batch: Batch,
    slots: int = SLOTS,
    *,
    by_length: bool = True,
    forward: Callable[[Batch], Tensor] | None = None,
) -> Tensor | None:
    """The logits (B, C), computed for some jets at a time, whose tensors then stay in the cache of the processor.

    Args:
        model: batch to logits.
        batch: as it comes.
        slots: of the jets of a part.
        by_length: jets of like length go together, no wider than the longest; False: padding counts as particles.
        forward: of a part; None: the model's own.

    Returns:
        None if the batch has to go through whole: it is small, a gradient or statistics are wanted, a graph is being
        recorded, or there is a GPU to fill.
    """
    if keep_dense() or torch.is_grad_enabled() or model.training or batch.mask.device.type != "cpu":
        return None
    number, longest = batch.mask.shape
    jets = max(1, slots // longest)
    if number <= jets:
        return None
    width = (batch.mask * torch.arange(1, longest + 1)).amax(1)
    order = width.argsort() if by_length else torch.arange(number)
    logits = None
    for part in order.split(jets):
        widest = max(1, int(width[part].max())) if by_length else longest
        some = Batch(*(x if x is None else (x[part, :widest] if x.dim() > 1 else x[part]) for x in batch))
        answer = (forward or model)(some)
        logits = answer.new_empty(number, answer.shape[1]) if logits is None else logits
        logits[part] = answer
    return logits


class Packing:
    """The real particles of a batch in one row, so that no layer works on padding.

    Packed tensors are (n, D) with n the number of real particles of all jets. In a recorded graph
    (:func:`keep_dense`), and where every slot is real, packing only flattens: n = B N.

    Args:
        mask: (B, N) bool.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.rows: Tensor | None = None
        """(n,) rows of the flattened (B N) batch that are real; None: all rows are kept."""
        self.real: Tensor | None = None
        """(n,) bool, which of the packed rows are real; None: all."""
        if keep_dense():
            self.real = mask.flatten()
        else:
            rows = mask.flatten().nonzero()[:, 0]
            if len(rows) < mask.numel():
                self.rows = rows

    def pack(self, x: Tensor) -> Tensor:
        """(B, N, D) to (n, D); what stands in padded slots is lost, in a recorded graph it becomes zero."""
        if self.rows is not None:
            return x.flatten(0, 1)[self.rows]
        if self.real is not None:
            x = x.masked_fill(~self.mask[..., None], 0.0)
        return x.flatten(0, 1)

    def unpack(self, x: Tensor) -> Tensor:
        """(n, D) to (B, N, D); zeros in padded slots, in a recorded graph anything finite."""
        if self.rows is not None:
            flat = x.new_zeros(self.mask.numel(), x.shape[-1])
            flat[self.rows] = x
            x = flat
        return x.view(*self.mask.shape, -1)


class RealBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of packed rows (n, D) whose statistics leave padding out, also in a recorded graph."""

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Normalise.

        Args:
            x: (n, D).
            real: (n,) bool, rows that count; None: all. The statistics of a lone row are not defined: it is
                normalised with the running ones, which it leaves alone.
        """
        if not self.training:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if real is None:
            if len(x) < 2:
                return functional.batch_norm(
                    x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
                )
            return super().forward(x)
        weight = real[:, None].float()
        number = weight.sum().clamp(min=2.0)
        mean = (x.float() * weight).sum(0) / number
        variance = ((x.float() - mean).square() * weight).sum(0) / number
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        return ((x.float() - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias).to(x.dtype)

    def folded(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weight (D, K) and bias (D,) of the linear layer before, with the running normalisation built in."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return weight * scale[:, None], shift if bias is None else bias * scale + shift
