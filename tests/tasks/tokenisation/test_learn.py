"""Tokenisation: its loss by hand, what learns, and that all particles weigh alike."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from jetloom.batch import Batch
from jetloom.config import Evaluation
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.layers.kmeans import improved, nearest, spread_out
from jetloom.models.tokenizer import Particles, Reconstruction, Tokenizer, particles_of
from jetloom.substructure import observables
from jetloom.tasks.task import Data, Question, Seen
from jetloom.tasks.tokenisation.learn import Tokenisation
from jetloom.tasks.tokenisation.measure import merit
from tests.models.jets import joined, random_jets, resized, tower_jets, with_padding

DATA = Data(["a", "b"], [], max_particles=24)
CPU = torch.device("cpu")
SMALL = {"codes": 60, "width": 16, "blocks": 2, "heads": 4, "dropout": 0.0}


def short_and_long() -> tuple[Batch, Batch]:
    """Six jets of up to 6 particles, ten of 16 to 24."""
    short = resized(random_jets(6, 6, seed=1, shortest=2), 24)
    return short, random_jets(10, 24, seed=2, shortest=16)


def trained(name: str = "vqvae", task: Tokenisation | None = None, **changes: object) -> Tokenizer:
    """Attached and started, with weights that are not the first ones."""
    torch.manual_seed(7)
    network = build(name, n_features=17, n_classes=2, **((SMALL if name == "vqvae" else {"codes": 60}) | changes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    task = task or Tokenisation(DATA)
    task.attach(network)
    task.fit(network, lambda: None, lambda: iter(short_and_long()))
    return network


def step(task: Tokenisation, network: Tokenizer, batch: Batch) -> tuple[float, dict[str, Tensor], dict[str, float]]:
    """Loss, gradients, and row."""
    network.zero_grad()
    sums = task.sums(CPU)
    loss = task.step(network, batch, sums)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in network.named_parameters()}, task.row(sums)


class Three(Tokenizer):
    """Says what it is told of three vectors: two in a jet, one in another."""

    def __init__(self) -> None:
        super().__init__(2, 2, 5)
        generator = torch.Generator().manual_seed(3)
        self.values = torch.nn.Parameter(torch.randn(2, 2, 3, generator=generator))
        self.latent = torch.nn.Parameter(torch.randn(3, 2, generator=generator))
        self.chosen = torch.nn.Parameter(torch.randn(3, 2, generator=generator))
        self.given = torch.randn(2, 2, 3, generator=generator)

    def reconstruct(self, batch: Batch) -> Reconstruction:
        kept = torch.tensor([[True, True], [True, False]])
        code = torch.tensor([[4, 2], [4, 0]])
        latent, chosen = (torch.zeros(2, 2, 2).masked_scatter(kept[..., None], x) for x in (self.latent, self.chosen))
        return Reconstruction(Particles(self.given, kept), code, self.values, latent, latent, chosen)


@pytest.mark.parametrize(("alpha", "beta"), [(10.0, 0.9), (10.0, 0.1), (0.5, 1.0), (0.0, 0.5)])
def test_the_loss_by_hand(alpha: float, beta: float) -> None:
    task, network = Tokenisation(DATA, alpha=alpha, beta=beta), Three()
    task.attach(network)
    # Four real particles, of which three are kept: two in a jet.
    mask = torch.ones(2, 2, dtype=torch.bool)
    batch = Batch(torch.zeros(2, 2, 1), None, torch.zeros(2, 2, 2), mask)
    network.begin = lambda jets: None  # type: ignore[method-assign,assignment]
    task.fit(network, lambda: None, lambda: [batch])
    sums = task.sums(CPU)
    loss = task.step(network, batch, sums)
    loss.backward()
    x, found, z, c = (
        part.detach().double().numpy() for part in (network.given, network.values, network.latent, network.chosen)
    )
    rows = [(0, 0), (0, 1), (1, 0)]
    squares = sum(sum((x[row][i] - found[row][i]) ** 2 for i in range(3)) / 3 for row in rows)
    apart = sum(sum((z[row][i] - c[row][i]) ** 2 for i in range(2)) / 2 for row in range(3))
    # Both terms have one value; sg tells their gradients apart.
    assert loss.item() == pytest.approx((squares + alpha * apart) / (2 * 2), rel=1e-5)
    pull = alpha * 2 * (z - c) / 2 / 4
    np.testing.assert_allclose(network.latent.grad.numpy(), (1 - beta) * pull, atol=1e-6)
    np.testing.assert_allclose(network.chosen.grad.numpy(), -beta * pull, atol=1e-6)
    assert np.abs(pull).max() > 0.01 or not alpha
    of_values = np.where(np.array([[1, 1], [1, 0]])[..., None], 2 * (found - x) / 3 / 4, 0)
    np.testing.assert_allclose(network.values.grad.numpy(), of_values, atol=1e-6)
    row = task.row(sums)
    shares = np.array([2 / 3, 1 / 3])
    assert row == pytest.approx(
        {
            "loss": loss.item(),
            "mse": squares / 3,
            "perplexity": math.exp(-(shares * np.log(shares)).sum()),
            "used": 2 / 5,
            "dropped": 1 / 4,
        },
        rel=1e-5,
    )
    assert sums["codes"].tolist() == [0, 0, 1, 0, 2]


def test_the_loss_of_particles_alone() -> None:
    task = Tokenisation(DATA)
    network, (batch, other) = trained("kmeans", task), short_and_long()
    loss, gradients, row = step(task, network, other)
    points = particles_of(other)
    number = [int(part.mask.sum()) for part in (batch, other)]
    squares = torch.cdist(points.values[points.kept].double(), network.centres.double()).amin(1).square().sum() / 3
    assert loss == pytest.approx(squares.item() / 10 / (sum(number) / 16), rel=1e-5)
    assert row["mse"] == pytest.approx(squares.item() / int(points.kept.sum()), rel=1e-5)
    assert row["dropped"] == pytest.approx(1 - points.kept.sum().item() / number[1])
    assert list(gradients) == ["centres"]


def test_the_sums_of_a_pass_are_those_of_its_batches() -> None:
    task, (short, long) = Tokenisation(DATA), short_and_long()
    network = trained(task=task).eval()
    sums = task.sums(CPU)
    for batch in (short, long):
        task.validate(network, batch, sums)
    _, _, row = step(task, network, joined([short, long]))
    assert task.row(sums) == pytest.approx(row, rel=1e-5)
    counts = torch.bincount(
        torch.cat([(found := network.reconstruct(batch)).code[found.given.kept] for batch in (short, long)]),
        minlength=60,
    )
    assert torch.equal(sums["codes"].long(), counts)
    assert row["used"] == pytest.approx((counts > 0).float().mean().item())


@pytest.mark.parametrize("name", ["vqvae", "kmeans"])
def test_all_particles_weigh_alike_whatever_batch_they_are_in(name: str) -> None:
    task, (short, long) = Tokenisation(DATA), short_and_long()
    network = trained(name, task).eval()
    of_both, of_short, of_long = (step(task, network, batch) for batch in (joined([short, long]), short, long))
    assert of_both[0] == pytest.approx((6 * of_short[0] + 10 * of_long[0]) / 16, rel=1e-5)
    for part, gradient in of_both[1].items():
        mean = (6 * of_short[1][part] + 10 * of_long[1][part]) / 16
        torch.testing.assert_close(gradient, mean, atol=1e-5 * mean.abs().max().item() + 1e-7, rtol=1e-4, msg=part)
    # A mean over the particles of a batch does not.
    mse = [found[2]["mse"] for found in (of_both, of_short, of_long)]
    assert abs((6 * mse[1] + 10 * mse[2]) / 16 - mse[0]) > 0.01 * mse[0]


@pytest.mark.parametrize("name", ["vqvae", "kmeans"])
def test_padding_counts_nowhere(name: str) -> None:
    task = Tokenisation(DATA)
    network, batch = trained(name, task).eval(), random_jets(12, 24, seed=4)
    expected = step(task, network, batch)
    found = step(task, network, with_padding(resized(batch, 48), float("nan")))
    assert found[0] == pytest.approx(expected[0], rel=1e-5) and found[2] == pytest.approx(expected[2], rel=1e-5)
    for part, gradient in expected[1].items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found[1][part], gradient, atol=1e-5 * scale + 1e-7, rtol=1e-4, msg=part)


@pytest.mark.parametrize("name", ["vqvae", "kmeans"])
def test_all_parameters_learn(name: str) -> None:
    task = Tokenisation(DATA)
    network = trained(name, task, **({"dropout": 0.1} if name == "vqvae" else {})).train()
    _, gradients, _ = step(task, network, with_padding(random_jets(12, 24, seed=4), float("nan")))
    for part, gradient in gradients.items():
        assert gradient.isfinite().all() and gradient.abs().max() > 1e-7, part


def test_one_step_is_the_codebooks_own() -> None:
    task = Tokenisation(DATA)
    network, batch = trained(task=task, patience=5), random_jets(12, 24, seed=4)
    for learns in (network.train(), network.eval()):
        before = network.codebook.idle.clone()
        task.validate(learns.eval(), batch, task.sums(CPU))
        assert torch.equal(network.codebook.idle, before)
    task.step(network.train(), batch, task.sums(CPU))
    assert network.codebook.idle.min() == 4


@pytest.mark.slow
def test_the_vqvae_learns() -> None:
    task = Tokenisation(DATA)
    network, batches = trained(task=task, codes=30), [random_jets(32, 24, seed=seed) for seed in range(8)]
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    rows = []
    for number in range(240):
        optimiser.zero_grad()
        sums = task.sums(CPU)
        task.step(network.train(), batches[number % 8], sums).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        rows.append(task.row(sums))
    spread = particles_of(joined(batches))
    variance = spread.values[spread.kept].var(0).mean().item()
    assert np.mean([row["mse"] for row in rows[-8:]]) < 0.4 * variance
    assert np.mean([row["perplexity"] for row in rows[-8:]]) > 12


def sample() -> tuple[list[Batch], Tensor]:
    batches = [random_jets(40, 24, seed=seed) for seed in range(5)]
    given = particles_of(joined(batches))
    return batches, given.values[given.kept]


def error(points: Tensor, centres: Tensor) -> float:
    """Sum of the squared distances to the nearest centre."""
    return torch.cdist(points.double(), centres.detach().double()).amin(1).square().sum().item()


def test_lloyds_steps_never_make_it_worse() -> None:
    _, points = sample()
    centres = spread_out(points, 60, seed=1)
    # One that starts without a point.
    centres[5] = 100.0
    errors = [error(points, improved(points, centres, steps)) for steps in range(20)]
    assert all(two <= one * (1 + 1e-6) for one, two in pairwise(errors))
    assert errors[-1] < 0.9 * errors[0]


def test_training_k_means_is_k_means() -> None:
    """Gradient steps go on from where the start ended, and take a bad start there."""
    task, (batches, points) = Tokenisation(DATA), sample()
    for spoilt in (False, True):
        network = trained("kmeans", task)
        task.fit(network, lambda: None, lambda: iter(batches))
        started = error(points, network.centres)
        if spoilt:
            with torch.no_grad():
                network.centres += 0.5 * torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
        before = error(points, network.centres)
        optimiser = torch.optim.SGD(network.parameters(), 20.0)
        errors = [before]
        for _ in range(20):
            optimiser.zero_grad()
            task.step(network, joined(batches), task.sums(CPU)).backward()
            optimiser.step()
            errors.append(error(points, network.centres))
        assert all(two <= one * (1 + 1e-6) for one, two in pairwise(errors))
        assert errors[-1] < 0.8 * before if spoilt else errors[-1] == pytest.approx(started, rel=0.02)


def test_the_recipe_of_k_means_does_not_make_it_worse() -> None:
    """AdamW and a falling rate, batch by batch, as its small preset has them."""
    task, (batches, points) = Tokenisation(DATA), sample()
    network = trained("kmeans", task)
    task.fit(network, lambda: None, lambda: iter(batches))
    before = error(points, network.centres)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.0)
    for number in range(50):
        optimiser.param_groups[0]["lr"] = 2e-3 * (1 + math.cos(math.pi * number / 50)) / 2
        optimiser.zero_grad()
        task.step(network, batches[number % 5], task.sums(CPU)).backward()
        optimiser.step()
    assert error(points, network.centres) < 1.01 * before


def seen(task: Tokenisation, network: Tokenizer, evaluated: list[Batch], train: list[Batch]) -> Seen:
    with torch.inference_mode():
        values = torch.cat([task.answer(network, batch) for batch in evaluated]).numpy()

    def over(split, function):  # type: ignore[no-untyped-def]
        for batch in {"train": train, "evaluated": evaluated}[split]:
            yield tuple(part.numpy() for part in function(network, batch))

    nothing = np.zeros((len(values), 0), np.float32)
    return Seen(values, nothing, np.zeros(len(values), np.int16), None, None, over)


def whole(batch: Batch) -> Batch:
    """The jets of which no particle is dropped."""
    jets = (particles_of(batch).kept == batch.mask).all(1)
    return batch.map(lambda part: part[jets])


def perfect(batches: list[Batch]) -> tuple[Tokenisation, Tokenizer]:
    """k-means whose centres are the particles themselves."""
    given = particles_of(joined(batches))
    points = given.values[given.kept].unique(dim=0)
    task, network = Tokenisation(DATA), build("kmeans", n_features=7, n_classes=2, codes=len(points))
    task.attach(network)
    with torch.no_grad():
        network.centres.copy_(points)
    return task, network.eval()


ASKED = Question(Evaluation(bootstrap=100), None, {}, 1)


def test_codes_that_hold_the_particles_themselves_lose_nothing() -> None:
    evaluated = [whole(tower_jets(60, 24, seed=seed)) for seed in range(3)]
    task, network = perfect(evaluated)
    told = merit(task, seen(task, network, evaluated, [tower_jets(300, 24, seed=9)]), ASKED)
    values = told["values"]
    jets = joined(evaluated)
    assert told["jets"] == len(jets.mask) > 60
    assert values["mse"]["value"] == pytest.approx(0, abs=1e-6)
    assert values["dropped"]["value"] == 0
    for name, tolerance in {"mass": 0.02, "pt": 1e-5, "multiplicity": 0, "tau21": 1e-3, "d2": 0.01}.items():
        assert abs(values[f"{name}_bias"]["value"]) <= tolerance, name
        assert abs(values[f"{name}_resolution"]["value"]) <= tolerance, name
    for name in ("mass", "pt"):
        assert values[f"{name}_w1"]["value"] < 0.01 * values[f"{name}_w1_floor"]["value"]
    assert sum(told["codes"]) == int(jets.mask.sum()) and told["codes"] == sorted(told["codes"], reverse=True)
    assert len(told["codes"]) == network.codes
    # Places that are shared to the last bits of a rounding may have one code.
    assert values["used"]["value"] > 0.9
    assert 0.8 * network.codes < values["perplexity"]["value"] <= network.codes


def test_figures_of_merit_of_a_coarse_tokenizer() -> None:
    evaluated, train = [random_jets(60, 24, seed=seed) for seed in range(3)], [random_jets(300, 24, seed=9)]
    task = Tokenisation(DATA)
    network = trained("kmeans", task).eval()
    task.fit(network, lambda: None, lambda: iter(train))
    told = merit(task, seen(task, network, evaluated, train), ASKED)
    jets = joined(evaluated)
    given = particles_of(jets)
    points = given.values[given.kept]
    values = {name: item["value"] for name, item in told["values"].items()}
    assert all(map(math.isfinite, values.values()))
    for item in told["values"].values():
        assert item["low"] <= item["value"] <= item["high"]
    assert values["mse"] == pytest.approx(error(points, network.centres) / 3 / len(points), rel=1e-4)
    code = nearest(points, network.centres.detach())
    share = np.bincount(code.numpy(), minlength=60) / len(code)
    assert values["perplexity"] == pytest.approx(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()), rel=1e-6)
    assert values["used"] == np.mean(share > 0)
    assert told["codes"] == sorted(np.bincount(code.numpy(), minlength=60).tolist(), reverse=True)
    # Observables of what comes out, against those of what went in.
    with torch.no_grad():
        columns = dict(zip(task.columns, task.answer(network, jets).double().numpy().T, strict=True))
    true = observables(jets.vectors.double().numpy(), jets.mask.numpy())
    for name, column in true.items():
        np.testing.assert_allclose(columns[f"true_{name}"], column, rtol=1e-5)
    for name in true:
        one, other = columns[f"decoded_{name}"], columns[f"true_{name}"]
        residual = one / other - 1 if name == "pt" else one - other
        ends = np.quantile(residual[np.isfinite(residual)], [0.16, 0.5, 0.84], method="inverted_cdf")
        assert values[f"{name}_bias"] == pytest.approx(ends[1], rel=1e-6, abs=1e-12)
        assert values[f"{name}_resolution"] == pytest.approx((ends[2] - ends[0]) / 2, rel=1e-6)
    assert values["mass_w1"] == pytest.approx(
        np.abs(np.sort(columns["decoded_mass"]) - np.sort(columns["true_mass"])).mean(), rel=1e-6
    )
    np.testing.assert_array_equal(columns["decoded_multiplicity"], columns["kept"])
    np.testing.assert_array_equal(columns["true_multiplicity"], columns["particles"])
    assert columns["kept"].sum() == len(points)


def test_data_and_networks_that_do_not_serve() -> None:
    with pytest.raises(
        JetloomError, match=r"^task\.tokenisation: codes are of particles of jets; the data are points$"
    ):
        Tokenisation(DATA._replace(kind="points"))
    for alpha, beta in ((-1, 0.5), (1, -0.1), (1, 1.1)):
        with pytest.raises(JetloomError, match=r"^task\.tokenisation: expected alpha >= 0 and beta in \[0, 1\], got "):
            Tokenisation(DATA, alpha=alpha, beta=beta)
    with pytest.raises(
        JetloomError, match=r"^task tokenisation: the network is no tokenizer; expected kmeans or vqvae$"
    ):
        Tokenisation(DATA).attach(build("pfn", preset="tiny", n_features=7, n_classes=2))
