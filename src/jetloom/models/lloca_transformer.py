"""LLoCa-Transformer (arXiv:2505.20280): a Transformer whose particles each see the jet from a frame of their own.

A small network on pairs gives each particle a Lorentz transformation L (:mod:`jetloom.models.layers.frames`). Its
inputs are computed from momenta in its frame, so they are the same in whatever frame the jet is given; and where
particles talk to each other, the four-vectors among the channels of a head are carried from frame to frame.
Four-vectors are E, px, py, pz in this file, as in the paper.
"""

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import full_precision
from jetloom.models.fast import travel as kernel
from jetloom.models.layers.attention import attend, key_bias
from jetloom.models.layers.constants import constants
from jetloom.models.layers.frames import METRIC, FrameNetwork, boost, frames, inverse, square
from jetloom.models.layers.items import REFERENCES, with_items_in_front
from jetloom.models.layers.minkowski import with_mass
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.layers.readout import mean_of_real
from jetloom.models.layers.sizes import Size, blocks_of, heads_of
from jetloom.models.network import Encoded, Network
from jetloom.models.transformer_v2 import PreNormBlock

TAGGING = ((1.7, 0.7), (2.0, 0.7), (-4.7, 0.7), (-4.7, 0.7), (0.0, 1.0), (0.0, 1.0), (0.2, 4.0))
"""What is subtracted from each feature of :func:`tagging_features`, and what it is multiplied with."""
FLOOR = 1e-10
"""Smallest pT and energy before a logarithm, and smallest square of a distance before its root."""
VARIANCE_FLOOR = 1e-4
"""Added to the squared mass of the jet in gamma."""


def tagging_features(momenta: Tensor, jet: Tensor) -> Tensor:
    """ln pT, ln E, both relative to the jet's, dphi, -deta and dR, standardised: (..., 4) twice to (..., 7)."""
    pt, pt_jet = (x[..., 1:3].square().sum(-1).clamp(min=FLOOR**2).sqrt() for x in (momenta, jet))
    log_pt, log_energy = pt.log(), momenta[..., 0].clamp(min=FLOOR).log()
    (x, y), (x_jet, y_jet) = ((p[..., 1:3] / size[..., None]).unbind(-1) for p, size in ((momenta, pt), (jet, pt_jet)))
    across, along = y * x_jet - x * y_jet, x * x_jet + y * y_jet
    # Of no angle the arctangent has no gradient.
    none = across.square() + along.square() < 0.5
    phi = torch.atan2(across.masked_fill(none, 0.0), along.masked_fill(none, 1.0))
    eta = torch.asinh(jet[..., 3] / pt_jet) - torch.asinh(momenta[..., 3] / pt)
    distance = (phi.square() + eta.square()).clamp(min=FLOOR).sqrt()
    energy_share = log_energy - jet[..., 0].clamp(min=FLOOR).log()
    features = torch.stack([log_pt, log_energy, log_pt - pt_jet.log(), energy_share, phi, eta, distance], -1)
    subtract, multiply = (constants(numbers, features) for numbers in zip(*TAGGING, strict=True))
    return (features - subtract) * multiply


def upright(jets: Tensor) -> Tensor:
    """(n, 4, 4): turns about and boosts along the beam, behind which the jets (n, 4) have rapidity and azimuth 0."""
    along = boost(jets * constants((1.0, 0.0, 0.0, 1.0), jets))
    pt = jets[:, 1:3].square().sum(-1).sqrt()
    none = pt == 0
    cosine = torch.where(none, 1.0, jets[:, 1] / torch.where(none, 1.0, pt))
    sine = torch.where(none, 0.0, jets[:, 2] / torch.where(none, 1.0, pt))
    zero, one = torch.zeros_like(pt), torch.ones_like(pt)
    rows = [(one, zero, zero, zero), (zero, cosine, sine, zero), (zero, -sine, cosine, zero), (zero, zero, zero, one)]
    turn = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return turn @ along


class Transport(NamedTuple):
    """Between the frames of n items and the global one, both over gamma where variances are kept."""

    to_global: Tensor
    """(n, 4, 4), L^-1."""
    to_local: Tensor
    """(n, 4, 4), L."""


def transport(matrices: Tensor, jets: Tensor, keep_variance: bool) -> Transport:
    """How the four-vectors of items travel.

    Args:
        matrices: (n, 4, 4), L.
        jets: (n, 4), momentum of the jet of each item in the global frame.
        keep_variance: over gamma = (L P)_0 / |P|, which carries no gradient: of strongly boosted frames the products of
            queries and keys would be large.
    """
    if not keep_variance:
        return Transport(inverse(matrices), matrices)
    energy = (matrices[:, 0] * jets).sum(-1).detach()
    gamma = energy / (VARIANCE_FLOOR + square(jets).clamp(min=0.0)).sqrt()
    # Of a jet without particles there is none.
    gamma = torch.where(gamma > 0, gamma, 1.0)[:, None, None]
    return Transport(inverse(matrices) / gamma, matrices / gamma)


class Block(PreNormBlock):
    """The block of :mod:`jetloom.models.transformer_v2` with channels that travel: o_i = L_i softmax(q g k) v.

    q_i, k_i and v_i of item i are L_i^-1 times what it says in its own frame; of each head the first channels are
    scalars, which are the same in all frames.

    Args:
        scalars, vectors: channels of each head, a and b: its width is a + 4 b.
        heads, ratio, version: as of the block.
    """

    def __init__(self, scalars: int, vectors: int, heads: int, ratio: int, version: Literal[2, 1]) -> None:
        super().__init__(heads * (scalars + 4 * vectors), heads, ratio, version)
        self.channels = [scalars, 4 * vectors]

    def forward(self, x: Tensor, packing: Packing, bias: Tensor, frame: Transport) -> Tensor:
        """Packed (n, D) to (n, D); ``bias`` closes the keys of padding."""
        if kernel.serves(x, self.channels[1]):
            query, key, value = packing.spread(kernel.compared(self, self.norm1(x), frame.to_global)).chunk(3, -1)
            attended = packing.pack(attend(query, key, value, self.heads, bias))
            return self.feed_forward(x + kernel.arrived(self, attended, frame.to_local))
        scalars, vectors = self.split(x).split(self.channels, 2)
        vectors = torch.einsum("nuv,ntbvh->ntbuh", frame.to_global, vectors.unflatten(2, (-1, 4))).flatten(2, 3)
        heads_apart = torch.cat([scalars, vectors], 2).transpose(-1, -2)
        query, key, value = packing.spread(heads_apart.flatten(1)).chunk(3, -1)
        attended = packing.pack(attend(query * self.signs(query), key, value, self.heads, bias))
        scalars, vectors = attended.unflatten(-1, (self.heads, -1)).split(self.channels, -1)
        vectors = torch.einsum("nuv,nhbv->nhbu", frame.to_local, vectors.unflatten(-1, (-1, 4))).flatten(2)
        return self.joined(x, torch.cat([scalars, vectors], -1).flatten(1))

    def signs(self, like: Tensor) -> Tensor:
        """(D,): 1 for scalars, the metric g for vectors."""
        scalars, vectors = self.channels
        return constants((1.0,) * scalars + METRIC * (vectors // 4), like).repeat(self.heads)


class LLoCaTransformer(Network):
    """LLoCa-Transformer: 1,324,932 parameters with 7 features and one logit.

    Everything is computed without autocast, momenta and frames in float64. Where this departs from the author code: a
    frame that its vectors do not determine is completed by coordinate axes, not by random numbers; pT is at least 1e-10
    GeV, and where a particle or the jet has less (the jet in ``canonical: rest``, where the code has rounding), the
    azimuth between them is 0. deta has the authors' sign in here.

    Exact symmetries, where the features that are not kinematic are as invariant: under rotations about the beam with
    ``canonical: beam``; under boosts along it too with ``references: false``; under all Lorentz transformations with
    ``references: false``, ``frame_features: none``, ``readout: mean`` and any other ``canonical`` (the global item
    stands in the global frame).

    Args:
        n_features, n_classes: F and C.
        size: published widths of the size study, 0 being 1.3 million parameters; over the widths below.
        version: of the backbone: 2: RMSNorm and a gate, arXiv:2608.02735; 1: of the first paper.
        scalars, vectors: channels of each head: numbers and four-vectors.
        blocks, heads: of the attention, H.
        ffn_ratio: hidden width of the feed-forward network over D = H (scalars + 4 vectors).
        frame_width, frame_layers: hidden ones of the network that predicts frames.
        frame_features: what frames depend on beside momenta and features that are not kinematic: all: seven kinematic
            features in the global frame; none.
        references: beams and laboratory among the items that frames are made of.
        canonical: global frame: beam: turned about and boosted along the beam so that the jet has rapidity and azimuth
            0, rest: the jet's rest frame, none: the laboratory. References move along.
        readout: item: a global item; mean: over particles.
        keep_variance: vectors travel over the gamma of their frame (lloca 2.0; not in the runs of the first paper).
        kinematics: places among the features of those that are kinematic, negative ones from the end, where a feature
            set has so many: seven of the momenta, in each frame, take their place.
        mass_floor: particles of a smaller mass, GeV, get this one.
    """

    single = True
    published_names: ClassVar[dict[str, str]] = {
        r"^net\.linear_in\.": "embed.",
        r"^net\.linear_out\.": "head.",
        r"^net\.blocks\.": "blocks.",
        r"\.attention\.qkv_linear\.linear\.": ".query_key_value.",
        r"\.attention\.out_linear\.": ".out.",
        r"\.mlp_in\.0\.": ".fc1.",
        r"\.mlp_out\.0\.": ".fc2.",
        r"^(blocks\.\d+)\.mlp\.0\.": r"\1.fc1.",
        r"^(blocks\.\d+)\.mlp\.3\.": r"\1.fc2.",
        r"^framesnet\.equivectors\.block\.mlp\.mlp\.": "frames.network.",
        r"^framesnet\.equivectors\.block\.edge_mean$": "frames.mean",
        r"^framesnet\.equivectors\.block\.edge_std$": "frames.deviation",
        r"^framesnet\.equivectors\.block\.edge_inited$": "frames.measured",
    }
    published_extra: ClassVar[tuple[str, ...]] = (r"\.transform\.",)

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        size: Size = None,
        version: Literal[2, 1] = 2,
        scalars: int = 8,
        vectors: int = 2,
        blocks: int = 8,
        heads: int = 8,
        ffn_ratio: int = 2,
        frame_width: int = 32,
        frame_layers: int = 2,
        frame_features: Literal["all", "none"] = "all",
        references: bool = True,
        canonical: Literal["beam", "rest", "none"] = "beam",
        readout: Literal["item", "mean"] = "item",
        keep_variance: bool = True,
        kinematics: tuple[int, ...] = (0, 1, 2, 3, 4, -2, -1),
        mass_floor: float = 5e-3,
    ) -> None:
        if size is not None:
            version, ffn_ratio, frame_width, frame_layers = 2, 2, 2 ** (size + 5), 2
            blocks, heads = blocks_of(size), heads_of(size)
            scalars, vectors = 2 ** (size + 6) // heads, 2 ** (size + 4) // heads
        if min(scalars, vectors) < 0 or scalars + vectors < 1 or frame_layers < 1:
            raise JetloomError(
                f"scalars = {scalars} and vectors = {vectors} must not be negative nor both be 0, and frame_layers = "
                f"{frame_layers} must be at least 1"
            )
        width = heads * (scalars + 4 * vectors)
        super().__init__(jet_width=width, particle_width=width)
        self.references, self.canonical, self.by_item = references, canonical, readout == "item"
        self.keep_variance, self.tells_frames, self.mass_floor = keep_variance, frame_features == "all", mass_floor
        replaced = {place % n_features for place in kinematics if -n_features <= place < n_features}
        self.others = [place for place in range(n_features) if place not in replaced]
        inputs = len(self.others) + len(TAGGING)
        self.frames = FrameNetwork(inputs if self.tells_frames else len(self.others), frame_width, frame_layers)
        self.embed = nn.Linear(inputs + self.by_item, width)
        self.blocks = nn.ModuleList(Block(scalars, vectors, heads, ffn_ratio, version) for _ in range(blocks))
        self.head = nn.Linear(width, n_classes)

    @property
    def jets_apart(self) -> bool:  # type: ignore[override]
        """Once mean and deviation of pairs are measured, on a whole batch."""
        return bool(self.frames.measured)

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the last block, and the global item or the mean. Uses features, vectors and mask."""
        with full_precision(batch.features):
            x, frame, mask = self.items(batch)
            packing, bias = Packing(mask, batch.longer(int(self.by_item))), key_bias(mask)
            x = self.embed(packing.pack(x))
            frame = Transport(*(packing.pack(matrices).unflatten(-1, (4, 4)) for matrices in frame))
            for block in self.blocks:
                x = block(x, packing, bias, frame)
            x = packing.unpack(x)
        if self.by_item:
            return Encoded(x[:, 1:], batch.mask, x[:, 0])
        return Encoded(x, batch.mask, mean_of_real(x, batch.mask))

    def items(self, batch: Batch) -> tuple[Tensor, Transport, Tensor]:
        """Inputs (B, M, K), matrices (B, M, 16) and mask (B, M) of the global item, if there is one, and particles."""
        packing, padded = Packing(batch.mask), ~batch.mask[..., None]
        references, momenta, jets = self.momenta(batch)
        columns = [batch.features[..., place] for place in self.others]
        others = torch.stack(columns, -1) if columns else batch.features[..., :0]
        others = others.masked_fill(padded, 0.0)
        scalars, dtype, number = others, others.dtype, references.shape[1]
        if self.tells_frames:
            features = tagging_features(momenta.to(dtype), jets[:, None].to(dtype)).masked_fill(padded, 0.0)
            scalars = torch.cat([others, features], -1)
        scalars = functional.pad(scalars, (0, 0, number, 0))
        mask = functional.pad(batch.mask, (number, 0), value=True)
        matrices = frames(self.frames(torch.cat([references, momenta], 1), scalars, mask, number))

        of_jet = packing.pack(jets[:, None].expand_as(momenta))
        local, local_jet = ((matrices @ x[..., None])[..., 0].to(dtype) for x in (packing.pack(momenta), of_jet))
        x = packing.unpack(torch.cat([packing.pack(others), tagging_features(local, local_jet)], -1))
        frame = [packing.unpack(y.flatten(1).to(dtype)) for y in transport(matrices, of_jet, self.keep_variance)]
        if not self.by_item:
            return x, Transport(*frame), batch.mask
        global_frame = torch.eye(4, dtype=jets.dtype, device=jets.device).expand(jets.shape[0], 4, 4)
        front = [y.flatten(1).to(dtype)[:, None] for y in transport(global_frame, jets, self.keep_variance)]
        frame = [torch.cat(pair, 1) for pair in zip(front, frame, strict=True)]
        return with_items_in_front(x, 1), Transport(*frame), functional.pad(batch.mask, (1, 0), value=True)

    def momenta(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Of references (B, R, 4), particles (B, N, 4), zero where padded, and jets (B, 4), float64."""
        padded = ~batch.mask[..., None]
        vectors = vectors_of(batch).double().masked_fill(padded, 0.0)
        known = [constants(item, vectors) for item in REFERENCES if self.references]
        references = torch.stack(known)[None] if known else vectors.new_zeros(1, 0, 4)
        references, momenta = (with_mass(x, self.mass_floor).roll(1, -1) for x in (references, vectors))
        momenta = momenta.masked_fill(padded, 0.0)
        references, jets = references.expand(momenta.shape[0], -1, -1), momenta.sum(1)
        if self.canonical == "none":
            return references, momenta, jets
        at_rest = self.canonical == "rest"
        matrices = boost(jets) if at_rest else upright(jets)
        jets = (matrices @ jets[..., None])[..., 0]
        if at_rest:
            # Of its momentum rounding is left, which would have a direction.
            jets = jets * constants((1.0, 0.0, 0.0, 0.0), jets)
        return references @ matrices.mT, momenta @ matrices.mT, jets
