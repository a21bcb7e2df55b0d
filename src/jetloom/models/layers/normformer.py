"""The block of NormFormer (arXiv:2110.09456) as ParT has it."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.models.fast import folding
from jetloom.models.fast.triton import linear_norm_residual as behind
from jetloom.models.fast.triton import norm_linear as before
from jetloom.models.layers.attention import Projections
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.feedforward import Half, feed_forward
from jetloom.models.layers.layer_norm import LayerNorm

ChannelOrder = Literal["weaver0.4", "weaver0.5"]


def scale_heads(x: Tensor, scale: Tensor, order: ChannelOrder) -> Tensor:
    """NormFormer's head scale: channels of head h times ``scale[h]``, on the last axis (D,), scale (H,).

    The code of the published models leaves the channels in the order (head_dim, head): new channel d H + h is old
    channel h D/H + d. weaver-core 0.5 leaves them as they are; checkpoints of the two are not exchangeable.
    """
    scaled: Tensor = x.unflatten(-1, (len(scale), -1)) * scale[:, None]
    return (scaled.transpose(-1, -2) if order == "weaver0.4" else scaled).flatten(-2)


class NormFormer(nn.Module):
    """A block without its attention: parameters, under the names of weaver-core, and all steps that are not of it.

    Args:
        attn: weights of the attention.
        width, heads, ffn_ratio: D, H and hidden width of the feed-forward network over D.
        order: of the channels behind the head scale.
        dropout: of attention weights, activations and residuals.
    """

    def __init__(
        self, attn: nn.Module, width: int, heads: int, ffn_ratio: int, order: ChannelOrder, dropout: float
    ) -> None:
        super().__init__()
        self.heads, self.order, self.dropout = heads, order, dropout
        self.pre_attn_norm = LayerNorm(width)
        self.attn = attn
        self.post_attn_norm = LayerNorm(width)
        self.pre_fc_norm = LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn_ratio * width)
        self.post_fc_norm = LayerNorm(ffn_ratio * width)
        self.fc2 = nn.Linear(ffn_ratio * width, width)
        self.c_attn = nn.Parameter(torch.ones(heads))
        self.w_resid = nn.Parameter(torch.ones(width))

    def drop(self, x: Tensor) -> Tensor:
        """Dropout of the residuals."""
        return dropout(x, self.dropout, self.training)

    @property
    def attention_dropout(self) -> float:
        """Of the attention weights, now."""
        return self.dropout if self.training else 0.0

    def scale_heads(self, x: Tensor) -> Tensor:
        """``c_attn`` times the channels of each head."""
        return scale_heads(x, self.c_attn, self.order)

    def feed_forward(self, x: Tensor) -> Tensor:
        """w_resid x + Dropout(W2 LN(Dropout(GELU(W1 LN(x)))))."""
        half = Half(self.pre_fc_norm, self.fc1, self.post_fc_norm, self.fc2, self.w_resid)
        return feed_forward(x, half, self.dropout, self.training)


class NormFormerBlock(NormFormer):
    """What ParT's own blocks share: queries, keys and values, and a projection of what the heads find.

    Args:
        width, heads, ffn_ratio, order, dropout: as above.
    """

    attn: Projections

    def __init__(self, width: int, heads: int, ffn_ratio: int, order: ChannelOrder, dropout: float) -> None:
        super().__init__(Projections(width), width, heads, ffn_ratio, order, dropout)

    def normed_query_key_value(self, x: Tensor) -> Tensor:
        """Queries, keys and values of LN(x), (n, D) to (n, 3 D)."""
        if before.serves(x):
            return before.norm_linear(x, self.pre_attn_norm, self.attn.in_proj_weight, self.attn.in_proj_bias)
        return self.attn.query_key_value(self.pre_attn_norm(x))

    def behind_attention(self, attended: Tensor, x: Tensor) -> Tensor:
        """x + Dropout(LN(c W_O a)), a being what the heads found; all (..., D)."""
        if behind.serves(x):
            folded = folding.scaled(self.attn.out_proj, self.scale_heads)
            dropped = self.dropout if self.training else 0.0
            return behind.linear_norm_residual(attended, *folded, self.post_attn_norm, x, dropped)
        return x + self.drop(self.post_attn_norm(self.scaled_projection(attended)))

    def scaled_projection(self, attended: Tensor) -> Tensor:
        """W_O of what the heads found, then their scale."""
        if folding.serves_scale():
            return functional.linear(attended, *folding.scaled(self.attn.out_proj, self.scale_heads))
        return self.scale_heads(self.attn.out_proj(attended))
