"""From the particles of a jet to one vector."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.errors import JetloomError
from jetloom.models.layers.attention import attend, key_bias, split
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.normformer import ChannelOrder, NormFormerBlock


def mean_of_real(particles: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real particles: (B, N, D), zero where padded, and (B, N) to (B, D); zero of no particle."""
    return particles.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class MeanReadout(nn.Module):
    """Mean over real particles, then LayerNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(width)

    def forward(self, particles: Tensor, mask: Tensor) -> Tensor:
        """Particles (B, N, D), zero where padded, and mask (B, N) to (B, D)."""
        out: Tensor = self.norm(mean_of_real(particles, mask))
        return out


class ClassBlock(NormFormerBlock):
    """ParT's class attention block (section 3.2): MHA(Q = token, K = V = LN(token, particles)). It drops nothing out.

    Published code gives the query the raw class token, without the normalisation that keys and values get.
    """

    def forward(self, token: Tensor, particles: Tensor, bias: Tensor) -> Tensor:
        """Token (B, 1, D), particles (B, N, D), bias (B, 1, 1, 1 + N) to the new token (B, 1, D)."""
        query, key, value = self.query_key_value(token, particles)
        attended = attend(query, key, value, self.heads, bias, self.attention_dropout)
        return self.feed_forward(self.behind_attention(attended, token))

    def query_key_value(self, token: Tensor, particles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 1, D) and twice (B, 1 + N, D)."""
        keys = self.pre_attn_norm(torch.cat([token, particles.to(token.dtype)], 1))
        key, value = self.attn.key_value(keys).chunk(2, -1)
        return self.attn.query(token), key, value

    def weights(self, token: Tensor, particles: Tensor, bias: Tensor) -> Tensor:
        """Softmax weights (B, H, 1, 1 + N) of the token on itself and the particles; arguments as of the block."""
        query, key, _ = self.query_key_value(token, particles)
        query, key = split(query, self.heads), split(key, self.heads)
        weights: Tensor = (query @ key.mT * query.shape[-1] ** -0.5 + bias).softmax(-1)
        return weights


class ClassAttention(nn.Module):
    """ParT's read-out: a learned class token passes the class attention blocks, then LayerNorm.

    Args:
        width, heads, ffn_ratio, order: as of the blocks.
        blocks: how many.
    """

    def __init__(self, width: int, blocks: int, heads: int, ffn_ratio: int, order: ChannelOrder) -> None:
        super().__init__()
        if width % heads:
            raise JetloomError(f"heads = {heads} does not divide the width {width}, the last entry of embedding")
        self.cls_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.cls_blocks = nn.ModuleList(ClassBlock(width, heads, ffn_ratio, order, 0.0) for _ in range(blocks))
        self.norm = LayerNorm(width)

    def forward(self, particles: Tensor, mask: Tensor) -> Tensor:
        """Particles (B, N, D) and mask (B, N) to what stands in the token, (B, D)."""
        token, bias = self.start(mask)
        for block in self.cls_blocks:
            token = block(token, particles, bias)
        out: Tensor = self.norm(token[:, 0])
        return out

    def start(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The token (B, 1, D), and its bias (B, 1, 1, 1 + N) on itself and the particles."""
        return self.cls_token.repeat(mask.shape[0], 1, 1), functional.pad(key_bias(mask), (1, 0))

    def weights(self, particles: Tensor, mask: Tensor) -> Tensor | None:
        """(B, N), what the token takes of each particle in the last block, mean over heads; None: there is no block.

        The token gives itself what is missing to 1.
        """
        if not self.cls_blocks:
            return None
        token, bias = self.start(mask)
        for block in self.cls_blocks[:-1]:
            token = block(token, particles, bias)
        last = cast("ClassBlock", self.cls_blocks[-1])
        return last.weights(token, particles, bias).mean(1)[:, 0, 1:]
