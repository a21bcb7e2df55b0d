"""The peers of benchmarks/frontier.py: the authors' packages, and PHAT-JeT and JEDI-linear step by step in plain torch.

The packages have the networks; jets come to them as they take them on a CPU: dense, cut behind the last particle of the
batch, the keys of padding closed. Momenta, features and items are made by the same functions for both. The plain ones
have the weights of a model of jetloom, take sorted jets padded to n, and padded slots take part in everything.
"""

import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.models.jedi_linear import SUMMED, JediLinear
from jetloom.models.layers.attention import key_bias
from jetloom.models.layers.items import with_items_in_front
from jetloom.models.lgatr_slim import LGATrSlim
from jetloom.models.lloca_transformer import LLoCaTransformer, tagging_features
from jetloom.models.phat_jet import BEFORE, KERNEL, PhatJet
from jetloom.models.published import own_names

PACKAGES = ("lgatr==2.0.0", "lloca==2.0.0", "torch_geometric==2.6.1", "pelican-lite==1.1.4")


def unpack(directory: Path) -> None:
    """Install the packages of the authors below a directory, where they are not there yet, and make them importable."""
    if not (directory / "lloca").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(directory)]
        subprocess.run([*command, *PACKAGES], check=True)
    sys.path.append(str(directory))


class Slim(nn.Module):
    """lgatr 2.0.0 with the widths and weights of a network of ours."""

    def __init__(self, ours: LGATrSlim) -> None:
        from lgatr import LGATrSlim as Package

        super().__init__()
        # Not a module of this one: its parameters are not the peer's.
        self.ours = [ours]
        first, scalars = ours.blocks[0], ours.embed_scalars.out_features
        self.net = Package(
            num_blocks=len(ours.blocks),
            in_v_channels=1,
            out_v_channels=0,
            hidden_v_channels=ours.embed_vectors.out_features,
            in_s_channels=ours.embed_scalars.in_features,
            out_s_channels=ours.head.out_features,
            hidden_s_channels=scalars,
            num_heads=first.attention.heads,
            mlp_ratio=first.feed_forward.out_scalars.in_features // scalars,
        )
        self.copy(self.net.linear_in, ours.embed_vectors, ours.embed_scalars)
        self.copy(self.net.linear_out, None, ours.head)
        for theirs, block in zip(self.net.blocks, ours.blocks, strict=True):
            for norm, own in ((theirs.norm1, block.norm1), (theirs.norm2, block.norm2)):
                for weight, gain in ((norm.weight_v, own.vectors), (norm.weight_s, own.scalars)):
                    if gain is not None:
                        weight.data.copy_(gain.data)
            attention, inner, layers = block.attention, block.feed_forward, theirs.mlp.layers
            self.copy(theirs.attention.linear_in, attention.in_vectors, attention.in_scalars)
            self.copy(theirs.attention.linear_out, attention.out_vectors, attention.out_scalars)
            self.copy(layers[0].linear, inner.in_vectors, inner.in_scalars)
            self.copy(layers[1], inner.out_vectors, inner.out_scalars)

    @staticmethod
    def copy(theirs: nn.Module, vectors: nn.Linear | None, scalars: nn.Linear) -> None:
        """The weights of a pair of linear maps."""
        if vectors is not None:
            theirs.weight_v.data.copy_(vectors.weight.data)
        theirs.linear_s.load_state_dict(scalars.state_dict())

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, C)."""
        vectors, scalars, mask = self.ours[0].items(batch)
        vectors = vectors.roll(1, -1)[:, :, None]
        logits: Tensor = self.net(vectors, scalars, attn_mask=key_bias(mask))[1][:, 0]
        return logits


class LLoCa(nn.Module):
    """lloca 2.0.0 with the widths of a network of ours, which gets its weights."""

    def __init__(self, ours: LLoCaTransformer) -> None:
        from functools import partial

        from lloca.backbone import TransformerV2
        from lloca.equivectors import MLPVectors
        from lloca.framesnet import LearnedPDFrames

        super().__init__()
        self.ours = [ours]
        inputs, first = ours.embed.in_features, ours.blocks[0]
        layers = [layer for layer in ours.frames.network if isinstance(layer, nn.Linear)]
        vectors = partial(
            MLPVectors, num_scalars=inputs - 1, hidden_channels=layers[0].out_features, num_layers_mlp=len(layers) - 1
        )
        self.framesnet = LearnedPDFrames(vectors)
        scalars, components = first.channels
        self.net = TransformerV2(
            in_channels=inputs,
            attn_reps=f"{scalars}x0n+{components // 4}x1n",
            out_channels=ours.head.out_features,
            num_blocks=len(ours.blocks),
            num_heads=first.heads,
            mlp_factor=first.fc2.in_features // first.fc2.out_features,
        )

    def start(self, batch: Batch) -> None:
        """Mean and deviation of pairs from the first batch, and its weights to our network."""
        momenta, _, _, _, ptr = self.items(batch)
        self.framesnet.equivectors.init_standardization(momenta, ptr)
        self.ours[0].load_state_dict(own_names(self.ours[0], self.state_dict()))
        self.ours[0].frames.known = True

    def items(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Momenta and scalars of references and particles, packed; jets (B, 4); all scalars of particles; where jets
        begin."""
        ours, padded = self.ours[0], ~batch.mask[..., None]
        references, momenta, jets = ours.momenta(batch)
        others = batch.features[..., ours.others].masked_fill(padded, 0.0)
        known = tagging_features(momenta.float(), jets[:, None].float()).masked_fill(padded, 0.0)
        number = references.shape[1]
        scalars = functional.pad(torch.cat([others, known], -1), (0, 0, number, 0))
        mask = functional.pad(batch.mask, (number, 0), value=True)
        ptr = functional.pad(mask.sum(1).cumsum(0), (1, 0))
        return torch.cat([references, momenta], 1)[mask], scalars[mask], jets, others, ptr

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, C)."""
        from lloca.framesnet.frames import Frames

        momenta, scalars, jets, others, ptr = self.items(batch)
        matrices = self.framesnet(momenta, scalars, ptr=ptr).matrices
        number = int(ptr[1] - batch.mask[0].sum())
        mask = functional.pad(batch.mask, (number, 0), value=True)
        particle = torch.arange(mask.shape[1]).expand_as(mask)[mask] >= number
        real = batch.mask
        dense = torch.eye(4).repeat(*real.shape, 1, 1).to(matrices.dtype)
        dense[real] = matrices[particle]
        of_jet = jets[:, None].expand(*real.shape, 4)
        local = (dense[real] @ momenta[particle][..., None])[..., 0], (dense[real] @ of_jet[real][..., None])[..., 0]
        inputs = others.new_zeros(*real.shape, scalars.shape[1])
        inputs[real] = torch.cat([others[real], tagging_features(*(x.float() for x in local))], -1)
        dense = torch.cat([torch.eye(4).to(dense.dtype).expand(len(dense), 1, 4, 4), dense], 1).float()
        frames = Frames(dense, det=torch.ones(dense.shape[:2]))
        bias = key_bias(functional.pad(real, (1, 0), value=True))
        logits: Tensor = self.net(with_items_in_front(inputs, 1), frames, p_ref=jets.float(), attn_mask=bias)[:, 0]
        return logits


class Phat(nn.Module):
    """PHAT-JeT with the weights of a network of ours; messages on a grid: cells are filled, convolved, read back.

    As a sum over all pairs of slots, which is the same, they take ten times as long.
    """

    def __init__(self, ours: PhatJet) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, C) of sorted jets."""
        ours = self.ours
        h = functional.relu(ours.embed(batch.features))
        for block in ours.blocks:
            grid = block.grid
            first = batch.coordinates.amin(1, keepdim=True)
            cells = ((batch.coordinates - first) / grid.cell).floor().long()
            h = h + grid.norm(grid.pointwise(self.messages(grid, h, cells)))
            h = h + self.attention(block.within, self.patched(block, block.norm1(h))).reshape(len(h), -1, h.shape[2])
            y = block.norm1(h)
            tokens = self.patched(block, y).mean(1).unflatten(0, (len(h), -1))
            told = block.projection(self.attention(block.among, tokens))
            h = h + told.repeat_interleave(block.patch, 1)
            h = h + block.fc2(functional.gelu(block.fc1(block.norm2(h))))
        logits: Tensor = ours.head(h.mean(1))
        return logits

    @staticmethod
    def messages(grid: nn.Module, h: Tensor, cells: Tensor) -> Tensor:
        """(B, n, d) and cells (B, n, 2) to (B, n, d)."""
        jets, width = len(h), h.shape[2]
        rows, columns = (int(x) + 1 for x in cells.amax((0, 1)))
        place = ((torch.arange(jets)[:, None] * rows + cells[..., 0]) * columns + cells[..., 1]).flatten()
        filled = h.new_zeros(jets * rows * columns, width).index_add(0, place, h.flatten(0, 1))
        image = filled.view(jets, rows, columns, width).permute(0, 3, 1, 2)
        after = KERNEL - 1 - BEFORE
        image = functional.pad(image, (BEFORE, after, BEFORE, after))
        image = functional.conv2d(image, grid.kernel.permute(2, 0, 1)[:, None], grid.bias, groups=width)
        return image.permute(0, 2, 3, 1).reshape(-1, width)[place].view(h.shape)

    @staticmethod
    def patched(block: nn.Module, x: Tensor) -> Tensor:
        """(B, n, d) to (B n / P, P, d)."""
        return x.reshape(-1, block.patch, x.shape[2])

    @staticmethod
    def attention(layer: nn.Module, x: Tensor) -> Tensor:
        """(G, n, d) to (G, n, d)."""
        layers = (layer.query, layer.key, layer.value)
        query, key, value = (one(x).unflatten(2, (layer.heads, -1)).transpose(1, 2) for one in layers)
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
        attended: Tensor = layer.out((weights @ value).transpose(1, 2).flatten(2))
        return attended


class Jedi(nn.Module):
    """JEDI-linear, layer by layer."""

    def __init__(self, ours: JediLinear) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, C)."""
        ours = self.ours
        h = self.dense(ours.embed, batch.features)
        common = self.dense(ours.common, h.sum(1) * ours.scale)
        h = self.dense(ours.after, self.dense(ours.own, h) + common[:, None])
        x = h.sum(1) / SUMMED
        for layer in ours.head[:-1]:
            x = self.dense(layer, x)
        logits: Tensor = ours.head[-1](x)
        return logits

    @staticmethod
    def dense(layer: nn.Module, x: Tensor) -> Tensor:
        """ReLU(BatchNorm(W x + b)); the normalisation of torch takes the channels second."""
        y = layer.linear(x)
        norm = layer.norm
        y = functional.batch_norm(
            y.transpose(1, -1), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
        return functional.relu(y.transpose(1, -1))
