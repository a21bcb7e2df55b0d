"""Modules with the names of OmniJet-alpha's code, written from its formulas with torch's own attention."""

import torch
from torch import Tensor, nn

WIDTH, HEADS, LATENT, CODES = 8, 2, 4, 16
AFFINE_RATE = 2.0


class NormFormerBlock(nn.Module):
    """r = x + LN2(MHA(LN1(x))), then r + W2 SiLU(W1 LN(r))."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Dropout(0.0), nn.Linear(WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm1(x)
        x = x + self.norm2(self.attn(inner, inner, inner, need_weights=False)[0])
        return x + self.mlp(x)


class NormFormer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([NormFormerBlock()])


class Affine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.zeros(1, LATENT)), nn.Parameter(torch.zeros(1, LATENT))


class Quantiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.codebook, self.affine_transform = nn.Embedding(CODES, LATENT), Affine()
        self.register_buffer("data_initialized", torch.ones(1))
        self.register_buffer("_counts", torch.zeros(CODES))

    def entries(self) -> Tensor:
        affine = self.affine_transform
        return (1 + AFFINE_RATE * affine.scale) * self.codebook.weight + AFFINE_RATE * affine.bias


class AuthorsTokenizer(nn.Module):
    """Of jets without padding: (B, N, 3) to codes (B, N) and values (B, N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.input_projection = nn.Linear(3, WIDTH)
        self.encoder_normformer, self.decoder_normformer = NormFormer(), NormFormer()
        self.latent_projection_in, self.latent_projection_out = nn.Linear(WIDTH, LATENT), nn.Linear(LATENT, WIDTH)
        self.vqlayer = Quantiser()
        self.output_projection = nn.Linear(WIDTH, 3)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        [encode], [decode] = self.encoder_normformer.blocks, self.decoder_normformer.blocks
        latent = self.latent_projection_in(encode(self.input_projection(values)))
        entries = self.vqlayer.entries()
        code = (latent[..., None, :] - entries).square().sum(-1).argmin(-1)
        return code, self.output_projection(decode(self.latent_projection_out(entries[code])))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("tril", torch.ones(128, 128).tril())

    def forward(self, x: Tensor) -> Tensor:
        """By torch's own multi-head attention, whose weights are stacked."""
        stacked = torch.cat([self.query.weight, self.key.weight, self.value.weight])
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        across = x.transpose(0, 1)
        found, _ = nn.functional.multi_head_attention_forward(
            across, across, across, WIDTH, HEADS, stacked, None, None, None, False, 0.0, self.proj.weight,
            self.proj.bias, attn_mask=later, need_weights=False,
        )  # fmt: skip
        return found.transpose(0, 1)


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))


class GPTBlock(nn.Module):
    """LN(x + MHA(x)), then LN(x + FF(x))."""

    def __init__(self) -> None:
        super().__init__()
        self.mha_block, self.ff_block = Attention(), FeedForward()
        self.layernorm_1, self.layernorm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layernorm_1(x + self.mha_block(x))
        return self.layernorm_2(x + self.ff_block.net(x))


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(CODES + 2, WIDTH)
        self.GPT_blocks = nn.Sequential(GPTBlock())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.GPT_blocks(self.embedding_table(tokens))


class GeneratorHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, CODES + 2)

    def forward(self, known: Tensor) -> Tensor:
        return self.fc1(known)


class ClassifierHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classification_head_linear_embed = nn.Linear(WIDTH, WIDTH)
        self.classification_head_linear_class = nn.Linear(WIDTH, 2)

    def forward(self, known: Tensor) -> Tensor:
        summed = self.classification_head_linear_embed(known).relu().sum(1)
        return self.classification_head_linear_class(summed)


class Whole(nn.Module):
    """A head on the backbone, under the names that the Lightning modules give them."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.module, self.head = Backbone(), head

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.module(tokens))


class Wrapped(nn.Module):
    """The tokenizer likewise."""

    def __init__(self) -> None:
        super().__init__()
        self.model = AuthorsTokenizer()


def randomised(model: nn.Module) -> nn.Module:
    """With random weights everywhere, also where they start at zero; buffers stay."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return model.eval()
