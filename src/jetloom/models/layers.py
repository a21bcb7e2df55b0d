"""Parts that several architectures share: arithmetic on real particles only."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def keep_dense() -> bool:
    """True while torch.compile or torch.export records a graph.

    Shapes that depend on how many particles are real would break or bloat the graph, so padded slots are then carried
    along and masked instead of being left out. The result is the same.
    """
    return torch.compiler.is_compiling()


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
        """(n, D) to (B, N, D); zeros in padded slots."""
        if self.rows is not None:
            flat = x.new_zeros(self.mask.numel(), x.shape[-1])
            flat[self.rows] = x
            x = flat
        x = x.view(*self.mask.shape, -1)
        return x if self.real is None else x.masked_fill(~self.mask[..., None], 0.0)


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


def mean_of_real(particles: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real particles: (B, N, D), zero where padded, and (B, N) to (B, D); zero of no particle."""
    return particles.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
