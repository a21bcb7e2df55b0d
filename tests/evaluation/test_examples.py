"""The jets that the report draws: the right ones, in the network's partitions, with the weights it really uses."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.data.read.loader import Loader
from jetloom.evaluation.examples import examples
from jetloom.models.registry import build
from jetloom.tasks.classification.learn import Classification
from jetloom.tasks.task import Data
from tests.support.evaluated import CLASSES

TASK = Classification(Data(CLASSES, []))

SMALL = {
    "part": {"embedding": (16, 16), "pair_embedding": (8,), "blocks": 1, "heads": 4, "class_blocks": 2},
    "salt": {"p": 4, "layers": 2},
    "linformer": {},
    "pfn": {},
}


def network(name: str, **options):
    torch.manual_seed(5)
    return build(name, n_features=7, n_classes=3, max_particles=32, **SMALL[name], **options).eval()


@pytest.fixture(scope="module")
def batch(manifest):
    """Jets of one bucket."""
    return next(iter(Loader(manifest, "test", batch_size=6, shuffle=False)))


def test_the_jets_are_rows_of_the_predictions(manifest):
    model = network("part")
    content = examples(model, TASK, manifest, "test")
    assert json.loads(json.dumps(content)) == content
    given, labels, lengths = [], [], []
    with torch.inference_mode():
        for batch in Loader(manifest, "test", batch_size=7, shuffle=False):
            given += model(batch).argmax(1).tolist()
            labels += batch.label.tolist()
            lengths += batch.mask.sum(1).tolist()
    assert [jet["class"] for jet in content["jets"]] == ["QCD", "Hbb", "Tbl"]
    for index, jet in enumerate(content["jets"]):
        assert labels[jet["row"]] == index
        assert ["QCD", "Hbb", "Tbl"][given[jet["row"]]] == jet["given"]
        own = [length for length, label in zip(lengths, labels, strict=True) if label == index]
        assert len(jet["weight"]) == len(jet["pt"]) == len(jet["coordinates"]) == lengths[jet["row"]]
        assert np.mean(np.array(own) <= lengths[jet["row"]]) >= 0.9 >= np.mean(np.array(own) < lengths[jet["row"]])


def test_models_without_attention_or_partitions_have_none(manifest):
    content = examples(network("pfn"), TASK, manifest, "test")
    assert content["looks"] is None and content["partitions"] is None
    assert all(jet["weight"] is None and jet["partition"] is None for jet in content["jets"])


def test_weights_of_the_class_token_are_those_of_torch(batch):
    """Peer: torch's own multi-head attention, which returns its weights."""
    model = network("part")
    last = model.readout.cls_blocks[-1]
    taken = {}
    handle = last.register_forward_pre_hook(lambda block, given: taken.update(given=given))
    with torch.inference_mode():
        model(batch)
        handle.remove()
        looks = model.looks(batch)
        token, particles, _ = taken["given"]
        keys = last.pre_attn_norm(torch.cat([token, particles], 1)).transpose(0, 1)
        # The model reads no slot behind the last real particle.
        padded = functional.pad(~batch.mask, (1, 0))[:, : len(keys)]
        _, weights = functional.multi_head_attention_forward(
            token.transpose(0, 1), keys, keys, 16, 4, last.attn.in_proj_weight, last.attn.in_proj_bias, None, None,
            False, 0.0, last.attn.out_proj.weight, last.attn.out_proj.bias, False, padded, True,
        )  # fmt: skip
    assert looks.what == "class token"
    torch.testing.assert_close(looks.weight[:, : len(keys) - 1], weights[:, 0, 1:])
    assert not looks.weight[:, len(keys) - 1 :].any()


@pytest.mark.parametrize("partition_by", ["slots", "real"])
def test_partitions_are_runs_in_the_order_of_kt(batch, partition_by):
    model = network("salt", partition_by=partition_by)
    with torch.inference_mode():
        looks = model.looks(batch)
        sorted_batch, partition = looks.batch, looks.partition
        torch.testing.assert_close(model(sorted_batch), model(batch), rtol=0, atol=1e-6)
    assert looks.partitions == 4
    for jet in range(len(batch.mask)):
        real = int(batch.mask[jet].sum())
        vectors, place = (
            sorted_batch.vectors[jet, :real].double().numpy(),
            sorted_batch.coordinates[jet, :real].double().numpy(),
        )
        kt = np.hypot(vectors[:, 0], vectors[:, 1]) * np.hypot(place[:, 0], place[:, 1])
        assert (np.diff(kt) <= 1e-6).all()
        rank = np.arange(real)
        expected = rank // 8 if partition_by == "slots" else rank * 4 // real
        np.testing.assert_array_equal(partition[jet, :real], expected)


@pytest.mark.parametrize("name", ["salt", "linformer"])
def test_pooled_weights_follow_the_maximum_back(batch, name):
    """Against plain loops over particles, heads and mixtures for one jet, from the weights as they are stored."""
    model = network(name)
    sorted_batch = Batch(*(part if part is None else part[:1] for part in model.looks(batch).batch))
    block = model.blocks[-1]
    taken = {}
    handles = [
        block.register_forward_hook(lambda _, given, out: taken.update(x=given[0], layout=given[1], out=out)),
        block.attention.register_forward_pre_hook(lambda _, given: taken.update(rows=given[0])),
    ]
    with torch.inference_mode():
        looks = model.looks(sorted_batch)
        model(sorted_batch)
        attention = block.attention
        share = attention.weights(taken["rows"], taken["layout"])[0].mT.double().numpy()
    for handle in handles:
        handle.remove()
    real = int(sorted_batch.mask[0].sum())
    stored = attention.value_projection.weight.detach().double().numpy()
    heads, width = attention.heads, taken["out"].shape[2]
    top = taken["out"][0, :real].argmax(0).tolist()
    expected = np.zeros(real)
    for channel in range(width):
        for head in range(heads):
            for mixture in range(4):
                if name == "salt":
                    slots = range(8 * mixture, min(8 * mixture + 8, real))
                    size = {row: abs(stored[head, mixture, row - 8 * mixture]) for row in slots}
                else:
                    size = {row: abs(stored[head, row, mixture]) for row in range(real)}
                for row, value in size.items():
                    expected[row] += share[head, mixture, top[channel]] * value / sum(size.values()) / width / heads
    np.testing.assert_allclose(looks.weight[0, :real], expected, atol=1e-6)
    assert looks.weight[0].sum() == pytest.approx(1, abs=1e-5)
    assert looks.pooled[0].sum() == pytest.approx(1, abs=1e-5)


def test_weights_move_with_the_particles(batch):
    model = network("salt")
    order = torch.randperm(batch.mask.shape[1], generator=torch.Generator().manual_seed(1))
    moved = batch.map_slots(lambda part: part[:, order])
    weights = []
    for jets in (batch, moved):
        with torch.inference_mode():
            weights.append(model.looks(jets).weight)
    torch.testing.assert_close(*weights)
