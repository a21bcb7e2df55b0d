"""What every architecture of the registry promises, whatever it computes inside."""

import copy

import pytest
import torch
from torch import nn

from jetloom.batch import Batch
from jetloom.evaluation.onnx import export_onnx
from tests.models.jets import extreme_jets, permuted, random_jets, resized, tower_jets, with_padding
from tests.models.rows import CLASSES, JETS, LONGEST, ROWS, close, make, sample

DECODES = ("latent_projection_out", "decoder", "output_projection")


@pytest.fixture(scope="module")
def made():
    """Models made once per module; tests must leave them as they are."""
    cache: dict[tuple[str, str], nn.Module] = {}

    def get(row: tuple[str, str]) -> nn.Module:
        if row not in cache:
            cache[row] = make(*row)
        return cache[row]

    return get


@pytest.fixture(params=ROWS, ids="-".join)
def row(request):
    return request.param


@pytest.fixture(params=JETS, ids=[name for name, _ in JETS])
def jet_row(request):
    return request.param


@torch.no_grad()
def test_logits_and_inputs(made, row):
    """Logits have the right shape, differ between jets, need no label, and the inputs are left untouched."""
    model, batch = made(row), sample(row[1])
    before = copy.deepcopy(batch)
    logits = model(batch)
    assert logits.shape == (4, CLASSES) and logits.isfinite().all()
    assert (logits[0] - logits[1]).abs().max() > 1e-4
    close(model(batch._replace(label=None)), logits, 1e-6)
    for name in ("features", "vectors", "coordinates", "mask"):
        value = getattr(batch, name)
        assert value is None or torch.equal(value, getattr(before, name))
    assert isinstance(model.ordered, bool)


@torch.no_grad()
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_content_of_padding(made, jet_row, value):
    model, batch = made(jet_row), sample("jets")
    close(model(with_padding(batch, value)), model(batch))


@torch.no_grad()
def test_width_of_padding(made, jet_row):
    """A wider and a narrower bucket, and a jet on its own, give the same logits."""
    model = made(jet_row)
    batch = sample("jets")
    expected = model(batch)
    close(model(resized(batch, LONGEST["jets"])), expected)
    short = Batch(*(None if value is None else value[1:] for value in batch))
    assert short.mask.sum(1).max() < 24
    close(model(resized(short, int(short.mask.sum(1).max()))), expected[1:])
    alone = Batch(*(None if value is None else value[2:3] for value in batch))
    close(model(resized(alone, int(alone.mask.sum()))), expected[2:3])


@torch.no_grad()
def test_padding_of_towers(made, jet_row):
    """Particles at one place, ties in every order and distance, jets of one particle: padding still does not matter."""
    model, batch = made(jet_row), tower_jets(8, 24, n_features=17, seed=1)
    expected = model(batch)
    assert expected.isfinite().all()
    close(model(with_padding(resized(batch, LONGEST["jets"]), float("nan"))), expected)
    for jet in range(8):
        alone = batch.map(lambda value, jet=jet: value[jet : jet + 1])
        close(model(resized(alone, int(alone.mask.sum()))), expected[jet : jet + 1])


@torch.no_grad()
def test_order(made, row):
    """Set models do not see the order of the particles; those that declare it do."""
    model, batch = made(row), sample(row[1])
    expected, actual = model(batch), model(permuted(batch))
    if model.ordered:
        assert (actual - expected).abs().max() > 1e-5, "declared as ordered, but it is not"
    else:
        close(actual, expected)


@torch.no_grad()
def test_many_jets_give_the_logits_of_few(made, jet_row):
    """Networks may work on some jets at a time where no gradient is wanted; rows come back in their places."""
    model, batch = made(jet_row), sample("jets", 200, seed=3)
    logits = model(batch)
    assert len(logits) == 200
    for start in (0, 160):
        part = Batch(*(None if value is None else value[start : start + 40] for value in batch))
        close(logits[start : start + 40], model(part))


def check_gradients(model: nn.Module, batch: Batch) -> nn.Module:
    torch.manual_seed(0)
    trained = copy.deepcopy(model).train()
    logits = trained(batch)
    nn.functional.cross_entropy(logits, batch.label).backward()
    assert logits.isfinite().all()
    for name, parameter in trained.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    for name, buffer in trained.named_buffers():
        assert buffer.isfinite().all(), name
    return trained


def test_gradients(made, row):
    """Every parameter learns, and padding full of NaN does no harm in training."""
    batch = sample(row[1], 16)
    trained = check_gradients(made(row), with_padding(batch, float("nan")))
    unused = [name for name, parameter in trained.named_parameters() if parameter.grad is None]
    # What decodes learns by the task of a tokenizer alone (tests/tasks/tokenisation).
    assert {name.split(".")[0] for name in unused} == (set(DECODES) if row[0] == "vqvae" else set())


@pytest.mark.parametrize("kind", extreme_jets())
def test_gradients_of_extreme_jets(made, jet_row, kind):
    model, batch = made(jet_row), extreme_jets()[kind]
    with torch.no_grad():
        assert model(batch).isfinite().all()
    check_gradients(model, batch)


@torch.no_grad()
def test_bfloat16(made, row):
    model, batch = made(row), sample(row[1], 16)
    with torch.autocast("cpu", torch.bfloat16):
        actual = model(batch)
    assert actual.isfinite().all()
    # Coarse numbers may choose other neighbours or another order, so single jets may differ more than their mean.
    assert (actual.float().softmax(1) - model(batch).softmax(1)).abs().mean() < 0.01


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnx(made, row, tmp_path):
    """The exported graph gives the same logits in onnxruntime for other batch sizes and lengths."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    _, kind = row
    model = made(row)
    file = tmp_path / "model.onnx"
    batch = sample(kind)
    export_onnx(model, file, n_features=batch.features.shape[2], kind=kind, longest=LONGEST[kind])
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    wanted = {item.name for item in session.get_inputs()}
    batches = [sample(kind, 2, 5), sample(kind, 5, 6)]
    if kind == "jets":
        batches += [random_jets(1, 9, seed=7), random_jets(3, LONGEST["jets"], seed=8)]
    for batch in batches:
        feed = {key: value.numpy() for key, value in batch._asdict().items() if key in wanted}
        (actual,) = session.run(None, feed)
        close(torch.from_numpy(actual), model(batch), 1e-4)
