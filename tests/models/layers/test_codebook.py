"""The codebook against its formulas, and codes that nothing uses."""

import copy
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from jetloom.models.layers.codebook import Codebook


def made(codes: int = 40, rate: float = 2.0, sync: float = 1.0, patience: int = 10, seed: int = 0) -> Codebook:
    """With scale and shift that are not zero."""
    torch.manual_seed(seed)
    codebook = Codebook(codes, 4, rate, sync, patience)
    with torch.no_grad():
        codebook.scale.copy_(torch.tensor([[0.1, -0.2, 0.3, 0.05]]))
        codebook.bias.copy_(torch.tensor([[0.4, -0.1, 0.0, 0.2]]))
    return codebook


def vectors(number: int = 300, seed: int = 1) -> Tensor:
    return torch.randn(number, 4, generator=torch.Generator().manual_seed(seed))


def entries(codebook: Codebook) -> np.ndarray:
    """c' = (1 + lambda s) c + lambda b in double precision."""
    centres, scale, bias = (
        part.detach().double().numpy() for part in (codebook.centres, codebook.scale, codebook.bias)
    )
    return (1 + codebook.affine_rate * scale) * centres + codebook.affine_rate * bias


def brute(codebook: Codebook, some: Tensor) -> np.ndarray:
    """(n, K) distances."""
    return np.linalg.norm(some.detach().double().numpy()[:, None] - entries(codebook)[None], axis=2)


@pytest.mark.parametrize(("rate", "sync"), [(2.0, 1.0), (0.0, 0.0), (0.7, 2.0), (2.0, 0.3)])
def test_values_and_gradients_are_those_of_the_formulas(rate: float, sync: float) -> None:
    codebook, z = made(rate=rate, sync=sync).eval(), vectors().requires_grad_()
    code, through, chosen = codebook(z, torch.ones(len(z)) > 0)
    distance = brute(codebook, z)
    rows = np.arange(len(z))
    assert (distance[rows, code.numpy()] <= distance.min(1) + 1e-5).all()
    assert (code.numpy() == distance.argmin(1)).mean() > 0.99
    np.testing.assert_allclose(through.detach().numpy(), entries(codebook)[code.numpy()], atol=1e-6)
    assert torch.equal(through, codebook.entries(code)) and torch.equal(chosen, codebook.entries(code))
    torch.testing.assert_close(codebook.all[code], chosen)
    upstream = torch.randn(len(z), 4, generator=torch.Generator().manual_seed(2))
    (through * upstream).sum().backward()
    g, taken = upstream.double().numpy(), code.numpy()
    scale, centres = codebook.scale.detach().double().numpy(), codebook.centres.detach().double().numpy()
    of_centres = np.zeros_like(centres)
    for row, place in enumerate(taken):
        of_centres[place] += sync * (1 + rate * scale[0]) * g[row]
    assert torch.equal(z.grad, upstream)
    expected = {
        "centres": of_centres,
        "scale": rate * sync * (g * centres[taken]).sum(0, keepdims=True),
        "bias": rate * sync * g.sum(0, keepdims=True),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(codebook, name).grad.numpy(), value, atol=1e-4, err_msg=name)


def test_the_entries_alone_have_the_whole_gradient_and_the_vectors_none() -> None:
    codebook, z = made(sync=0.3).eval(), vectors().requires_grad_()
    code, _, chosen = codebook(z, torch.ones(len(z)) > 0)
    chosen.sum().backward()
    assert z.grad is None
    count = torch.bincount(code, minlength=40)[:, None]
    torch.testing.assert_close(codebook.centres.grad, count * (1 + 2 * codebook.scale.detach()))
    assert codebook.bias.grad.tolist() == [[600.0] * 4]


def test_the_start_is_at_clusters_through_the_affine_map() -> None:
    codebook = made(8)
    middles = torch.randn(8, 4, generator=torch.Generator().manual_seed(3)) * 5
    codebook.start(middles[torch.arange(400) % 8] + 0.01 * vectors(400))
    distance = torch.cdist(codebook.all.detach(), middles)
    assert distance.amin(0).max() < 0.01 and distance.amin(1).max() < 0.01
    assert not codebook.scale.grad and codebook.scale.abs().sum() > 0


def test_counters_fall_by_one_and_rise_again_with_use() -> None:
    codebook, some = made(patience=5), vectors(20)
    expected = torch.full((40,), 5)
    for step in range(4):
        code, _, _ = codebook(some[: 20 - 5 * step], torch.ones(20 - 5 * step) > 0)
        expected -= 1
        expected[code] = 5
        assert torch.equal(codebook.idle, expected)


@pytest.mark.parametrize("patience", [1, 3])
def test_a_code_that_nothing_uses_comes_back_where_vectors_are(patience: int) -> None:
    codebook = made(patience=patience)
    far = torch.tensor([3, 7, 31])
    with torch.no_grad():
        codebook.centres[far] += 1e4
    for step in range(patience + 1):
        z = vectors(200, seed=10 + step)
        before, idle = codebook.centres.detach().clone(), codebook.idle.clone()
        code, _, _ = codebook(z, torch.ones(len(z)) > 0)
        moved = (codebook.centres != before).any(1)
        # Those that have been used a moment ago are never replaced.
        assert torch.equal(moved, idle == 0)
        if step < patience:
            assert not moved[far].any() and not torch.isin(code, far).any()
    assert moved[far].all()
    landed = torch.from_numpy(entries(codebook))[far]
    distance = torch.cdist(landed, z.double())
    nearest = z.double()[distance.argmin(1)]
    assert (distance.amin(1) <= 0.05 * nearest.norm(dim=1)).all()
    assert codebook.idle[far].tolist() == [patience] * 3 if patience > 1 else True
    assert torch.isin(far, code).all()


def test_evaluation_replaces_nothing_and_counts_nothing() -> None:
    codebook = made(patience=1).eval()
    codebook.idle.zero_()
    before = copy.deepcopy(codebook.state_dict())
    codebook(vectors(), torch.ones(len(vectors())) > 0)
    assert all(torch.equal(value, before[name]) for name, value in codebook.state_dict().items())


def test_a_batch_without_vectors_changes_no_entry() -> None:
    codebook = made(patience=2)
    before = codebook.centres.detach().clone()
    for _ in range(4):
        code, through, chosen = codebook(vectors(0), torch.ones(0) > 0)
    assert code.shape == (0,) and through.shape == chosen.shape == (0, 4)
    assert torch.equal(codebook.centres, before)
    codebook(vectors(), torch.ones(len(vectors())) > 0)
    assert (codebook.centres != before).any(1).all()


STEPS, WITHOUT = 14, {6: 1, 7: 1, 8: 1, 10: 0, 11: 0, 12: 0}
"""Steps of the training below, and the rank that has no vectors in some of them."""


def trained(rank: int, of: int, home: Path) -> None:
    """Some steps of gradient descent, of which a process takes its part of each batch."""
    torch.set_num_threads(1)
    if of > 1:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        distributed.init_process_group("gloo", f"file://{home}/meet", WAIT, of, rank)
    for patience in PATIENCE:
        codebook = made(patience=patience)
        torch.manual_seed(100 + rank)
        optimiser = torch.optim.SGD(codebook.parameters(), 0.05)
        for step in range(STEPS):
            z = vectors(60, seed=50 + step) * (1 + step / 10)
            if of > 1:
                z = torch.split(z, {0: [0, 60], 1: [60, 0], None: [30, 30]}[WITHOUT.get(step)])[rank]
            _, _, chosen = codebook(z, torch.ones(len(z)) > 0)
            optimiser.zero_grad()
            ((chosen - z).square().sum() / 60).backward()
            if of > 1:
                for parameter in codebook.parameters():
                    distributed.all_reduce(parameter.grad)
            optimiser.step()
        torch.save(codebook.state_dict(), home / f"{patience}-{rank}-of-{of}.pt")
    if of > 1:
        distributed.destroy_process_group()


PATIENCE, WAIT = (3, 100), timedelta(seconds=60)


@pytest.mark.slow
def test_two_processes_have_the_codebook_of_one(tmp_path: Path) -> None:
    multiprocessing.spawn(trained, (2, tmp_path), nprocs=2)
    trained(0, 1, tmp_path)
    for patience in PATIENCE:
        one, *two = (torch.load(tmp_path / f"{patience}-{name}.pt") for name in ("0-of-1", "0-of-2", "1-of-2"))
        for name, value in two[0].items():
            assert torch.equal(value, two[1][name]), name
            if patience > STEPS:
                # Nothing was replaced; what replaces an entry is drawn at random.
                torch.testing.assert_close(value, one[name], msg=name)
        assert patience - STEPS <= one["idle"].min() < patience
