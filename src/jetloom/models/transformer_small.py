"""The full-attention baseline of the SAL-T paper (arXiv:2510.23641): its Linformer with neither E nor F."""

from typing import Literal

from torch import Tensor, nn

from jetloom.errors import JetloomError
from jetloom.models.layers.attention import attend, key_bias
from jetloom.models.layers.init import keras_linear_
from jetloom.models.small_tagger import Attention, Layout, SmallTagger


class FullAttention(Attention):
    """Multi-head attention of every particle over every particle; queries, keys and values have no bias.

    Args:
        d_model: d.
        heads: H.
        init: "keras" or "torch".
    """

    def __init__(self, d_model: int, heads: int, init: str) -> None:
        super().__init__()
        if heads < 1 or d_model % heads:
            raise JetloomError(f"heads = {heads} does not divide d_model = {d_model}")
        self.heads = heads
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model)
        if init == "keras":
            for linear in (self.query, self.key, self.value, self.out):
                keras_linear_(linear)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        bias = None if layout.mask is None else key_bias(layout.mask)
        out: Tensor = self.out(attend(self.query(x), self.key(x), self.value(x), self.heads, bias))
        return out


class TransformerSmall(SmallTagger):
    """Small Transformer for jets and point clouds: 2,009 parameters with 3 features and 5 classes. It has no order.

    Args:
        n_features, n_classes: F and C.
        max_particles: n, the length to which ``mask: published`` pads.
        d_model, d_ff, heads, layers: d, hidden width of the feed-forward network, H, blocks.
        mask: real: padded particles are left out of softmax and pooling. published: they are zero rows that take part
            in everything, always up to n: the author code.
        init: of the weights; keras: what the published networks started from.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        max_particles: int = 150,
        d_model: int = 16,
        d_ff: int = 16,
        heads: int = 4,
        layers: int = 1,
        mask: Literal["real", "published"] = "real",
        init: Literal["keras", "torch"] = "keras",
    ) -> None:
        super().__init__(
            n_features,
            n_classes,
            lambda: FullAttention(d_model, heads, init),
            layers=layers,
            d_model=d_model,
            d_ff=d_ff,
            max_particles=max_particles if mask == "published" else None,
            sort="none",
            published_columns=(0, 1, 2),
            mask=mask,
            partitions=0,
            init=init,
        )
