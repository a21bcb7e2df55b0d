"""OmniJet-alpha (arXiv:2403.05618): a causal transformer without positions on the codes of the particles of a jet.

A jet of n particles with codes c in 0 ... K - 1 is the sequence 0, c_1 + 1, ..., c_n + 1, K + 1: start, particles,
stop. The vocabulary has K + 2 tokens. Only here codes become tokens; files hold codes.
"""

from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.attention import attend, joined, split
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.packing import Packing, unpacked
from jetloom.models.network import Encoded, Network

START = 0
"""Token in front of the first particle; the stop token comes behind all codes."""


class Past(NamedTuple):
    """Keys and values of the tokens so far in one block."""

    key: Tensor
    """(B, H, t, D / H)."""
    value: Tensor
    """(B, H, t, D / H)."""


class CausalAttention(nn.Module):
    """Multi-head attention to a token itself and to those before it; projections of the heads have no bias.

    Args:
        width, heads: D and H.
        dropout: of the attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.key, self.query, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Packed (n, D) to (n, D)."""
        query, key, value = (packing.unpack(of(x)) for of in (self.query, self.key, self.value))
        dropped = self.dropout if self.training else 0.0
        attended = attend(query, key, value, self.heads, None, dropped, causal=True)
        answer: Tensor = self.proj(packing.pack(attended))
        return answer

    def next(self, x: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """The last token alone, (B, 1, D): the same as the last row of the whole, and what is past then."""
        key, value = split(self.key(x), self.heads), split(self.value(x), self.heads)
        if past is not None:
            key, value = torch.cat([past.key, key], 2), torch.cat([past.value, value], 2)
        found = functional.scaled_dot_product_attention(split(self.query(x), self.heads), key, value)
        return self.proj(joined(found)), Past(key, value)


class Block(nn.Module):
    """LN(x + MHA(x)), then LN(x + W2 ReLU(W1 x)) with 4 D hidden values.

    Args:
        width, heads, dropout: as of the attention.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.mha_block = CausalAttention(width, heads, dropout)
        self.ff_block = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.layernorm_1, self.layernorm_2 = LayerNorm(width), LayerNorm(width)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Packed (n, D) to (n, D)."""
        return self._after(x, self.mha_block(x, packing))

    def next(self, x: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """The last token alone, (B, 1, D)."""
        attended, past = self.mha_block.next(x, past)
        return self._after(x, attended), past

    def _after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.layernorm_1(x + attended)
        answer: Tensor = self.layernorm_2(x + self.ff_block(x))
        return answer


class Summation(nn.Module):
    """W2 sum_t ReLU(W1 x_t) over all tokens, start and stop among them: the authors' head of classes.

    Args:
        width: D.
        n_classes: C.
    """

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(width, width)
        self.classes = nn.Linear(width, n_classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) and mask (B, T) to (B, C)."""
        summed = functional.relu(self.embed(tokens)).masked_fill(~mask[..., None], 0.0).sum(1)
        logits: Tensor = self.classes(summed)
        return logits


class OmniJet(Network):
    """The backbone, with the head of classes or, in a generator, one of the next token.

    4,464,640 parameters in the backbone as published, with 8192 codes.

    Args:
        n_features: K, how many codes there are.
        n_classes: C.
        width: D.
        blocks: of the transformer.
        heads: H.
        dropout: of the attention weights.

    Raises:
        JetloomError: a width that the heads do not divide.
    """

    ordered = True
    published_names: ClassVar[dict[str, str]] = {
        r"^module\.": "",
        r"^GPT_blocks\.": "blocks.",
        r"\.ff_block\.net\.": ".ff_block.",
        r"^head\.fc1\.": "head.token.",
        r"^head\.classification_head_linear_embed\.": "head.embed.",
        r"^head\.classification_head_linear_class\.": "head.classes.",
    }
    published_extra: ClassVar[tuple[str, ...]] = (r"\.mha_block\.tril$",)

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        width: int = 256,
        blocks: int = 3,
        heads: int = 8,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(width, width)
        if width % heads:
            raise JetloomError(f"width: expected a multiple of heads = {heads}, got {width}")
        self.codes = n_features
        self.embedding_table = nn.Embedding(n_features + 2, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(blocks))
        self.head: nn.Module = Summation(width, n_classes)

    @property
    def last(self) -> nn.Module:
        """The layer behind the sum."""
        own: nn.Module = self.head.classes if isinstance(self.head, Summation) else super().last
        return own

    def tokens(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, N + 2) tokens from start to stop, and which of them are there."""
        stop = self.codes + 1
        length = batch.mask.sum(1, keepdim=True)
        place = torch.arange(batch.mask.shape[1] + 2, device=batch.mask.device)
        known = functional.pad(batch.features[..., 0].long() + 1, (1, 1), value=stop)
        tokens = torch.where(place <= length, known, stop)
        return torch.where(place == 0, START, tokens), place <= length + 1

    def read(self, tokens: Tensor, there: Tensor | None = None, number: NDArray[np.int64] | None = None) -> Tensor:
        """What is known at each token from it and those before.

        Args:
            tokens: (B, T).
            there: (B, T) which of them are there, those in front; None: all.
            number: (B,) how many of each jet are, where the host knows it.

        Returns:
            (B, T, D), zero where there is none.
        """
        packing = unpacked(tokens.bool()) if there is None else Packing(there, number)
        x = packing.pack(self.embedding_table(tokens))
        for block in self.blocks:
            x = block(x, packing)
        return packing.unpack(x)

    def read_next(self, token: Tensor, past: list[Past | None]) -> tuple[Tensor, list[Past | None]]:
        """(B,) the next token to (B, D): the last row of :meth:`read`, from what the earlier ones have left.

        Args:
            token: of each jet.
            past: of each block; None before the first token.
        """
        x, now = self.embedding_table(token)[:, None], list[Past | None]()
        for block, before in zip(self.blocks, past, strict=True):
            assert isinstance(block, Block)
            x, after = block.next(x, before)
            now.append(after)
        return x[:, 0], now

    def encode(self, batch: Batch) -> Encoded:
        """What is known at each particle; ``jet`` is what is known at the stop token, which sees all of them."""
        tokens, there = self.tokens(batch)
        known = self.read(tokens, there, batch.longer(2))
        last = batch.mask.sum(1) + 1
        jet = known[torch.arange(known.shape[0], device=known.device), last]
        return Encoded(known[:, 1:-1].masked_fill(~batch.mask[..., None], 0.0), batch.mask, jet)

    def answer(self, encoded: Encoded) -> Tensor:
        """What the head says; the authors' head of classes reads all tokens, from start to stop."""
        if not isinstance(self.head, Summation):
            return super().answer(encoded)
        jets = encoded.jet.shape[0]
        # It sees itself alone, in every jet.
        start = self.read(torch.full((1, 1), START, device=encoded.jet.device)).expand(jets, -1, -1)
        known = torch.cat([start.to(encoded.jet), encoded.kept, encoded.jet[:, None]], 1)
        answer: Tensor = self.head(known, functional.pad(encoded.mask, (1, 1), value=True))
        return answer
