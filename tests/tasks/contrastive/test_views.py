"""The four augmentations, by what each leaves alone; and what a network reads of them."""

import math

import pytest
import torch

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.data.prepare.features import FEATURE_SETS
from jetloom.tasks.contrastive import views
from tests.models.jets import batch_of, extreme_jets, four_vectors, random_jets, tower_jets, with_padding

INPUTS = [tuple(item) for item in FEATURE_SETS["kin"]]


def jets(number: int = 40, seed: int = 1) -> Batch:
    return random_jets(number, 24, n_features=7, seed=seed)


def distances(view: views.View) -> torch.Tensor:
    pair = view.mask[:, :, None] & view.mask[:, None]
    return torch.cdist(view.place.double(), view.place.double())[pair]


def total(view: views.View) -> torch.Tensor:
    """Sums of pT, pT deta and pT dphi."""
    weight = view.pt.double() * view.mask
    return torch.cat([weight.sum(1, keepdim=True), (weight[..., None] * view.place).sum(1)], 1)


def test_rotation_keeps_distances_and_pt_and_the_axis():
    before = views.of_batch(jets())
    after = views.rotated(before)
    torch.testing.assert_close(distances(after), distances(before), atol=1e-6, rtol=0)
    torch.testing.assert_close(after.place.norm(dim=-1), before.place.norm(dim=-1))
    assert torch.equal(after.pt, before.pt) and torch.equal(after.mask, before.mask)
    cosine = torch.nn.functional.cosine_similarity(after.place[:, 0], before.place[:, 0])
    assert cosine.min() < -0.9 and cosine.max() > 0.9, "angles of all sizes, one for each jet"


def test_translation_keeps_differences_and_stays_within_its_reach():
    before = views.of_batch(jets(400))
    after = views.translated(before, 1.0)
    shift = (after.place - before.place)[:, :1]
    torch.testing.assert_close(after.place, torch.where(before.mask[..., None], before.place + shift, 0.0))
    real = before.mask[..., None]
    extent = before.place.masked_fill(~real, -9).amax(1) - before.place.masked_fill(~real, 9).amin(1)
    share = shift[:, 0] / extent
    assert share.abs().max() <= 1 + 1e-5 and share.abs().max() > 0.95
    assert share.mean().abs() < 0.1 and share.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.05)
    far = views.translated(before, 20.0)
    assert far.place[..., 1].abs().max() <= math.pi + 1e-5 < far.place[..., 0].abs().max()


def test_splitting_conserves_the_sums_and_overwrites_nothing():
    before = views.of_batch(jets(300))
    after = views.split(before)
    torch.testing.assert_close(total(after), total(before), atol=1e-5, rtol=1e-5)
    number, slots = before.mask.sum(1), before.mask.shape[1]
    assert torch.equal(after.mask.sum(1) - number, torch.minimum(number // 2, slots - number))
    assert (after.mask | ~before.mask).all()
    assert torch.equal(after.place[before.mask], before.place[before.mask])
    new = after.mask & ~before.mask
    own = torch.arange(slots).expand_as(after.parent)
    assert torch.equal(after.parent[~new], own[~new])
    assert torch.equal(after.place[new], views._taken(before.place, after.parent)[new]), "collinear"
    assert before.mask.gather(1, after.parent)[new].all(), "no padded slot is split"
    parents = [jet[chosen] for jet, chosen in zip(after.parent, new, strict=True)]
    assert all(len(set(part.tolist())) == len(part) for part in parents), "each at most once"
    # Two parts of each mother make it whole again, and the share is uniform.
    whole = before.pt.gather(1, after.parent)[new]
    share = after.pt[new] / whole
    torch.testing.assert_close(after.pt.gather(1, after.parent)[new] + after.pt[new], whole)
    assert share.mean().item() == pytest.approx(0.5, abs=0.03)
    assert share.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.03)
    mothers = torch.zeros_like(before.pt).scatter_add(1, after.parent, new.float()) > 0
    assert torch.equal(after.pt[before.mask & ~mothers], before.pt[before.mask & ~mothers])
    full = before._replace(mask=torch.ones_like(before.mask))
    assert torch.equal(views.split(full).pt, before.pt), "no free slot, no split"


@pytest.mark.parametrize("pt", [0.02, 0.5, 3.0, 80.0])
def test_the_width_of_the_smearing(pt):
    number = 100_000
    view = views.View(
        torch.full((1, number), pt), torch.zeros(1, number, 2), torch.ones(1, number, dtype=torch.bool),
        torch.arange(number)[None],
    )  # fmt: skip
    torch.manual_seed(3)
    after = views.smeared(view)
    for angle in after.place[0].T:
        assert angle.std().item() == pytest.approx(0.1 / max(pt, 0.1), rel=0.01)
    assert torch.equal(after.pt, view.pt)


ALL = {
    "rotated": views.rotated,
    "translated": lambda view: views.translated(view, 1.0),
    "split": views.split,
    "smeared": views.smeared,
}


@pytest.mark.parametrize("name", ALL)
def test_same_key_same_view_and_padding_stays_padding(name):
    batch = jets()
    made = []
    for key, some in ((1, batch), (1, with_padding(batch, float("nan"))), (2, batch)):
        torch.manual_seed(key)
        made.append(ALL[name](views.of_batch(some)))
    for one, two in zip(made[0], made[1], strict=True):
        assert torch.equal(one, two)
    assert any(not torch.equal(one, two) for one, two in zip(made[0], made[2], strict=True))
    padded = ~made[0].mask
    assert not made[0].pt[padded].any() and not made[0].place[padded].any()
    assert name == "split" or torch.equal(made[0].mask, batch.mask)
    read = [views.batch_of(made[0], some, INPUTS) for some in (batch, with_padding(batch, float("nan")))]
    for one, two in zip(read[0][:4], read[1][:4], strict=True):
        assert torch.equal(one, two)


def outward(batch: Batch) -> Batch:
    """The same jets with deta against the jet's eta, as in JetClass: away from the middle of the detector."""
    total = (batch.vectors * batch.mask[..., None]).sum(1)
    sign = torch.where(total[:, 2] < 0, -1.0, 1.0)[:, None]
    features, coordinates = batch.features.clone(), batch.coordinates.clone()
    features[..., 5] *= sign
    coordinates[..., 0] *= sign
    return batch._replace(features=features, coordinates=coordinates)


@pytest.mark.parametrize("convention", [lambda batch: batch, outward], ids=["eta", "outward"])
def test_the_identity_reproduces_what_is_stored(convention):
    batch = convention(jets())
    found = views.batch_of(views.of_batch(batch), batch, INPUTS)
    for name in ("features", "vectors", "coordinates", "mask"):
        torch.testing.assert_close(getattr(found, name), getattr(batch, name), atol=2e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("convention", [lambda batch: batch, outward], ids=["eta", "outward"])
def test_inputs_are_those_of_the_moved_particles(convention):
    """Against the formulas of the data set, in float64, for the moved four-vectors; masses stay."""
    batch = convention(jets())
    torch.manual_seed(5)
    view = views.split(views.smeared(views.rotated(views.of_batch(batch))))
    found = views.batch_of(view, batch, INPUTS)
    real, vectors = found.mask, found.vectors.double()
    # The axis of the jets as they were.
    axis = (batch.vectors.double() * batch.mask[..., None]).sum(1)
    jet_pt, jet_eta = axis[:, :2].norm(dim=1), torch.asinh(axis[:, 2] / axis[:, :2].norm(dim=1))
    pt, eta = vectors[..., :2].norm(dim=-1), torch.asinh(vectors[..., 2] / vectors[..., :2].norm(dim=-1))
    deta = (eta - jet_eta[:, None]) * (1 if convention is not outward else jet_eta.sign()[:, None])
    phi, jet_phi = (torch.atan2(momentum[..., 1], momentum[..., 0]) for momentum in (vectors, axis))
    dphi = kinematics.delta_phi(phi, jet_phi[:, None])
    energy = vectors[..., 3]
    expected = torch.stack([
        (pt.log() - 1.7) * 0.7, (energy.log() - 2) * 0.7, ((pt / jet_pt[:, None]).log() + 4.7) * 0.7,
        ((energy / axis[:, 3:]).log() + 4.7) * 0.7, (torch.hypot(deta, dphi) - 0.2) * 4,
    ], -1).clamp(-5, 5)  # fmt: skip
    expected = torch.cat([expected, torch.stack([deta, dphi], -1)], -1)
    torch.testing.assert_close(found.features[real].double(), expected[real], atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(found.coordinates[real].double(), expected[..., 5:][real], atol=1e-4, rtol=1e-4)
    assert (found.vectors[..., :2].norm(dim=-1).diff(dim=1) <= 1e-4).all(), "hardest first, padding last"


def test_splitting_conserves_the_momentum_and_the_masses():
    batch = jets()
    found = views.batch_of(views.split(views.of_batch(batch)), batch, INPUTS)
    before, after = ((one.vectors.double() * one.mask[..., None]).sum(1) for one in (batch, found))
    torch.testing.assert_close(after, before, atol=2e-3, rtol=1e-5)


def test_what_is_no_function_of_the_kinematics_comes_from_the_parent():
    """Charge and kind of a particle, in the order of feature set kinpid."""
    batch = random_jets(20, 24, n_features=13, seed=2)
    inputs = [tuple(item) for item in FEATURE_SETS["kinpid"]]
    view = views.split(views.of_batch(batch))
    found = views.batch_of(view, batch, inputs)
    for jet in range(20):
        rows = {tuple(row) for row in batch.features[jet, batch.mask[jet], 5:11].tolist()}
        assert {tuple(row) for row in found.features[jet, found.mask[jet], 5:11].tolist()} == rows


def test_relative_and_plain_pt_follow_a_split():
    """Inputs of the other feature sets."""
    batch = jets()
    pt = kinematics.pt(batch.vectors)
    inputs = [("part_pt", 7.0, 1 / 5.56, -1e3, 1e3), ("part_ptrel", None, None, None, None)]
    features = torch.stack([(pt - 7.0) / 5.56, pt / 700.0], -1)
    batch = batch._replace(features=features * batch.mask[..., None])
    found = views.batch_of(views.split(views.of_batch(batch)), batch, inputs)
    after = kinematics.pt(found.vectors)[found.mask]
    torch.testing.assert_close(found.features[found.mask][:, 0], (after - 7.0) / 5.56, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.features[found.mask][:, 1], after / 700.0)


@pytest.mark.parametrize("kind", extreme_jets())
def test_extreme_jets_stay_finite(kind):
    batch = extreme_jets(n_features=7)[kind]
    view = views.of_batch(batch)
    for function in ALL.values():
        view = function(view)
    found = views.batch_of(view, batch, INPUTS)
    for name in ("features", "vectors", "coordinates"):
        assert getattr(found, name).isfinite().all(), name


def test_towers_stay_finite():
    batch = tower_jets(20, 24)
    found = views.batch_of(views.split(views.rotated(views.of_batch(batch))), batch, INPUTS)
    assert found.features.isfinite().all() and found.vectors.isfinite().all()


def test_a_hand_made_jet():
    """Two massless particles, turned by a quarter: deta becomes dphi."""
    pt, eta, phi = torch.tensor([[100.0, 50.0]]), torch.tensor([[1.1, 1.0]]), torch.tensor([[0.2, 0.3]])
    batch = batch_of(four_vectors(pt, eta, phi), torch.ones(1, 2, dtype=torch.bool), 7)
    view = views.of_batch(batch)
    turned = view._replace(place=torch.stack([-view.place[..., 1], view.place[..., 0]], -1))
    found = views.batch_of(turned, batch, INPUTS)
    old = batch.coordinates[0]
    axis = torch.tensor([1.1, 0.2]) - old[0]
    expected = torch.stack([axis[0] - old[:, 1], axis[1] + old[:, 0]], 1)
    torch.testing.assert_close(kinematics.eta(found.vectors)[0], expected[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(kinematics.phi(found.vectors)[0], expected[:, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(kinematics.pt(found.vectors), pt)
