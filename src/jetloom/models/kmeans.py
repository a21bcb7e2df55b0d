"""Clusters of particles as codes: the tokenizer that sees each particle alone."""

import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.models.layers.kmeans import kmeans, nearest
from jetloom.models.tokenizer import Reconstruction, Tokenizer, particles_of


class KMeans(Tokenizer):
    """K centres; a code is the nearest one, and stands for it.

    The centres start from k-means (Lloyd) on some particles. What a training makes of them is k-means too: the gradient
    of the squared distance to the nearest centre moves that centre only (Bottou, Bengio, NeurIPS 1994).

    Args:
        n_features: not read; momenta are.
        n_classes: C.
        codes: K.
    """

    single = True

    def __init__(self, n_features: int, n_classes: int, *, codes: int = 8192) -> None:
        super().__init__(3, n_classes, codes)
        del n_features
        self.centres = nn.Parameter(torch.randn(codes, 3))

    def entries_of(self, batch: Batch) -> Tensor:
        """(n, 3): the particles."""
        given = particles_of(batch)
        return given.values[given.kept]

    @torch.no_grad()
    def start(self, entries: Tensor) -> None:
        """Centres of clusters of the particles."""
        self.centres.copy_(kmeans(entries, self.codes, seed=0))

    def reconstruct(self, batch: Batch) -> Reconstruction:
        """Nearest centres."""
        given = particles_of(batch)
        code = nearest(given.values.flatten(0, 1), self.centres.detach()).view(given.kept.shape)
        code = code.masked_fill(~given.kept, 0)
        values = self.decode(code, given.kept)
        return Reconstruction(given, code, values, values, None, None)

    def held(self, code: Tensor) -> Tensor:
        """(..., 3)."""
        return self.centres[code]

    def decode(self, code: Tensor, kept: Tensor) -> Tensor:
        """The centres."""
        return self.held(code).masked_fill(~kept[..., None], 0.0)
