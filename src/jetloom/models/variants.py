"""Rows of the registry that differ from the plain Transformer in one thing each."""

from typing import Literal

from jetloom.models.transformer import Transformer


class Macaron(Transformer):
    """Macaron layers (arXiv:1906.02762): x += FFN(x) / 2, x += MHA(x), x += FFN'(x) / 2.

    Each of the two feed-forward networks has half the hidden width, so that the size stays: 2,138,014 parameters.
    Feed-forward networks of the full width (``ffn_ratio: 4``) make it 3,198,878.

    Args:
        n_features, n_classes and all options: as in :class:`Transformer`.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        embedding: tuple[int, ...] = (128, 512, 128),
        first_norm: bool = True,
        blocks: int = 8,
        heads: int = 8,
        ffn_ratio: int = 2,
        dropout: float = 0.1,
        readout: Literal["mean", "class"] = "class",
        class_blocks: int = 2,
        class_ffn_ratio: int = 4,
        normformer: bool = True,
    ) -> None:
        super().__init__(
            n_features,
            n_classes,
            embedding=embedding,
            first_norm=first_norm,
            blocks=blocks,
            heads=heads,
            ffn_ratio=ffn_ratio,
            dropout=dropout,
            readout=readout,
            class_blocks=class_blocks,
            class_ffn_ratio=class_ffn_ratio,
            normformer=normformer,
            macaron=True,
        )


class SparseTransformer(Transformer):
    """Sparse attention: strided (arXiv:1904.10509) or among nearest neighbours in the coordinates.

    Args:
        n_features, n_classes and all options: as in :class:`Transformer`.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        embedding: tuple[int, ...] = (128, 512, 128),
        first_norm: bool = True,
        blocks: int = 8,
        heads: int = 8,
        ffn_ratio: int = 4,
        dropout: float = 0.1,
        readout: Literal["mean", "class"] = "class",
        class_blocks: int = 2,
        class_ffn_ratio: int = 4,
        normformer: bool = True,
        attention: Literal["strided", "nearest"] = "strided",
        stride: int = 12,
        neighbours: int = 16,
        sort: Literal["auto", "pt", "kt", "delta_R", "morton", "none"] = "auto",
    ) -> None:
        super().__init__(
            n_features,
            n_classes,
            embedding=embedding,
            first_norm=first_norm,
            blocks=blocks,
            heads=heads,
            ffn_ratio=ffn_ratio,
            dropout=dropout,
            readout=readout,
            class_blocks=class_blocks,
            class_ffn_ratio=class_ffn_ratio,
            normformer=normformer,
            attention=attention,
            stride=stride,
            neighbours=neighbours,
            sort=sort,
        )


class Reformer(Transformer):
    """Reformer's attention (arXiv:2001.04451): queries are keys, within hash buckets. 2,001,822 parameters.

    ``attention: shared_qk`` is the control without hashing. Reversible layers and chunked feed-forward networks, which
    save memory only, are left out.

    Args:
        n_features, n_classes and all options: as in :class:`Transformer`.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        embedding: tuple[int, ...] = (128, 512, 128),
        first_norm: bool = True,
        blocks: int = 8,
        heads: int = 8,
        ffn_ratio: int = 4,
        dropout: float = 0.1,
        readout: Literal["mean", "class"] = "class",
        class_blocks: int = 2,
        class_ffn_ratio: int = 4,
        normformer: bool = True,
        attention: Literal["lsh", "shared_qk"] = "lsh",
        bucket_size: int = 8,
        hashes: int = 4,
        max_particles: int = 128,
        sort: Literal["auto", "pt", "kt", "delta_R", "morton", "none"] = "auto",
    ) -> None:
        super().__init__(
            n_features,
            n_classes,
            embedding=embedding,
            first_norm=first_norm,
            blocks=blocks,
            heads=heads,
            ffn_ratio=ffn_ratio,
            dropout=dropout,
            readout=readout,
            class_blocks=class_blocks,
            class_ffn_ratio=class_ffn_ratio,
            normformer=normformer,
            attention=attention,
            bucket_size=bucket_size,
            hashes=hashes,
            max_particles=max_particles,
            sort=sort,
        )
