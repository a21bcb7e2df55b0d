"""Self-attention of the plain Transformer encoder and its variants, on packed particles (n, D)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.errors import JetloomError
from jetloom.models.layers.attention import Projections, attend
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.lsh_attention import ITSELF, lsh_attend, rotations
from jetloom.models.layers.normformer import scale_heads
from jetloom.models.layers.packing import Packing


class SharedProjections(nn.Module):
    """Projections of an attention whose queries are its keys (Reformer, arXiv:2001.04451, section 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_value = nn.Linear(width, 2 * width)
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.query_value.weight)
        nn.init.zeros_(self.query_value.bias)
        nn.init.zeros_(self.out_proj.bias)


class SelfAttention(nn.Module):
    """x + Attention(LayerNorm x); with ``normformer`` ParT's per-head scale and LayerNorm behind the attention.

    Args:
        width: D.
        heads: H.
        dropout: of attention weights and output.
        normformer: with the extras.
        shared: queries are the keys: the keys normalised to unit length per head, a particle does not look at itself
            unless it is alone.
    """

    def __init__(self, width: int, heads: int, dropout: float, normformer: bool, shared: bool = False) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise JetloomError(f"heads = {heads} does not divide the width {width}")
        self.heads, self.dropout = heads, dropout
        self.norm = LayerNorm(width)
        self.attn: Projections | SharedProjections = SharedProjections(width) if shared else Projections(width)
        self.head_scale = nn.Parameter(torch.ones(heads)) if normformer else None
        self.out_norm = LayerNorm(width) if normformer else None

    def attended(self, x: Tensor, packing: Packing, bias: Tensor) -> Tensor:
        """What the heads return, (B, N, D), from normalised packed particles (n, D)."""
        dropped = self.dropout if self.training else 0.0
        if isinstance(self.attn, Projections):
            query, key, value = packing.unpack(self.attn.query_key_value(x)).chunk(3, -1)
            return attend(query, key, value, self.heads, bias, dropped)
        query, value = packing.unpack(self.attn.query_value(x)).chunk(2, -1)
        key = functional.normalize(query.unflatten(-1, (self.heads, -1)).float(), dim=-1).flatten(-2).to(query.dtype)
        itself = torch.eye(query.shape[1], device=query.device) * ITSELF
        return attend(query, key, value, self.heads, bias + itself, dropped)

    def forward(self, x: Tensor, packing: Packing, bias: Tensor) -> Tensor:
        """Packed (n, D) to (n, D); bias broadcastable to (B, H, N, N), added to the scores."""
        out = self.attn.out_proj(packing.pack(self.attended(self.norm(x), packing, bias)))
        if self.head_scale is not None and self.out_norm is not None:
            out = self.out_norm(scale_heads(out, self.head_scale, "weaver0.5"))
        return x + dropout(out, self.dropout, self.training)


class HashedAttention(SelfAttention):
    """Self-attention within hash buckets, queries being keys. No dropout of attention weights.

    Training draws new hash directions at every step, as the paper does; evaluation uses those that are stored with
    the weights, so that the same jet always gets the same answer.

    Args:
        width, heads, dropout, normformer: as above.
        rounds: independent hashes.
        buckets: b, even.
        chunk: particles per chunk.
    """

    attn: SharedProjections
    directions: Tensor

    def __init__(
        self, width: int, heads: int, dropout: float, normformer: bool, rounds: int, buckets: int, chunk: int
    ) -> None:
        super().__init__(width, heads, dropout, normformer, shared=True)
        self.chunk = chunk
        self.register_buffer("directions", rotations(width // heads, rounds, buckets))

    def attended(self, x: Tensor, packing: Packing, bias: Tensor | None) -> Tensor:
        query_value = packing.unpack(self.attn.query_value(x)).chunk(2, -1)
        query, value = (half.unflatten(-1, (self.heads, -1)).transpose(1, 2) for half in query_value)
        directions = torch.randn_like(self.directions) if self.training else self.directions
        return lsh_attend(query, value, packing.mask, directions, self.chunk).transpose(1, 2).flatten(-2)
