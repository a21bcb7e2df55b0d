"""The arithmetic of the benchmarks: whose turn, which ratio, the same jets for all."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.models.jets import random_jets
from tests.support.tensors import write_tensors

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("measure", "taggers", "salt", "salt_peer"):
        sys.modules.pop(name, None)


def test_turns_and_ratios(benchmarks):
    """A made-up clock: one contender takes two ticks, the other six, and all slow down from round to round."""
    from measure import interleaved, ratio

    now, slowness, calls = [0.0], [1.0], []

    def work(name, ticks):
        calls.append(name)
        now[0] += ticks * slowness[0]
        slowness[0] *= 1.01

    timings = interleaved(
        {"fast": lambda: work("fast", 2.0), "slow": lambda: work("slow", 6.0)},
        rounds=5,
        warm_up=1,
        clock=lambda: now[0],
    )
    assert calls == ["fast", "slow", "slow", "fast"] * 3
    assert len(timings["fast"].rounds) == 5
    assert timings["fast"].low <= timings["fast"].median <= timings["fast"].high
    assert ratio(timings["slow"], timings["fast"])["median"] == pytest.approx(3.0, rel=0.011)
    with pytest.raises(ValueError, match="rounds"):
        interleaved({}, rounds=0)


def test_operations_are_counted(benchmarks):
    from measure import count_flops

    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert count_flops(lambda: a @ b) == 2 * 3 * 5 * 7


def test_the_same_jets_for_all(benchmarks):
    """Mixing bucketed batches loses and invents nothing."""
    from taggers import mixed

    bucketed = [random_jets(4, width, seed=width) for width in (8, 12)]
    same = mixed(bucketed, 16)
    assert [b.mask.shape for b in same] == [(4, 16), (4, 16)]

    def sums(batches):
        return sorted(float((b.features[i] * b.mask[i, :, None]).sum()) for b in batches for i in range(4))

    assert sums(same) == pytest.approx(sums(bucketed), rel=1e-4, abs=1e-4)
    assert sum(int(b.mask.sum()) for b in same) == sum(int(b.mask.sum()) for b in bucketed)


@pytest.mark.seconds
def test_process_peak(benchmarks, tmp_path):
    """A fresh process that fills 200 MB says so."""
    from measure import peak_bytes

    script = tmp_path / "work.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "from measure import report_peak\nreport_peak(lambda: len(b'x' * 200_000_000))\n"
    )
    found = peak_bytes([str(script)])
    assert 0.9 < (found["peak"] - found["before"]) / 200_000_000 < 1.5


def test_the_contest_of_salt_reads_batches_of_all_lengths(benchmarks, tmp_path):
    """As many as it asks for, padded to its length; what lies behind the particles of a jet is no particle."""
    from salt import real_jets

    manifest = write_tensors(tmp_path)
    batch = real_jets(SimpleNamespace(data=manifest, batch=300, particles=50, device="cpu"))
    assert batch.features.shape[:2] == batch.mask.shape == (300, 50) and batch.vectors.shape == (300, 50, 4)
    assert len(batch.label) == 300 and batch.label.unique().numel() > 1
    lengths = batch.mask.sum(1)
    assert 0 < lengths.min() < lengths.max() < 50
    assert not batch.mask[:, lengths.max() :].any()
