"""ParticleNet against weaver-core and against a search for neighbours by hand."""

import pytest
import torch

from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.layers.neighbours import nearest_neighbours, smallest
from jetloom.models.layers.packing import Packing
from jetloom.models.published import own_names
from tests.models.jets import extreme_jets, joined, random_jets, resized, tower_jets
from tests.models.weaver_peer import ask

SIZES = {
    "particlenet": ([[16, [64, 64, 64]], [16, [128, 128, 128]], [16, [256, 256, 256]]], [256]),
    "particlenet_lite": ([[7, [32, 32, 32]], [7, [64, 64, 64]]], [128]),
}


RULES = {"0.5": "published", "0.4": "weaver0.4"}


def ask_particlenet(directory, name, batch, dropout=0.1, **request):
    convolutions, layers = SIZES[name]
    return ask(
        directory,
        module="weaver.nn.model.ParticleNet",
        name="ParticleNet",
        arguments={
            "input_dims": batch.features.shape[-1],
            "num_classes": 10,
            "conv_params": convolutions,
            "fc_params": [[width, dropout] for width in layers],
            "use_fusion": False,
            "use_fts_bn": True,
            "use_counts": True,
        }
        | ({"trim": False} if directory is None else {}),  # 0.4 never trims here and has no such argument
        inputs=(batch.coordinates.transpose(1, 2), batch.features.transpose(1, 2), batch.mask[:, None]),
        label=batch.label,
        **request,
    )


@pytest.mark.parametrize(("name", "number"), [("particlenet", 370_156), ("particlenet_lite", 28_428)])
def test_parameters(name, number):
    model = build(name, n_features=17, n_classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == number


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("name", "features", "steps", "shortest"),
    [
        ("particlenet", 17, 0, 20),
        ("particlenet", 17, 10, 20),
        ("particlenet", 7, 0, 3),  # with missing neighbours
        ("particlenet_lite", 13, 0, 3),
        ("particlenet_lite", 17, 10, 20),
    ],
)
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_parity(request, version, name, features, steps, shortest):
    """Same weights, same jets, same logits as the authors' code, fresh and after ten steps of training."""
    directory = request.getfixturevalue("weaver_0_4") if version == "0.4" else None
    batch = random_jets(6, 32, n_features=features, shortest=shortest, seed=5)
    answer = ask_particlenet(directory, name, batch, noise=0.0 if steps else 0.02, steps=steps)
    model = build(name, n_features=features, n_classes=10)
    model.load_state_dict(own_names(model, answer["state"]))
    with torch.no_grad():
        logits = model.eval()(batch)
    assert answer["logits"].std() > 0.02
    torch.testing.assert_close(logits, answer["logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "width", "steps"),
    [
        *(("particlenet", 41, 0), ("particlenet_lite", 64, 10), ("particlenet_lite", 200, 0)),
        pytest.param("particlenet", 128, 10, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_parity_on_towers(request, version, name, width, steps):
    """Particles at one place, jets of one particle, padding: in each version the logits of its rule for neighbours."""
    directory = request.getfixturevalue("weaver_0_4") if version == "0.4" else None
    batch = resized(tower_jets(24, 41, seed=3), width)
    answer = ask_particlenet(directory, name, batch, noise=0.0 if steps else 0.02, steps=steps)
    logits = {}
    for knn in ("published", "weaver0.4", "exact"):
        model = build(name, n_features=7, n_classes=10, knn=knn)
        model.load_state_dict(own_names(model, answer["state"]))
        with torch.no_grad():
            logits[knn] = model.eval()(batch)
    torch.testing.assert_close(logits[RULES[version]], answer["logits"], rtol=1e-5, atol=2e-6)
    assert (logits["exact"] - answer["logits"]).abs().amax(1).gt(1e-5).sum() > 6
    default = build(name, n_features=7, n_classes=10)
    assert default.knn == "published"


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_gradients_on_towers(request, version):
    """Where no slot is padded the statistics are the peer's too, so a training step has the same gradients."""
    directory = request.getfixturevalue("weaver_0_4") if version == "0.4" else None
    batch = tower_jets(8, 30, full=True, seed=6)
    name = "particlenet_lite"
    fresh, stepped = (ask_particlenet(directory, name, batch, dropout=0.0, noise=0.02, steps=steps) for steps in (0, 1))
    found = {}
    for knn in (RULES[version], "exact"):
        model = build(name, n_features=7, n_classes=10, dropout=0.0, knn=knn).train()
        model.load_state_dict(own_names(model, fresh["state"]))
        torch.nn.functional.cross_entropy(model(batch), batch.label).backward()
        found[knn] = {key: value.grad for key, value in model.named_parameters()}
    theirs = own_names(model, stepped["gradients"])
    assert theirs.keys() == found["exact"].keys()
    off = []
    for key, expected in theirs.items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(found[RULES[version]][key], expected, rtol=1e-3, atol=1e-4 * scale + 1e-7, msg=key)
        if scale > 1e-6:  # an offset before a normalisation changes nothing
            off.append((found["exact"][key] - expected).abs().max().item() / scale)
    assert max(off) > 1e-2


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_parity_on_extreme_jets(request, version):
    """One and two particles, all at one place, along the beam, without energy."""
    directory = request.getfixturevalue("weaver_0_4") if version == "0.4" else None
    kinds = extreme_jets(n_features=7).values()
    batch = joined(kinds)
    answer = ask_particlenet(directory, "particlenet_lite", batch, noise=0.02)
    model = build("particlenet_lite", n_features=7, n_classes=10, knn=RULES[version])
    model.load_state_dict(own_names(model, answer["state"]))
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(batch), answer["logits"], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_answer_does_not_depend_on_padding():
    """Built for a length, the network decides ties as at that length: that of the published code for padded input."""
    torch.manual_seed(0)
    wide = resized(tower_jets(12, 41, seed=3), 64)
    for knn in ("published", "weaver0.4", "exact"):
        model = build("particlenet", n_features=7, n_classes=10, knn=knn, max_particles=64).eval()
        as_given = build("particlenet", n_features=7, n_classes=10, knn=knn).eval()
        as_given.load_state_dict(model.state_dict())
        expected = as_given(wide)
        for batch in (wide, resized(wide, 41), resized(wide, 50)):
            torch.testing.assert_close(model(batch), expected, rtol=1e-5, atol=1e-6)
        for jet in range(12):
            alone = wide.map(lambda value, jet=jet: value[jet : jet + 1])
            alone = resized(alone, int(alone.mask.sum()))
            torch.testing.assert_close(model(alone), expected[jet : jet + 1], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_many_jets_at_once_are_decided_at_the_same_length():
    """Jets go through the network in parts of like length; ties are those of the batch as it came."""
    torch.manual_seed(0)
    batch = resized(tower_jets(80, 41, seed=3), 128)
    model = build("particlenet_lite", n_features=7, n_classes=10).eval()
    few = [model(batch.map(lambda value, start=start: value[start : start + 20])) for start in range(0, 80, 20)]
    torch.testing.assert_close(model(batch), torch.cat(few), rtol=1e-5, atol=1e-6)


def test_rules_for_particles_at_one_place():
    """exact: never itself. published: one of those that come first is dropped, the others may hold the particle."""
    batch = tower_jets(4, 41, full=True)
    packing = Packing(batch.mask)
    own = torch.arange(4 * 41)[:, None]
    exact, published = (nearest_neighbours(batch.coordinates, packing, 7, knn, 41) for knn in ("exact", "published"))
    assert not (exact == own).any()
    among_themselves = (published == own).any(1)
    assert 0.05 < among_themselves.float().mean() < 0.5
    twins = (batch.coordinates.flatten(0, 1)[published[among_themselves]] - batch.coordinates.flatten(0, 1)[
        own[among_themselves]]).square().sum(-1)  # fmt: skip
    assert (twins.amin(1) < 1e-6).all()


@torch.no_grad()
@pytest.mark.parametrize("length", [None, 6, 9, 40])
def test_ties_at_the_last_place(length):
    """Half of all distances are equal: as a top-k of the filled row, or those in front."""
    generator = torch.Generator().manual_seed(0)
    distance = torch.randint(4, (300, 6), generator=generator).float()
    distance[:40, 4:] = torch.inf
    values, places = smallest(distance, 3, length)
    if length is None:
        expected = distance.sort(stable=True)
    else:
        expected = torch.nn.functional.pad(distance, (0, length - 6), value=torch.inf).topk(3, largest=False)
    assert torch.equal(values, expected[0][:, :3])
    assert torch.equal(places[:, 0], expected[1][:, 0])
    assert torch.equal(places.sort(1).values, expected[1][:, :3].sort(1).values)


def test_neighbours_by_hand():
    """On a line at 0, 1, 3, 7 in the second jet; the first has two particles, so most neighbours are missing."""
    points = torch.tensor([[0.0, 5.0, 9.0, 9.0], [0.0, 1.0, 3.0, 7.0]])[..., None]
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    rows = nearest_neighbours(points, Packing(mask), 2).sort(1).values
    assert rows.tolist() == [[1, 6], [0, 6], [3, 4], [2, 4], [2, 3], [3, 4]]


def test_particles_at_one_place_are_neighbours_of_each_other():
    rows = nearest_neighbours(torch.zeros(1, 3, 2), Packing(torch.ones(1, 3, dtype=torch.bool)), 2)
    assert rows.sort(1).values.tolist() == [[1, 2], [0, 2], [0, 1]]


def test_mistake():
    with pytest.raises(JetloomError, match="neighbours = 0"):
        build("particlenet", n_features=7, n_classes=2, neighbours=0)
