"""Cost of networks whose cost is known."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from jetloom.batch import Batch
from jetloom.config import Cost
from jetloom.errors import JetloomError
from jetloom.evaluation.cost import cost, count_flops, count_parameters, describe, made_up_pool, measure
from jetloom.evaluation.memory import peak_megabytes

CPU = torch.device("cpu")


class PerParticle(nn.Module):
    """Linear on each particle, mean, linear: N F H + H C multiply-adds."""

    def __init__(self, n_features: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(n_features, width), nn.Linear(width, n_classes)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.last(self.first(batch.features).mean(dim=1))


class Attention(nn.Module):
    """One attention layer: 4 N d^2 for the projections and 2 N^2 d for scores and values, multiply-adds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, batch: Batch) -> torch.Tensor:
        x = batch.features
        return self.attention(x, x, x, need_weights=False)[0]


class Fused(nn.Module):
    """Attention as one fused operation."""

    def forward(self, batch: Batch) -> torch.Tensor:
        x = batch.features.unsqueeze(1)
        return nn.functional.scaled_dot_product_attention(x, x, x)


class Hungry(nn.Module):
    """Needs so many megabytes for a moment, and keeps nothing."""

    def __init__(self, megabytes: int) -> None:
        super().__init__()
        self.numbers = megabytes * 1_000_000 // 4

    def forward(self, batch: Batch) -> torch.Tensor:
        return torch.ones(self.numbers).sum()


@pytest.mark.parametrize("particles", [10, 50])
def test_flops_of_a_linear_network(particles):
    batch = made_up_pool(7, jets=True).batch(1, particles)
    model = PerParticle(7, 32, 10)
    assert count_flops(model, batch) == 2 * (particles * 7 * 32 + 32 * 10)
    assert count_parameters(model) == 7 * 32 + 32 + 32 * 10 + 10


def test_flops_of_attention_are_counted_on_the_cpu_too():
    n, d = 20, 8
    batch = made_up_pool(d, jets=True).batch(1, n)
    assert count_flops(Fused(), batch) == 2 * 2 * n * n * d
    assert count_flops(Attention(d).eval(), batch) == 2 * (4 * n * d * d + 2 * n * n * d)


def test_flops_of_the_particle_transformer_are_the_quoted_ones():
    """211,094,016 FLOPs at 50 particles: arXiv:2505.20280 quotes 211 M for this counter; 2,143,486 parameters."""
    size = describe("part")
    assert size.parameters == 2_143_486
    assert 2 * size.macs == pytest.approx(211_094_016, rel=1e-3)


def test_frozen_parameters_do_not_count():
    model = PerParticle(3, 4, 2)
    model.first.requires_grad_(False)
    assert count_parameters(model) == 4 * 2 + 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the high-water mark can be reset on Linux only")
@pytest.mark.parametrize("megabytes", [20, 80])
def test_peak_memory_of_a_known_amount(megabytes):
    batch = made_up_pool(3, jets=True).batch(1, 4)
    with torch.inference_mode():
        # The first one shows that an earlier, larger peak does not stay.
        peak_megabytes(lambda: Hungry(150)(batch), CPU)
        # Other threads of this process can only add to a peak.
        peak = min(peak_megabytes(lambda: Hungry(megabytes)(batch), CPU) for _ in range(3))
        assert peak == pytest.approx(megabytes, rel=0.1, abs=2)


def test_time_of_a_pause():
    class Pause(nn.Module):
        def forward(self, batch: Batch) -> None:
            import time

            time.sleep(0.01)

    point = measure(Pause(), made_up_pool(3, jets=True).batch(5, 4), seconds=0.1)
    assert 10 <= point["milliseconds"]["low"] <= point["milliseconds"]["median"] <= point["milliseconds"]["high"] < 30
    assert point["jets_per_second"] == pytest.approx(5e3 / point["milliseconds"]["median"], rel=1e-3)
    assert 3 <= point["repetitions"] <= 10


@pytest.mark.parametrize("model", ["transformer", "linformer"])
def test_cost_of_an_architecture(model, manifest, tmp_path):
    settings = Cost(batch_sizes=[1, 8], particles=[16, 512], seconds=0.02)
    output = tmp_path / "cost.json"
    run = {"dataset": "toy", "model": model, "title": "T"}
    cost(model, "tiny", {}, manifest, output, settings=settings, run=run, threads=1)
    content = json.loads(output.read_text())
    assert content["run"] == run
    assert content["macs"] * 2 == content["flops"]
    assert [point["particles"] for point in content["flops_at"]] == [32], "no more particles than the data set has"
    assert [point["batch_size"] for point in content["latency"]] == [1, 8]
    assert [point["particles"] for point in content["length_scan"]] == [16, 512], (
        "also beyond the data set's longest jet"
    )
    assert all(point["milliseconds"]["median"] > 0 for point in content["length_scan"] + content["latency"])
    if sys.platform.startswith("linux"):
        memory = [point["peak_memory_mb"] for point in content["length_scan"]]
        assert memory[0] < memory[1]
    assert content["hardware"]["threads"] == 1
    assert list(tmp_path.iterdir()) == [output], "nothing half-written is left"


def test_unknown_option_is_one_line(manifest, tmp_path):
    settings = Cost(batch_sizes=[1], particles=[16], seconds=0.01)
    with pytest.raises(JetloomError, match="no such option"):
        cost("transformer", "tiny", {"hobby": 1}, manifest, tmp_path / "cost.json", settings=settings,
             run={}, threads=1)  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_the_pool_gives_the_same_jets_every_time():
    pool = made_up_pool(7, jets=True)
    first, second = pool.batch(3, 12), pool.batch(3, 12)
    np.testing.assert_array_equal(first.features, second.features)
    assert first.vectors.shape == (3, 12, 4)
    mass = first.vectors[..., 3] ** 2 - first.vectors[..., :3].pow(2).sum(-1)
    assert torch.all(mass > -1e-2), "four-vectors are physical"
