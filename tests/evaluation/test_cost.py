"""Cost of networks whose cost is known."""

import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from jetloom.batch import Batch
from jetloom.cli import main
from jetloom.config import Cost
from jetloom.errors import JetloomError
from jetloom.evaluation import cost as timing
from jetloom.evaluation.cost import (
    ENOUGH,
    STEADY,
    cost,
    count_flops,
    count_parameters,
    count_work,
    describe,
    faster_half,
    measure,
    pipelined,
    repeated,
)
from jetloom.evaluation.memory import peak_megabytes
from jetloom.evaluation.pool import made_up_pool

pytestmark = pytest.mark.seconds

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
    batch = made_up_pool(7, "jets").batch(1, particles)
    model = PerParticle(7, 32, 10)
    assert count_flops(model, batch) == 2 * (particles * 7 * 32 + 32 * 10)
    assert count_parameters(model) == 7 * 32 + 32 + 32 * 10 + 10


def test_flops_of_attention_are_counted_on_the_cpu_too():
    n, d = 20, 8
    batch = made_up_pool(d, "jets").batch(1, n)
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
    batch = made_up_pool(3, "jets").batch(1, 4)
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

    point = measure(Pause(), made_up_pool(3, "jets").batch(5, 4), seconds=0.1)
    assert 10 <= point["milliseconds"]["low"] <= point["milliseconds"]["median"] <= point["milliseconds"]["high"] < 30
    assert point["jets_per_second"] == pytest.approx(5e3 / point["milliseconds"]["median"], rel=1e-3)
    assert 3 <= point["repetitions"] <= 10


class Clock:
    """Time that passes only when somebody works."""

    def __init__(self, monkeypatch, durations):
        self.now, self.durations = 0.0, iter(durations)
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def work(self):
        self.now += next(self.durations)


def test_a_noisy_neighbour_does_not_move_the_time(monkeypatch):
    """In three of seven passes somebody else runs for two seconds; the time of a jet stays 10 ms."""
    clock = Clock(monkeypatch, itertools.cycle([0.010, 2.0, 0.0101, 0.0102, 1.0, 0.0099, 3.0]))
    times = repeated(clock.work, 30.0)
    assert len(times) == ENOUGH and max(times) > 1
    assert faster_half(times)[-1] < 0.0103
    assert faster_half([3.0, 1.0, 2.0]) == [1.0, 2.0]


def test_it_is_timed_until_it_is_steady_and_not_longer_than_allowed(monkeypatch):
    calm = Clock(monkeypatch, itertools.repeat(0.001))
    assert len(repeated(calm.work, 10.0)) == ENOUGH
    unsettled = [0.001 * 1.2**step for step in range(40)]
    settling = Clock(monkeypatch, [*unsettled[:12], *itertools.repeat(0.001, 1000)])
    assert len(repeated(settling.work, 10.0)) == 2 * ENOUGH, "looked at after 10 and 20"
    never = Clock(monkeypatch, itertools.cycle([0.001, 0.0011, 0.0012, 0.0013]))
    times = repeated(never.work, 1.0)
    assert 1.0 <= sum(times) < 1.01
    half = faster_half(times)
    assert half[-1] / half[0] - 1 > STEADY


def test_a_slow_network_is_timed_three_times_at_most_for_four_budgets(monkeypatch):
    assert len(repeated(Clock(monkeypatch, itertools.repeat(1.2)).work, 1.0)) == 3
    assert len(repeated(Clock(monkeypatch, itertools.repeat(5.0)).work, 1.0)) == 1


def test_what_was_said_of_a_busy_machine(monkeypatch):
    class Work(nn.Module):
        def forward(self, batch: Batch) -> None:
            clock.work()

    batch = made_up_pool(3, "jets").batch(2, 4)
    clock = Clock(monkeypatch, itertools.repeat(0.01))
    point = measure(Work(), batch, seconds=1.0)
    assert point["steady"] and point["spread"] < 1e-6 and point["jets_per_second"] == 200
    clock = Clock(monkeypatch, itertools.cycle([0.01, 0.02, 0.03, 0.04]))
    point = measure(Work(), batch, seconds=1.0)
    assert not point["steady"] and point["spread"] == pytest.approx(1.0)
    assert (point["milliseconds"]["low"], point["milliseconds"]["high"]) == (10, 20)
    clock = Clock(monkeypatch, itertools.repeat(0.5))
    assert not measure(Work(), batch, seconds=1.0)["steady"], "three equal times are too few to say so"


class Queue:
    """A device beside this program: a launch takes 1 ms here, and 5 ms there of one piece of work after another."""

    def __init__(self, monkeypatch):
        self.now = self.free = 0.0
        self.waits = 0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def launch(self, batch=None):
        self.now += 0.001
        self.free = max(self.free, self.now) + 0.005

    def wait(self, device=None):
        self.waits += 1
        self.now = max(self.now, self.free)


def test_a_pipeline_waits_once_a_round(monkeypatch):
    queue = Queue(monkeypatch)
    assert pipelined(queue.launch, queue.wait, seconds=3.0, single=0.006) == pytest.approx(1 / 0.005, rel=0.01)
    assert queue.waits == 6


def test_a_gpu_has_a_latency_and_a_throughput(monkeypatch):
    """No GPU is needed to see which of the two waits after each pass."""

    class Mask(list):
        device = torch.device("cuda")

    queue = Queue(monkeypatch)
    monkeypatch.setattr(torch.cuda, "synchronize", queue.wait)
    point = measure(queue.launch, SimpleNamespace(mask=Mask("four")), seconds=2.0)
    assert point["milliseconds"] == {"median": 6, "low": 6, "high": 6} and point["steady"]
    assert point["jets_per_second"] == pytest.approx(4 / 0.006, rel=1e-3)
    assert point["pipelined_jets_per_second"] == pytest.approx(4 / 0.005, rel=0.01)


@pytest.mark.parametrize("particles", [10, 50])
def test_numbers_that_the_products_move(particles):
    """Each operand and each result once; the bias of a row that is repeated counts once too."""
    batch = made_up_pool(7, "jets").batch(1, particles)
    moved = count_work(PerParticle(7, 32, 10), batch).moved
    first = particles * 7 + 7 * 32 + 32 + particles * 32
    last = 32 + 32 * 10 + 10 + 10
    # A product without bias leaves its addition to another operation.
    assert moved in {first + last, first + last - 32}


def test_numbers_that_attention_moves():
    """Queries, keys, scores; then weights, values, outcome: 4 N d + 2 N^2."""
    n, d = 20, 8
    batch = made_up_pool(d, "jets").batch(1, n)
    assert count_work(Fused(), batch).moved == 4 * n * d + 2 * n * n


@pytest.mark.parametrize("model", ["transformer", "linformer"])
def test_cost_of_an_architecture(model, manifest, tmp_path):
    settings = Cost(batch_sizes=[1, 8], particles=[16, 512], seconds=0.02)
    output = tmp_path / "cost.json"
    run = {"dataset": "toy", "model": model, "title": "T"}
    cost(model, "tiny", {}, manifest, output, settings=settings, run=run, threads=1)
    content = json.loads(output.read_text())
    assert content["run"] == run
    assert content["macs"] * 2 == content["flops"]
    assert content["moved"] == content["flops_at"][0]["moved"] > content["parameters"] / 2
    assert content["clock"].startswith("median and range of the faster half")
    assert all(type(point["steady"]) is bool for point in content["length_scan"] + content["latency"])
    assert not any("pipelined_jets_per_second" in point for point in content["latency"]), "of a GPU alone"
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


def test_figures_of_an_equal_network_are_taken(manifest, tmp_path):
    measured = {"run": {"dataset": "toy", "model": "first", "title": "First"}, "parameters": 3}
    (tmp_path / "first.json").write_text(json.dumps(measured))
    named = ["--dataset=toy", "--name=second", "--title=Second"]
    paths = ["--same", str(tmp_path / "first.json"), "--output", str(tmp_path / "second.json")]
    with pytest.raises(SystemExit) as ended:
        main(["cost", str(manifest), "--model=transformer", *named, *paths])
    assert not ended.value.code
    run = {"dataset": "toy", "model": "second", "title": "Second"}
    assert json.loads((tmp_path / "second.json").read_text()) == measured | {"run": run}


def test_unknown_option_is_one_line(manifest, tmp_path):
    settings = Cost(batch_sizes=[1], particles=[16], seconds=0.01)
    with pytest.raises(JetloomError, match="no such option"):
        cost("transformer", "tiny", {"hobby": 1}, manifest, tmp_path / "cost.json", settings=settings,
             run={}, threads=1)  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_the_pool_gives_the_same_jets_every_time():
    pool = made_up_pool(7, "jets")
    first, second = pool.batch(3, 12), pool.batch(3, 12)
    np.testing.assert_array_equal(first.features, second.features)
    assert first.vectors.shape == (3, 12, 4)
    mass = first.vectors[..., 3] ** 2 - first.vectors[..., :3].pow(2).sum(-1)
    assert torch.all(mass > -1e-2), "four-vectors are physical"
