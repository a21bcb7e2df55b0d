"""Networks under autocast to bfloat16: copies of their weights, and masters that learn."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from jetloom.models import build, fast
from jetloom.models.fast import masters
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.rms_norm import RMSNorm
from tests.models.rows import make, sample

ROUNDING = 2.0**-8
"""Of bfloat16: half of the distance of two numbers, over the smaller one."""


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def short(network, batch):
    with torch.autocast("cpu", torch.bfloat16):
        return network(batch)


def test_copies_are_rounded_and_gradients_come_to_the_masters_that_learn() -> None:
    learns, idle, frozen = (nn.Parameter(drawn(*shape), learns) for shape, learns in (
        ((3, 5), True), ((7,), True), ((2, 2), False),
    ))  # fmt: skip
    together = masters.copies([learns, idle, frozen])
    with fast.off():
        one_by_one = masters.copies([learns, idle, frozen])
    assert all(torch.equal(mine, plain) for mine, plain in zip(together, one_by_one, strict=True))
    assert [mine.requires_grad for mine in together] == [plain.requires_grad for plain in one_by_one]
    factor = drawn(3, 5)
    ((together[0] * factor.bfloat16()).sum() + together[2].sum()).backward()
    assert learns.grad is not None and learns.grad.dtype == torch.float32
    assert torch.equal(learns.grad, factor.bfloat16().float())
    assert idle.grad is None and frozen.grad is None


def test_a_master_takes_steps_that_its_copy_does_not_see() -> None:
    """Five hundred steps of 1e-4 from 1, of which no one moves a number of 16 bit."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-4)
    for _ in range(500):
        optimiser.zero_grad()
        masters.run(network, lambda x: network(x).sum(), torch.ones(1, 1, dtype=torch.bfloat16)).backward()
        optimiser.step()
    assert torch.tensor(1.0 - 1e-4).bfloat16() == 1.0
    assert network.weight.item() == pytest.approx(0.95, rel=1e-5)


@pytest.mark.parametrize("kind", [LayerNorm, RMSNorm])
def test_norms_of_short_weights_are_short_and_their_statistics_are_not(kind) -> None:
    norm, x = kind(64, eps=1e-5), (100 + drawn(32, 64)).bfloat16()
    with torch.no_grad():
        norm.weight.copy_((1 + 0.1 * drawn(64)).bfloat16())
    exact = copy.deepcopy(norm).double()(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        answer = masters.run(norm, norm, x)
    assert answer.dtype == torch.bfloat16
    assert ((answer.double() - exact).abs() <= 1.01 * ROUNDING * exact.abs() + 1e-5).all()


INPUTS = ["embed.embed.0"]
READERS = {"part": INPUTS, "part_v3": INPUTS, "parmat": INPUTS, "transformer": INPUTS, "perceiver": INPUTS,
           "mipart": INPUTS, "jetclr": ["embed", "head"]}  # fmt: skip
"""Layers that get the inputs; the head of JetCLR gets a sum, which autocast computes in float32."""


@pytest.mark.parametrize(("name", "others"), READERS.items())
def test_the_stream_between_layers_is_short(name, others) -> None:
    """Linear layers and norms get 16 bit and give 16 bit, all but those that get something else."""
    network, wide = make(name, "jets").train(), []

    def note(module: nn.Module, given, answer) -> None:
        if answer.dtype != torch.bfloat16 or given[0].dtype != torch.bfloat16:
            wide.append(names[module])

    names = {module: name for name, module in network.named_modules()}
    for module in names:
        if isinstance(module, nn.Linear | LayerNorm | RMSNorm):
            module.register_forward_hook(note)
    short(network, sample("jets"))
    assert wide == others


def test_parameters_stand_in_their_places_again() -> None:
    network, batch = make("transformer", "jets"), sample("jets")
    before = dict(network.named_parameters())
    short(network, batch).sum().backward()
    with pytest.raises(AttributeError), torch.autocast("cpu", torch.bfloat16):
        network.run(lambda batch: batch.nothing, batch)
    after = dict(network.named_parameters())
    assert before.keys() == after.keys() and all(after[name] is before[name] for name in before)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in after.values())


def test_entries_of_a_codebook_that_a_network_replaces_stay_replaced() -> None:
    network = make("vqvae", "jets").train()
    book = network.get_submodule("codebook")
    book.idle.zero_()
    before = book.centres.detach().clone()
    short(network, sample("jets", 16))
    assert book.centres.dtype == torch.float32
    assert (book.centres != before).all()


def test_running_statistics_are_updated_in_single_precision() -> None:
    mixed, single = (make("part", "jets").train() for _ in range(2))
    batch = sample("jets", 16, seed=9)
    before = mixed.embed.input_bn.running_mean.clone()
    short(mixed, batch)
    single(batch)
    assert not torch.equal(mixed.embed.input_bn.running_mean, before)
    for name, value in mixed.named_buffers():
        # What is normalised comes from layers in 16 bit.
        torch.testing.assert_close(value, single.get_buffer(name), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", ["part", "salt", "transformer"])
@pytest.mark.slow
def test_a_compiled_step_learns_the_same(name) -> None:
    torch._dynamo.reset()
    torch.manual_seed(1)
    network, batch = build(name, n_features=17, n_classes=10, max_particles=32, preset="tiny").train(), sample("jets")
    for module in network.modules():
        for attribute in ("dropout", "rate", "drop_path", "p"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.0)
    gradients = []
    for way in (lambda step: step, lambda step: torch.compile(step, backend="aot_eager", fullgraph=True)):
        own = copy.deepcopy(network)
        step = way(lambda network, batch: functional.cross_entropy(network(batch).float(), batch.labels))
        with torch.autocast("cpu", torch.bfloat16):
            loss = step(own, batch._replace(length=None))
        loss.backward()
        assert all(isinstance(p, nn.Parameter) for p in own.parameters())
        gradients.append(torch.cat([p.grad.flatten() for p in own.parameters()]))
    eager, compiled = gradients
    assert (compiled - eager).norm() < 0.1 * eager.norm()
