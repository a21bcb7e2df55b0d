"""The tokenizer of OmniJet-alpha (arXiv:2403.05618): a conditional VQ-VAE, whose codes depend on the whole jet."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.attention import Projections, attend, key_bias
from jetloom.models.layers.codebook import Codebook
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.packing import Packing
from jetloom.models.tokenizer import Particles, Reconstruction, Tokenizer, particles_of


class Block(nn.Module):
    """r = x + LN2(MHA(LN1(x))), then r + W2 SiLU(W1 LN(r)), on packed particles; the authors' NormFormer.

    LN1 and W2 start at zero, so that a fresh block changes nothing.

    Args:
        width, heads: D and H; hidden values are D too.
        dropout: of attention weights and hidden values.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.attn = Projections(width)
        last = nn.Linear(width, width)
        self.mlp = nn.Sequential(LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), last)
        for start in (self.norm1.weight, last.weight, last.bias):
            nn.init.zeros_(start)

    def forward(self, x: Tensor, packing: Packing, bias: Tensor) -> Tensor:
        """Packed (n, D) to (n, D)."""
        query, key, value = packing.unpack(self.attn.query_key_value(self.norm1(x))).chunk(3, -1)
        attended = attend(query, key, value, self.heads, bias, self.dropout if self.training else 0.0)
        x = x + self.norm2(self.attn.out_proj(packing.pack(attended)))
        norm, first, silu, _, last = self.mlp
        answer: Tensor = x + last(dropout(silu(first(norm(x))), self.dropout, self.training))
        return answer


class VQVAE(Tokenizer):
    """Particles to latent vectors, to the nearest entries of a codebook, and back to particles.

    800,775 parameters as published, 32,776 of the codebook beside them.

    Args:
        n_features: not read; momenta are.
        n_classes: C.
        codes: K.
        width: D.
        blocks: of the encoder, and of the decoder.
        heads: H.
        latent: d, of the codebook.
        dropout: of attention weights and hidden values.
        affine_rate, sync, patience: of the codebook.

    Raises:
        JetloomError: a width that the heads do not divide.
    """

    published_names: ClassVar[dict[str, str]] = {
        r"^model\.": "",
        r"^(encoder|decoder)_normformer\.blocks\.": r"\1.",
        r"^vqlayer\.codebook\.weight$": "codebook.centres",
        r"^vqlayer\.affine_transform\.": "codebook.",
    }
    published_extra: ClassVar[tuple[str, ...]] = (r"^(model\.)?vqlayer\.(data_initialized|_counts)$",)
    """Entries of the authors' files that are no weights."""
    published_without: ClassVar[tuple[str, ...]] = ("codebook.idle", "head.weight", "head.bias")
    """Of ours what they have not."""

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        codes: int = 8192,
        width: int = 128,
        blocks: int = 4,
        heads: int = 8,
        latent: int = 4,
        dropout: float = 0.1,
        affine_rate: float = 2.0,
        sync: float = 1.0,
        patience: int = 10,
    ) -> None:
        super().__init__(latent, n_classes, codes)
        del n_features
        if width % heads:
            raise JetloomError(f"width: expected a multiple of heads = {heads}, got {width}")
        self.input_projection = nn.Linear(3, width)
        self.encoder = nn.ModuleList(Block(width, heads, dropout) for _ in range(blocks))
        self.latent_projection_in = nn.Linear(width, latent)
        self.codebook = Codebook(codes, latent, affine_rate, sync, patience)
        self.latent_projection_out = nn.Linear(latent, width)
        self.decoder = nn.ModuleList(Block(width, heads, dropout) for _ in range(blocks))
        self.output_projection = nn.Linear(width, 3)

    def reconstruct(self, batch: Batch) -> Reconstruction:
        """Codes and, with gradients through the codebook, what they stand for."""
        given = particles_of(batch)
        latent = self._latent(given)
        code, through, chosen = self.codebook(latent, given.kept)
        code = code.masked_fill(~given.kept, 0)
        values = self._decoded(through, given.kept)
        return Reconstruction(given, code, values, through, latent, chosen)

    @torch.no_grad()
    def entries_of(self, batch: Batch) -> Tensor:
        """(n, d): latent vectors, without dropout."""
        training = self.training
        given = particles_of(batch)
        latent = self.eval()._latent(given)[given.kept]
        self.train(training)
        return latent

    def start(self, entries: Tensor) -> None:
        """Entries at centres of clusters of latent vectors."""
        self.codebook.start(entries)

    def held(self, code: Tensor) -> Tensor:
        """(..., d)."""
        return self.codebook.entries(code)

    def decode(self, code: Tensor, kept: Tensor) -> Tensor:
        """Through the decoder, which sees the codes of the whole jet."""
        return self._decoded(self.held(code), kept)

    def _latent(self, given: Particles) -> Tensor:
        """(B, N, d), zero where no particle is kept."""
        packing, bias = Packing(given.kept), key_bias(given.kept)
        x = packing.pack(self.input_projection(given.values))
        for block in self.encoder:
            x = block(x, packing, bias)
        latent: Tensor = packing.unpack(self.latent_projection_in(x))
        return latent

    def _decoded(self, latent: Tensor, kept: Tensor) -> Tensor:
        """(B, N, 3) from (B, N, d), zero where no particle is kept."""
        packing, bias = Packing(kept), key_bias(kept)
        x = packing.pack(self.latent_projection_out(latent))
        for block in self.decoder:
            x = block(x, packing, bias)
        values: Tensor = packing.unpack(self.output_projection(x))
        return values
