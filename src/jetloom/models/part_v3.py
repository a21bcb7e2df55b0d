"""ParT, versions 2, 3 and 3.5, from the facts of weaver-core 0.5.3; version 3 is the ParT of arXiv:2608.02735.

The particle embedding, pair embedding and the two kinds of blocks are those of :mod:`jetloom.models.part`; inside of a
block stands less: no scales and no second normalisation, but a gated feed-forward network. Parameters carry the names
of weaver-core, so its checkpoints load.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.attention import attend, key_bias
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.embedding import ParticleEmbedding
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.packed_attention import Bias, bias_of_pairs, packed_attend
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.layers.pairs import PairEmbedding
from jetloom.models.layers.rms_norm import RMSNorm
from jetloom.models.layers.sizes import Size, blocks_of, heads_of
from jetloom.models.network import Encoded, Network

Version = Literal["v3", "v2", "v3.5"]


class Attention(nn.Module):
    """Multi-head attention; in version 3.5 with normalised queries and keys, and a gate on what the heads find.

    Args:
        width: D.
        heads: H.
        version: 3 and 3.5 have no biases.
    """

    def __init__(self, width: int, heads: int, version: Version) -> None:
        super().__init__()
        biased, gated = version == "v2", version == "v3.5"
        self.heads = heads
        self.in_proj = nn.Linear(width, 3 * width, bias=biased)
        self.out_proj = nn.Linear(width, width, bias=biased)
        self.q_norm = RMSNorm(width // heads) if gated else None
        self.k_norm = RMSNorm(width // heads) if gated else None
        self.gate_proj = nn.Linear(width, width, bias=False) if gated else None

    def project(self, x: Tensor, parts: slice) -> Tensor:
        """Some of query, key and value, (..., D) to (..., 3 D) or less."""
        width = x.shape[-1]
        rows = slice(parts.start * width, parts.stop * width)
        bias = None if self.in_proj.bias is None else self.in_proj.bias[rows]
        return functional.linear(x, self.in_proj.weight[rows], bias)

    def query(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D), normalised for each head where the version says so."""
        return x if self.q_norm is None else self._by_head(self.q_norm, x)

    def key(self, x: Tensor) -> Tensor:
        """The same for keys."""
        return x if self.k_norm is None else self._by_head(self.k_norm, x)

    def _by_head(self, norm: RMSNorm, x: Tensor) -> Tensor:
        normed: Tensor = norm(x.unflatten(-1, (self.heads, -1)))
        return normed.flatten(-2).to(x.dtype)

    def projected(self, attended: Tensor, x: Tensor) -> Tensor:
        """W_O of what the heads found for x, both (..., D)."""
        if self.gate_proj is not None:
            attended = attended * torch.sigmoid(self.gate_proj(x))
        out: Tensor = self.out_proj(attended)
        return out


class Block(nn.Module):
    """What particle and class blocks share: x + Attention(N(x)), then x + W2 (SiLU(W_g N(x)) W1 N(x)).

    Args:
        width, heads, ffn_ratio: D, H and hidden width of the feed-forward network over D.
        version: LayerNorm and biases in 2, RMSNorm without biases in 3 and 3.5.
        rate: of dropout, on attention weights, hidden values and residuals.
        drop_path: how often a jet goes past a half of the block in training.
    """

    def __init__(self, width: int, heads: int, ffn_ratio: int, version: Version, rate: float, drop_path: float) -> None:
        super().__init__()
        self.heads, self.rate, self.drop_path = heads, rate, drop_path
        self.pre_attn_norm, self.pre_fc_norm = norm(width, version), norm(width, version)
        self.attn = Attention(width, heads, version)
        self.fc1, self.fc1_g = (nn.Linear(width, ffn_ratio * width, bias=version == "v2") for _ in range(2))
        self.fc2 = nn.Linear(ffn_ratio * width, width, bias=version == "v2")

    @property
    def attention_dropout(self) -> float:
        """Of the attention weights, now."""
        return self.rate if self.training else 0.0

    def feed_forward(self, x: Tensor) -> Tensor:
        """(..., D) to what is added to it."""
        normed = self.pre_fc_norm(x)
        hidden = functional.silu(self.fc1_g(normed)) * self.fc1(normed)
        out: Tensor = self.fc2(dropout(hidden, self.rate, self.training))
        return out

    def kept(self, mask: Tensor) -> Tensor:
        """(B, 1, 1) for jets (B, ...): zero for those that go past, for the others what keeps the mean."""
        ones = torch.ones(mask.shape[0], 1, 1, device=mask.device)
        if not self.training or not self.drop_path:
            return ones
        return (ones * (1 - self.drop_path)).bernoulli() / (1 - self.drop_path)


class ParticleBlock(Block):
    """Attention among particles, biased by pairs. Packed (n, D) to (n, D)."""

    def forward(self, x: Tensor, packing: Packing, bias: Bias) -> Tensor:
        """The block; the bias is that of pairs."""
        normed = self.pre_attn_norm(x)
        query, key, value = self.attn.project(normed, slice(0, 3)).chunk(3, -1)
        together = torch.cat([self.attn.query(query), self.attn.key(key), value], -1)
        attended = packed_attend(together, packing, self.heads, bias, self.attention_dropout)
        x = x + self.past(self.attn.projected(attended, normed), packing)
        return x + self.past(self.feed_forward(x), packing)

    def past(self, x: Tensor, packing: Packing) -> Tensor:
        """Dropout of a residual (n, D), and of whole jets."""
        x = dropout(x, self.rate, self.training)
        if not self.training or not self.drop_path:
            return x
        return x * packing.pack(self.kept(packing.mask).expand(*packing.mask.shape, 1)).to(x.dtype)


class ClassBlock(Block):
    """Attention of the class token to itself and the particles; its query is not normalised. It drops no weights."""

    def forward(self, token: Tensor, particles: Tensor, bias: Tensor) -> Tensor:
        """Token (B, 1, D), particles (B, N, D), bias (B, 1, 1, 1 + N) to the new token (B, 1, D)."""
        normed = self.pre_attn_norm(torch.cat([token, particles.to(token.dtype)], 1))
        key, value = self.attn.project(normed, slice(1, 3)).chunk(2, -1)
        query = self.attn.query(self.attn.project(token, slice(0, 1)))
        attended = self.attn.projected(attend(query, self.attn.key(key), value, self.heads, bias), token)
        token = token + (attended * self.kept(token)).to(token.dtype)
        return token + (self.feed_forward(token) * self.kept(token)).to(token.dtype)


def norm(width: int, version: Version) -> nn.Module:
    """Normalisation of a version."""
    return LayerNorm(width) if version == "v2" else RMSNorm(width)


def without_bias(embedding: PairEmbedding) -> PairEmbedding:
    """A pair embedding whose convolutions have a bias of zero that is no parameter."""
    for layer in embedding.embed:
        if isinstance(layer, nn.Conv1d) and layer.bias is not None:
            zeros = torch.zeros_like(layer.bias)
            del layer.bias
            layer.register_buffer("bias", zeros, persistent=False)
    return embedding


class ParTV3(Network):
    """Particle Transformer, version 3: 2,770,278 parameters with 17 features and 10 classes.

    Where this departs from the author code: as in :class:`jetloom.models.part.ParT`, statistics of batch normalisation
    come from real particles and pairs only, and jets are not trimmed to random lengths.

    Args:
        n_features, n_classes: F and C.
        version: v3; v2: LayerNorm and biases; v3.5: normalised queries and keys, and a gate.
        size: published widths of the size study, 0 being 1.3 million parameters; over the widths below.
        embedding: widths of the particle embedding; the last is D.
        pair_embedding: hidden widths of the pair embedding.
        blocks, class_blocks, heads: particle and class attention blocks, H.
        ffn_ratio: hidden width of the feed-forward networks over D.
        dropout: in the particle blocks: 0 in version 3, 0.1 in version 2.
        drop_path: how often a jet goes past a half of a block in training: 0.1 in version 3, 0 in version 2.
    """

    published_names: ClassVar[dict[str, str]] = {r"^fc\.0\.": "head."}

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        version: Version = "v3",
        size: Size = None,
        embedding: tuple[int, ...] = (128, 512, 128),
        pair_embedding: tuple[int, ...] = (64, 64, 64),
        blocks: int = 8,
        class_blocks: int = 2,
        heads: int = 8,
        ffn_ratio: int = 4,
        dropout: float = 0.0,
        drop_path: float = 0.1,
    ) -> None:
        if size is not None:
            embedding, pair_embedding = (2 ** (size + 7),), (2 ** (size + 6),) * 3
            class_blocks = 2 if size >= 0 else 1
            blocks, heads, ffn_ratio = blocks_of(size) - class_blocks, heads_of(size), 2
        width = embedding[-1]
        if width % heads:
            raise JetloomError(f"heads = {heads} does not divide the width {width}, the last entry of embedding")
        super().__init__(jet_width=width, particle_width=width)
        self.embed = ParticleEmbedding(n_features, embedding)
        self.pair_embed = PairEmbedding(pair_embedding, heads)
        if version != "v2":
            without_bias(self.pair_embed)
        self.blocks = nn.ModuleList(
            ParticleBlock(width, heads, ffn_ratio, version, dropout, drop_path) for _ in range(blocks)
        )
        self.cls_blocks = nn.ModuleList(
            ClassBlock(width, heads, ffn_ratio, version, 0.0, drop_path) for _ in range(class_blocks)
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.norm = norm(width, version)
        self.head = nn.Linear(width, n_classes)
        self.start()

    @torch.no_grad()
    def start(self) -> None:
        """Xavier uniform, query, key and value each for itself; residuals of block l start 1 / sqrt(2 l) as large."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                for part in module.weight.chunk(3 if name.endswith("in_proj") else 1):
                    nn.init.xavier_uniform_(part)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for number, block in enumerate(self.blocks, 1):
            assert isinstance(block, ParticleBlock)
            for linear in (block.attn.out_proj, block.fc2):
                linear.weight.div_((2 * number) ** 0.5)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the particle blocks, and the class token. Uses features, vectors, mask."""
        packing, mask = Packing(batch.mask, batch.length, batch.room), batch.mask
        x = self.embed(packing.pack(batch.features), packing.real)
        bias = bias_of_pairs(self.pair_embed, vectors_of(batch), packing)
        for block in self.blocks:
            x = block(x, packing, bias)
        particles = packing.unpack(x)
        token = self.cls_token.expand(mask.shape[0], -1, -1).to(particles.dtype)
        to_keys = functional.pad(key_bias(mask), (1, 0))
        for block in self.cls_blocks:
            token = block(token, particles, to_keys)
        return Encoded(particles, mask, self.norm(token[:, 0]))
