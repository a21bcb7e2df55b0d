"""Vector quantisation with an affine codebook and a synchronised update (vqtorch; Huh et al., arXiv:2305.08842)."""

import torch
from torch import Tensor, distributed, nn

from jetloom.models.fast import waits
from jetloom.models.layers.kmeans import kmeans, nearest

NOISE = 0.01
"""Of a code that is replaced, over the length of what it is replaced by."""


class Codebook(nn.Module):
    """K entries c'_k = (1 + lambda s) c_k + lambda b, of which the nearest one stands for a vector.

    Gradients g of the output reach the vector as they are (straight through), and times ``sync`` the codebook, its
    scale s and its shift b. An entry that stood for nothing in ``patience`` training steps is put where a vector of the
    next step is; unlike in the published code it lands there through the affine map, on the entry c'.

    Args:
        codes, width: K and d.
        affine_rate: lambda.
        sync: nu, share of the gradient of the output that reaches the codebook.
        patience: training steps.
    """

    single = True
    idle: Tensor
    """(K,) int64, steps that are left before the entry is replaced."""

    def __init__(self, codes: int, width: int, affine_rate: float, sync: float, patience: int) -> None:
        super().__init__()
        self.affine_rate, self.sync, self.patience = affine_rate, sync, patience
        self.centres = nn.Parameter(torch.randn(codes, width))
        self.scale = nn.Parameter(torch.zeros(1, width))
        self.bias = nn.Parameter(torch.zeros(1, width))
        self.register_buffer("idle", torch.full((codes,), patience))

    def entries(self, code: Tensor) -> Tensor:
        """c' of codes (...), (..., d)."""
        return (1 + self.affine_rate * self.scale[0]) * self.centres[code] + self.affine_rate * self.bias[0]

    @property
    def all(self) -> Tensor:
        """(K, d) c'."""
        return (1 + self.affine_rate * self.scale) * self.centres + self.affine_rate * self.bias

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Put the entries at centres of clusters of vectors (n, d)."""
        self.centres.copy_(self._behind(kmeans(vectors, len(self.centres), seed=0, iterations=10)))

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors (..., d) to codes, what stands for them, and the same with the codebook's own gradient.

        Args:
            vectors: (..., d).
            mask: (...) bool, True for those that count as use of a code.

        Returns:
            (...) int64, and twice (..., d).
        """
        if self.training:
            self._replace(vectors.detach().flatten(0, -2), mask.flatten())
        code = nearest(vectors.detach().flatten(0, -2), self.all.detach()).view(mask.shape)
        if self.training:
            self._count(code.flatten(), mask.flatten())
        chosen = self.entries(code)
        # The value is that of the entry to the last bit.
        through = chosen.detach() + (vectors - vectors.detach()) + self.sync * (chosen - chosen.detach())
        return code, through, chosen

    @torch.no_grad()
    def _count(self, code: Tensor, mask: Tensor) -> None:
        used = torch.zeros_like(self.idle).index_add_(0, code, mask.to(self.idle.dtype))
        if _several():
            distributed.all_reduce(used)
        self.idle.copy_(torch.where(used > 0, self.patience, self.idle - 1))

    @torch.no_grad()
    def _replace(self, vectors: Tensor, mask: Tensor) -> None:
        """Put entries that have stood for nothing for too long where some of the vectors (n, d) of a mask (n,) are."""
        dead = self.idle <= 0
        if waits(dead):
            # One for each entry: how many are dead is not asked.
            drawn = self._drawn(vectors, mask, len(dead))
        else:
            number = int(dead.sum())
            if not number:
                return
            drawn = vectors.new_zeros(self.centres.shape, dtype=torch.float32)
            drawn[dead] = self._drawn(vectors[mask], mask[mask], number)
        if _several():
            # All processes have the same codebook, and each takes part, whether it has vectors or not.
            distributed.broadcast(drawn, 0)
        replaced = dead & ~drawn.isnan().any()
        self.centres.copy_(torch.where(replaced[:, None], self._behind(drawn), self.centres))
        self.idle.masked_fill_(replaced, self.patience)

    def _drawn(self, vectors: Tensor, mask: Tensor, number: int) -> Tensor:
        """(number, d) float32: about where vectors (n, d) of a mask (n,) are; not a number where there are none."""
        if not len(vectors):
            return vectors.new_full((number, vectors.shape[1]), torch.nan, dtype=torch.float32)
        if waits(mask):
            real = mask.cumsum(0)
            rank = (torch.rand(number, device=mask.device) * real[-1]).long()
            place = torch.searchsorted(real, rank + 1).clamp(max=len(mask) - 1)
        else:
            place = torch.randint(len(vectors), (number,))
        drawn: Tensor = vectors[place].float()
        drawn = drawn + NOISE * drawn.norm(dim=1, keepdim=True) * torch.randn_like(drawn)
        return drawn.masked_fill(~mask.any(), torch.nan)

    def _behind(self, entries: Tensor) -> Tensor:
        """The centres c of entries c' (K, d)."""
        centres: Tensor = (entries - self.affine_rate * self.bias) / (1 + self.affine_rate * self.scale)
        return centres


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
