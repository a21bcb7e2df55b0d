"""PFN and P-CNN: published sizes, and what each computes, step by step."""

import pytest
import torch
from torch.nn.functional import batch_norm, conv1d, linear

from jetloom.errors import JetloomError
from jetloom.models import build
from tests.models.jets import permuted, random_jets, resized, tower_jets


@pytest.mark.parametrize(("name", "number"), [("pfn", 86_154), ("pcnn", 354_540)])
def test_parameters(name, number):
    model = build(name, n_features=17, n_classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == number


@torch.no_grad()
@pytest.mark.parametrize("jets", [random_jets, tower_jets])
def test_pfn_is_a_sum_over_particles(jets):
    """Jet by jet, particle by particle."""
    model, batch = build("pfn", n_features=17, n_classes=10), jets(3, 12, n_features=17)
    for jet in range(3):
        total = torch.zeros(128)
        for x in batch.features[jet, batch.mask[jet]]:
            for layer in model.phi[::2]:
                x = linear(x, layer.weight, layer.bias).relu()
            total += x
        for layer in model.head[:-1:2]:
            total = linear(total, layer.weight, layer.bias).relu()
        torch.testing.assert_close(model(batch)[jet], model.head[-1](total), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(permuted(batch)), model(batch), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("jets", [random_jets, tower_jets])
def test_pcnn_step_by_step(jets):
    """Convolutions over 128 slots, halved twice; the identity is added after the second ReLU; mean over 32."""
    model, batch = build("pcnn", n_features=17, n_classes=10), resized(jets(16, 41, n_features=17), 128)
    for _ in range(2):
        model.train()(batch)
    model.eval()

    def normal(x, norm):
        return batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    first_norm, convolution, second_norm, _ = model.stem
    x = normal((batch.features * batch.mask[..., None]).transpose(1, 2), first_norm)
    x = normal(conv1d(x, convolution.weight, convolution.bias, padding=1), second_norm).relu()
    lengths = []
    for number, unit in enumerate(model.units):
        stride = 2 if number in (2, 4) else 1
        one, one_norm, _, two, two_norm, _ = unit.body
        y = normal(conv1d(x, one.weight, one.bias, stride=stride, padding=1), one_norm).relu()
        y = normal(conv1d(y, two.weight, two.bias, padding=1), two_norm).relu()
        x = y + (x if x.shape == y.shape else conv1d(x, unit.shortcut.weight, stride=stride))
        lengths.append(x.shape[-1])
    assert lengths == [128, 128, 64, 64, 32, 32]
    first, _, _, last = model.head
    x = linear(linear(x.sum(2) / 32, first.weight, first.bias).relu(), last.weight, last.bias)
    torch.testing.assert_close(model(batch), x, rtol=1e-5, atol=1e-5)


def test_pcnn_refuses_longer_jets():
    model = build("pcnn", n_features=17, n_classes=10, max_particles=16)
    assert model(resized(random_jets(2, 16), 24)).shape == (2, 10)
    with pytest.raises(JetloomError, match="max_particles = 16"):
        model(random_jets(2, 24))
