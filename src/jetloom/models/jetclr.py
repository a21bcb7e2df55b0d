"""JetCLR's transformer (arXiv:2108.04253), infrared safe: soft particles are hardly looked at and hardly count."""

from torch import Tensor, nn
from torch.nn import functional

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.attention import CLOSED, Projections, attend
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.network import Encoded, Network

SOFTEST = 1e-20
"""GeV; least pT before a logarithm."""


class Layer(nn.Module):
    """LayerNorm(x + Attention(x)), then LayerNorm(x + W2 ReLU(W1 x)): the post-LN layer of arXiv:1706.03762.

    Args:
        width: D.
        heads: H.
        hidden: rows of W1.
        dropout: of attention weights, hidden values and both sums.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attn = Projections(width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)

    def forward(self, x: Tensor, packing: Packing, bias: Tensor) -> Tensor:
        """Packed (n, D) to (n, D); ``bias`` (B, 1, 1, N) is added to the scores of the keys."""
        query, key, value = packing.unpack(self.attn.query_key_value(x)).chunk(3, -1)
        attended = attend(query, key, value, self.heads, bias, self.dropout if self.training else 0.0)
        x = self.norm1(x + self._dropped(self.attn.out_proj(packing.pack(attended))))
        hidden = self._dropped(functional.relu(self.fc1(x)))
        answer: Tensor = self.norm2(x + self._dropped(self.fc2(hidden)))
        return answer

    def _dropped(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


class JetCLR(Network):
    """Transformer whose attention gives particle j the bias ln(pT_j) / 2, and whose read-out is sum_j pT_j x_j.

    Attention weights are so proportional to sqrt(pT), and a particle of pT to 0 changes nothing (infrared safe). A
    particle that is split in two along its direction does, as the square root is not linear (not collinear safe).
    24,044,000 parameters before the head with the published three inputs, feature set ``jetclr``.

    Args:
        n_features, n_classes: F and C.
        width: D.
        layers, heads: of the transformer.
        hidden: width of the feed-forward networks.
        dropout: of attention weights and hidden values.
        unit: GeV in which pT weighs the particles of the sum.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        width: int = 1000,
        layers: int = 4,
        heads: int = 4,
        hidden: int = 1000,
        dropout: float = 0.1,
        unit: float = 600.0,
    ) -> None:
        super().__init__(jet_width=width, particle_width=width)
        if heads < 1 or width % heads:
            raise JetloomError(f"heads = {heads} does not divide width = {width}")
        if not unit > 0:
            raise JetloomError(f"unit: expected a positive pT, got {unit}")
        self.unit = unit
        self.embed = nn.Linear(n_features, width)
        self.layers = nn.ModuleList(Layer(width, heads, hidden, dropout) for _ in range(layers))
        self.head = nn.Linear(width, n_classes)

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the last layer, and their sum weighted by pT. Uses features, vectors and mask."""
        pt = kinematics.pt(vectors_of(batch)).masked_fill(~batch.mask, 0.0)
        bias = (pt.clamp(min=SOFTEST).log() / 2).masked_fill(~batch.mask, CLOSED)[:, None, None]
        packing = Packing(batch.mask, batch.length, batch.room)
        x = self.embed(packing.pack(batch.features))
        for layer in self.layers:
            x = layer(x, packing, bias)
        particles = packing.unpack(x)
        return Encoded(particles, batch.mask, (particles * (pt / self.unit)[..., None]).sum(1))
