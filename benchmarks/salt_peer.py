"""SAL-T and its Linformer as their authors state them, step by step in plain torch: the peer of benchmarks/salt.py.

Queries, keys and values of all particles, scores (B, H, n, p), three convolutions whose results are averaged, softmax
over the last axis; jets come sorted and padded to n, and padded slots take part. Steps as listed in
docs/architectures.md; the weights are taken from a model of jetloom, so that both give the same logits.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.models.small_tagger import SmallTagger


class PlainAttention(nn.Module):
    """Steps (3), (3'), (4) and (4') with the weights of one of our attentions."""

    def __init__(self, ours: nn.Module, length: int) -> None:
        super().__init__()
        self.heads, self.length = ours.heads, length
        self.query, self.key, self.value, self.out = ours.query, ours.key, ours.value, ours.out
        self.first, self.second = ours.key_projection.weight, ours.value_projection.weight
        self.partitioned = type(ours.key_projection).__name__ == "PartitionedProjection"
        self.convolutions = nn.ModuleList()
        folded = getattr(ours, "convolution", None)
        if folded is not None:
            for kernel, bias in zip(folded.kernels, folded.biases, strict=True):
                convolution = nn.Conv2d(1, 1, tuple(kernel.shape), padding="same")
                convolution.load_state_dict({"weight": kernel[None, None], "bias": bias[None]})
                self.convolutions.append(convolution)

    def project(self, weight: Tensor, x: Tensor) -> Tensor:
        """(B, H, n, d_h) to (B, H, p, d_h)."""
        if not self.partitioned:
            return torch.einsum("hnp,bhnd->bhpd", weight, x)
        partitions, capacity = weight.shape[1:]
        x = functional.pad(x, (0, 0, 0, partitions * capacity - self.length))
        return torch.einsum("hpc,bhpcd->bhpd", weight, x.unflatten(2, (partitions, capacity)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, d) to (B, n, d)."""
        layers = (self.query, self.key, self.value)
        query, key, value = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in layers)
        key, value = self.project(self.first, key), self.project(self.second, value)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        if self.convolutions:
            image = scores.flatten(0, 1)[:, None]
            scores = torch.stack([step(image) for step in self.convolutions]).mean(0).view(scores.shape)
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class Plain(nn.Module):
    """The whole network on sorted features (B, n, F)."""

    def __init__(self, ours: SmallTagger) -> None:
        super().__init__()
        self.ours = ours
        self.attentions = nn.ModuleList(PlainAttention(block.attention, ours.max_particles) for block in ours.blocks)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C)."""
        x = functional.relu(self.ours.embed(features))
        for block, attention in zip(self.ours.blocks, self.attentions, strict=True):
            first, second = block.norm1, block.norm2
            x = torch.tanh(first.alpha * (x + attention(x)) + first.beta)
            x = torch.tanh(second.alpha * (x + block.fc2(functional.relu(block.fc1(x)))) + second.beta)
        return self.ours.head(x.amax(1))


class Encoder(nn.Module):
    """torch.nn.TransformerEncoder in the size of the small Transformer, with LayerNorm where that has DynTanh."""

    def __init__(self, n_features: int, n_classes: int, width: int = 16) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, width, dropout=0.0, batch_first=True)
        self.embed, self.encoder = nn.Linear(n_features, width), nn.TransformerEncoder(layer, 1)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_classes))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, C)."""
        x = self.encoder(functional.relu(self.embed(features)), src_key_padding_mask=~mask)
        # The encoder may drop slots that are padded in all jets.
        x = x.masked_fill(~mask[:, : x.shape[1], None], torch.finfo(x.dtype).min)
        return self.head(x.amax(1))
