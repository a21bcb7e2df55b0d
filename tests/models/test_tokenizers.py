"""Tokenizers: what they read of jets, what they forget, and what codes stand for."""

import math

import pytest
import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models import build, tokenizer
from jetloom.models.layers.attention import key_bias
from jetloom.models.layers.packing import Packing
from jetloom.models.tokenizer import Tokenizer, axis, particles_of, vectors_from
from jetloom.models.vqvae import Block
from jetloom.tasks.task import Data
from jetloom.tasks.tokenisation.learn import Tokenisation
from tests.models.jets import batch_of, four_vectors, permuted, random_jets, resized, tower_jets, with_padding

OPTIONS = {
    "kmeans": {"codes": 60},
    "vqvae": {"codes": 60, "width": 16, "blocks": 2, "heads": 4, "dropout": 0.0, "patience": 3},
}
JETS = {"random": random_jets(8, 24, seed=1), "towers": tower_jets(8, 24, seed=1)}
CPU = torch.device("cpu")


def made(name: str, **changes: object) -> Tokenizer:
    """Started from jets, with weights that are not the first ones."""
    torch.manual_seed(2)
    network = build(name, n_features=7, n_classes=2, **(OPTIONS[name] | changes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    network.begin([random_jets(30, 24, seed=3), tower_jets(30, 24, seed=3)])
    return network.eval()


def jets_at(eta: float, phi: float, soft: tuple[float, float, float] | None = None) -> Batch:
    """Three hard particles around a place, and a fourth: pT, and angles to that place; None: without momentum."""
    pt = torch.tensor([[200.0, 100.0, 50.0, 0.0 if soft is None else soft[0]]])
    _, deta, dphi = soft or (0.0, 0.0, 0.0)
    place = torch.tensor([[0.05, -0.1, 0.2, deta], [0.1, -0.2, 0.05, dphi]])
    vectors = four_vectors(pt, eta + place[:1], phi + place[1:])
    if soft is None:
        vectors[:, 3] = 0.0
    return batch_of(vectors, torch.ones(1, 4, dtype=torch.bool), 7)


def round_trip(batch: Batch) -> tuple[Tensor, Tensor]:
    """(n,) largest relative error of a component of the kept particles, and which (B, N) are kept."""
    given = particles_of(batch)
    found = vectors_from(given.values, *axis(batch.vectors, batch.mask)).double()
    momentum = batch.vectors[..., :3].double()
    size = momentum.norm(dim=-1, keepdim=True)
    expected = torch.cat([momentum, size], -1)
    return ((found - expected).abs() / size).amax(-1)[given.kept], given.kept


@pytest.mark.parametrize("name", JETS)
def test_kept_particles_come_back_without_their_mass(name: str) -> None:
    batch = with_padding(JETS[name], float("nan"))
    error, kept = round_trip(batch)
    assert error.max() < 1e-4
    eta, phi = (part[:, None] for part in by_hand(batch))
    own = by_hand(batch, particles=True)
    away = torch.stack([own[0] - eta, torch.remainder(own[1] - phi + math.pi, 2 * math.pi) - math.pi]).abs().amax(0)
    assert torch.equal(kept, batch.mask & (away < 0.8))
    assert 0.9 < kept.sum() / batch.mask.sum() <= 1
    if name == "random":
        assert kept.sum() < batch.mask.sum(), "the test needs particles that are too far"


def by_hand(batch: Batch, particles: bool = False) -> tuple[Tensor, Tensor]:
    """Pseudorapidity and azimuth of the sums of the real particles, or of each, in double precision."""
    vectors = batch.vectors.double().nan_to_num()
    px, py, pz, _ = (vectors if particles else (vectors * batch.mask[..., None]).sum(1)).unbind(-1)
    return torch.asinh(pz / torch.hypot(px, py).clamp(min=1e-12)), torch.atan2(py, px)


def test_what_is_read_is_what_the_paper_says() -> None:
    batch = JETS["towers"]
    given = particles_of(batch)
    (eta, phi), (of_eta, of_phi) = by_hand(batch), by_hand(batch, particles=True)
    pt = batch.vectors[..., :2].double().norm(dim=-1)
    turned = torch.remainder(of_phi - phi[:, None] + math.pi, 2 * math.pi) - math.pi
    expected = torch.stack([pt.log() - 1.8, 3 * (of_eta - eta[:, None]), 3 * turned], -1)
    torch.testing.assert_close(given.values[given.kept].double(), expected[given.kept], atol=1e-5, rtol=1e-5)
    assert not given.values[~given.kept].any()


@pytest.mark.parametrize("eta", [-4.5, 0.0, 3.0])
@pytest.mark.parametrize("phi", [math.pi, -math.pi + 0.02, 0.0, 1.5])
def test_no_place_is_special(eta: float, phi: float) -> None:
    for soft in (None, (1e-6, 0.5, 0.5), (1e3, -0.4, 0.3)):
        error, kept = round_trip(jets_at(eta, phi, soft))
        assert error.max() < 1e-4
        assert kept.tolist() == [[True, True, True, soft is not None]]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("soft", [None, (1e-3, 0.9, 0.0), (1e-3, 0.0, -0.95)])
def test_what_is_dropped_changes_nothing_else(name: str, soft: tuple[float, float, float] | None) -> None:
    network = made(name)
    with_it = jets_at(0.0, 0.0, soft)
    mask = torch.tensor([[True, True, True, False]])
    one, two = (network.reconstruct(batch) for batch in (with_it, with_it._replace(mask=mask)))
    assert one.given.kept.tolist() == mask.tolist()
    assert torch.equal(one.code, two.code) and one.code[0, 3] == 0
    for field in ("given", "values"):
        first, second = (getattr(found, field) for found in (one, two))
        first, second = (part.values if field == "given" else part for part in (first, second))
        torch.testing.assert_close(first, second, atol=3e-5, rtol=1e-5)
        assert not first[0, 3].any()
    assert int(one.given.kept.sum()) == 3
    if name == "vqvae":
        assert len(one.latent[one.given.kept]) == len(one.chosen[one.given.kept]) == 3


def test_momenta_that_are_decoded_have_an_end() -> None:
    values = torch.tensor([[[1e3, 0.0, 0.0], [-1e3, 0.3, 0.0], [math.log(1e3) - 1.8, 0.0, 0.0]]])
    found = vectors_from(values, torch.zeros(1, 1), torch.zeros(1, 1))
    assert found[0, :, 0].tolist() == pytest.approx([1e4, math.exp(-20), 1e3], rel=1e-5)
    assert found.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("jets", JETS)
def test_codes_move_with_their_particles(name: str, jets: str) -> None:
    network, batch = made(name), JETS[jets]
    place = torch.arange(24.0).expand(8, 24).contiguous()
    batch = batch._replace(features=torch.cat([place[..., None], batch.features[..., 1:]], -1))
    before, moved = network.reconstruct(batch), permuted(batch)
    after, slot = network.reconstruct(moved), moved.features[..., 0].long()
    assert not torch.equal(slot, place.long())
    assert torch.equal(after.code, before.code.gather(1, slot))
    torch.testing.assert_close(after.values, before.values.gather(1, slot[..., None].expand(-1, -1, 3)))
    assert len(before.code.unique()) > 10


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("jets", JETS)
def test_padding_is_not_seen(name: str, jets: str) -> None:
    batch = JETS[jets]
    task = Tokenisation(Data(["a"], [], max_particles=24))
    told = []
    for given in (batch, with_padding(batch, float("nan")), with_padding(resized(batch, 40), float("nan"))):
        network = made(name)
        task.attach(network)
        network.begin([given])
        if name == "vqvae":
            # Entries that nothing uses, which are then replaced.
            with torch.no_grad():
                network.codebook.centres[:5] += 1e3
        started = [value.clone() for value in network.state_dict().values()]
        found = network.reconstruct(given)
        network.train()
        losses, sums = [], task.sums(CPU)
        for _ in range(6):
            torch.manual_seed(1)
            losses.append(task.step(network, given, sums))
        losses[-1].backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        codes, values, kept = found.code[:, :24], found.values[:, :24], found.given.kept[:, :24]
        counted = [*network.state_dict().values(), *sums.values()]
        told.append([*started, codes, values, kept, torch.stack(losses), *gradients, *counted])
        assert not found.code[:, 24:].any() and not found.values[~found.given.kept].any()
    for other in told[1:]:
        for one, two in zip(told[0], other, strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    if name == "vqvae":
        assert network.codebook.all[:5].max() < 100


@torch.no_grad()
@pytest.mark.parametrize("name", OPTIONS)
def test_codes_stand_for_what_is_reconstructed(name: str) -> None:
    network, batch = made(name), JETS["random"]
    found = network.reconstruct(batch)
    assert found.code.dtype == torch.int64 and found.code.min() >= 0 and found.code.max() < 60
    assert torch.equal(network.decode(found.code, found.given.kept), found.values)
    other = network.decode((found.code + 1) % 60, found.given.kept)
    assert (other - found.values)[found.given.kept].abs().amax(-1).min() > 0
    encoded = network.encode(batch)
    kept = found.given.kept
    assert torch.equal(encoded.mask, kept) and encoded.particles.shape == (8, 24, network.particle_width)
    torch.testing.assert_close(encoded.particles[kept], network.held(found.code[kept]))
    mean = torch.stack([network.held(code[there]).mean(0) for code, there in zip(found.code, kept, strict=True)])
    torch.testing.assert_close(encoded.jet, mean)


@torch.no_grad()
def test_a_code_of_k_means_is_the_nearest_centre() -> None:
    network = made("kmeans")
    found = network.reconstruct(JETS["random"])
    points = found.given.values[found.given.kept].double()
    distance = torch.cdist(points, network.centres.double())
    assert torch.equal(found.code[found.given.kept], distance.argmin(1))
    torch.testing.assert_close(found.values[found.given.kept], network.centres[distance.argmin(1)])
    assert found.latent is None and found.chosen is None


@torch.no_grad()
def test_a_code_of_the_vqvae_is_the_nearest_entry_and_depends_on_the_jet() -> None:
    network, batch = made("vqvae"), JETS["random"]
    found = network.reconstruct(batch)
    kept = found.given.kept
    distance = torch.cdist(found.latent[kept].double(), network.codebook.all.double())
    assert torch.equal(found.code[kept], distance.argmin(1))
    torch.testing.assert_close(found.chosen[kept], network.codebook.all[distance.argmin(1)])
    # The same particle in another jet: another code, or another thing that it stands for.
    short = batch.mask & (torch.arange(24) < 4)
    fewer = network._latent(particles_of(batch)._replace(kept=short & kept))[short & kept]
    together = network._latent(found.given)[short & kept]
    assert (fewer - together).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "preset", "network", "codebook"),
    [
        ("vqvae", "published", 800_775, 8192 * 4 + 2 * 4),
        ("vqvae", "tiny", 26_631, 512 * 4 + 2 * 4),
        ("kmeans", "published", 0, 8192 * 3),
        ("kmeans", "tiny", 0, 512 * 3),
    ],
)
def test_sizes(name: str, preset: str, network: int, codebook: int) -> None:
    model = build(name, n_features=7, n_classes=2, preset=preset)
    sizes = {part: sum(p.numel() for p in child.parameters()) for part, child in model.named_children()}
    own = sum(p.numel() for p in model.parameters()) - sizes.pop("head")
    assert own == network + codebook
    assert sizes.get("codebook", codebook) == codebook
    if preset == "published" and name == "vqvae":
        assert codebook == 32_776


class Plain(nn.Module):
    """The block by torch's own layers, on jets of equal length."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(0.0), nn.Linear(width, width)
        )

    def forward(self, x: Tensor, padded: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.norm2(self.attn(normed, normed, normed, key_padding_mask=padded, need_weights=False)[0])
        return x + self.mlp(x)


def through(block: Block, x: Tensor, mask: Tensor) -> Tensor:
    packing = Packing(mask)
    return packing.unpack(block(packing.pack(x), packing, key_bias(mask)))


@torch.no_grad()
def test_a_block_is_its_formula() -> None:
    torch.manual_seed(4)
    block, plain = Block(16, 4, 0.1).eval(), Plain(16, 4)
    for parameter in block.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    plain.load_state_dict(block.state_dict())
    mask, x = JETS["random"].mask, torch.randn(8, 24, 16)
    found, expected = through(block, x, mask), plain(x, ~mask)
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-5)
    assert not found[~mask].any()


@torch.no_grad()
def test_a_fresh_block_changes_nothing() -> None:
    torch.manual_seed(4)
    block, mask, x = Block(16, 4, 0.0), JETS["random"].mask, torch.randn(8, 24, 16)
    x = x.masked_fill(~mask[..., None], 0.0)
    assert torch.equal(through(block, x, mask), x)
    # Without the zero weight of the first norm it would add the same, LN2(W (V b + b_v) + b_o), to all.
    block.norm1.bias.normal_()
    value = block.norm1.bias @ block.attn.in_proj_weight[32:].mT + block.attn.in_proj_bias[32:]
    added = block.norm2(block.attn.out_proj(value))
    torch.testing.assert_close((through(block, x, mask) - x)[mask], added.expand(int(mask.sum()), 16))
    assert added.std(correction=0).item() == pytest.approx(1, abs=1e-3)


def test_the_start_reads_no_more_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "SAMPLE", 100)
    read = []

    def jets():  # type: ignore[no-untyped-def]
        for seed in range(100):
            read.append(seed)
            yield random_jets(10, 24, seed=seed)

    for name in OPTIONS:
        network, before = made(name), len(read)
        network.begin(jets())
        # Eight for each of 60 codes, of about 14 particles in a jet.
        assert 3 <= len(read) - before <= 6


def test_the_start_is_without_dropout_and_leaves_the_mode() -> None:
    network = made("vqvae", dropout=0.5).train()
    first, second = network.entries_of(JETS["random"]), network.entries_of(JETS["random"])
    assert torch.equal(first, second) and not first.requires_grad
    assert network.training and network.encoder[0].training
    assert network.codebook.idle.tolist() == [3] * 60


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("kmeans", {"codes": 1}, "codes: expected at least 2, got 1"),
        ("vqvae", {"codes": 1}, "codes: expected at least 2, got 1"),
        ("vqvae", {"heads": 3}, "width: expected a multiple of heads = 3, got 16"),
        ("kmeans", {"codes": 9999}, r"codes: 9999 codes, but the training split has \d+ particles to start from"),
        ("vqvae", {"codes": 9999}, r"codes: 9999 codes, but the training split has \d+ particles to start from"),
    ],
)
def test_mistakes_are_one_line(name: str, changes: dict[str, int], message: str) -> None:
    with pytest.raises(JetloomError, match=f"^{message}$"):
        made(name, **changes)
