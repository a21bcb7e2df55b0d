"""The Transformer of the size study arXiv:2608.02735: LLoCa's second backbone (arXiv:2505.20280) without frames.

Pre-norm blocks with RMSNorm, a gated feed-forward network, and a global item that reads the jet out. The control of
L-GATr-slim and of the ParT of the same study at equal width, depth and heads.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.attention import attend, key_bias
from jetloom.models.layers.items import with_items_in_front
from jetloom.models.layers.packing import Packing
from jetloom.models.layers.rms_norm import RMSNorm
from jetloom.models.layers.sizes import Size, blocks_of, heads_of
from jetloom.models.network import Encoded, Network


class PreNormBlock(nn.Module):
    """x + Attention(N x), then x + W2 (GELU(g) h) with (g, h) = W1 N x, without the attention itself.

    Args:
        width: D.
        heads: H.
        ratio: hidden width of the feed-forward network over D.
        version: 2; 1 is LLoCa's first backbone: N is LayerNorm without gains, and W2 GELU(W1 N x) has no gate.
    """

    def __init__(self, width: int, heads: int, ratio: int, version: Literal[2, 1] = 2) -> None:
        super().__init__()
        self.heads, self.gated = heads, version == 2
        self.norm1, self.norm2 = (
            RMSNorm(width) if self.gated else nn.LayerNorm(width, elementwise_affine=False) for _ in range(2)
        )
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, (2 if self.gated else 1) * ratio * width)
        self.fc2 = nn.Linear(ratio * width, width)

    def split(self, x: Tensor) -> Tensor:
        """(n, D) to queries, keys and values (n, 3, D / H, H): the author code has the head as the fastest index."""
        split: Tensor = self.query_key_value(self.norm1(x)).unflatten(-1, (3, -1, self.heads))
        return split

    def joined(self, x: Tensor, attended: Tensor) -> Tensor:
        """(n, D) and what the heads found for it, (n, D) with the head as the slowest index, to the new (n, D)."""
        return self.feed_forward(x + self.out(attended))

    def feed_forward(self, x: Tensor) -> Tensor:
        """(n, D) to (n, D), the second half."""
        hidden = self.fc1(self.norm2(x))
        if self.gated:
            gate, hidden = hidden.chunk(2, -1)
            hidden = functional.gelu(gate) * hidden
        else:
            hidden = functional.gelu(hidden)
        inner: Tensor = self.fc2(hidden)
        return x + inner


class Block(PreNormBlock):
    """The block with ordinary attention."""

    def forward(self, x: Tensor, packing: Packing, bias: Tensor) -> Tensor:
        """Packed (n, D) to (n, D); ``bias`` closes the keys of padding."""
        query, key, value = packing.spread(self.split(x).transpose(-1, -2).flatten(1)).chunk(3, -1)
        return self.joined(x, packing.pack(attend(query, key, value, self.heads, bias)))


class TransformerV2(Network):
    """Transformer of the size study: 1,323,265 parameters with 7 features and one logit.

    Args:
        n_features, n_classes: F and C.
        size: published widths, 0 being 1.3 million parameters; over the widths below.
        width: D.
        blocks, heads: of the attention, H.
        ffn_ratio: hidden width of the feed-forward network over D.
    """

    jets_apart = True

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        size: Size = None,
        width: int = 128,
        blocks: int = 8,
        heads: int = 8,
        ffn_ratio: int = 2,
    ) -> None:
        if size is not None:
            width, blocks, heads, ffn_ratio = 2 ** (size + 7), blocks_of(size), heads_of(size), 2
        if width % heads:
            raise JetloomError(f"heads = {heads} does not divide width = {width}")
        super().__init__(jet_width=width, particle_width=width)
        self.embed = nn.Linear(n_features + 1, width)
        self.blocks = nn.ModuleList(Block(width, heads, ffn_ratio) for _ in range(blocks))
        self.head = nn.Linear(width, n_classes)

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the last block, and the global item. Uses features and mask."""
        mask = functional.pad(batch.mask, (1, 0), value=True)
        packing, bias = Packing(mask, batch.longer(1)), key_bias(mask)
        x = self.embed(packing.pack(with_items_in_front(batch.features.masked_fill(~batch.mask[..., None], 0.0), 1)))
        for block in self.blocks:
            x = block(x, packing, bias)
        items = packing.unpack(x)
        return Encoded(items[:, 1:], batch.mask, items[:, 0])
