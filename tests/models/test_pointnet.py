"""PointNet of the SAL-T repository."""

import torch
from torch.nn import functional

from jetloom.models import build
from tests.models.jets import permuted, random_jets, random_points


def test_parameters():
    """5,893 is printed for 3 features and 5 classes: weights and the running statistics of the normalisations."""
    model = build("pointnet", n_features=3, n_classes=5)
    trainable = sum(parameter.numel() for parameter in model.parameters())
    statistics = sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
    assert (trainable, trainable + statistics) == (5573, 5893)
    wide = build("pointnet", n_features=3, n_classes=5, base_width=21)
    assert [layer.out_features for layer in wide.point_layers] == [21, 42, 84]


@torch.no_grad()
def test_forward():
    torch.manual_seed(0)
    model = build("pointnet", n_features=3, n_classes=4).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(std=0.1)
            module.weight.uniform_(-1, 1)
    clouds = random_points(3, 20)
    for cloud, logits in zip(clouds.features, model(clouds), strict=True):
        x = cloud
        for layer, norm in zip(model.point_layers, model.point_norms, strict=True):
            x = functional.relu(
                functional.batch_norm(layer(x), norm.running_mean, norm.running_var, norm.weight, norm.bias)
            )
        x = x.max(0).values[None]
        for layer, norm in ((model.head[0], model.head[1]), (model.head[3], model.head[4])):
            x = functional.relu(
                functional.batch_norm(layer(x), norm.running_mean, norm.running_var, norm.weight, norm.bias)
            )
        torch.testing.assert_close(model.head[-1](x)[0], logits)


@torch.no_grad()
def test_permutation_and_repetition():
    """A maximum sees neither the order of the points nor how often each comes."""
    model = build("pointnet", n_features=3, n_classes=4).eval()
    clouds = random_points(3, 20)
    torch.testing.assert_close(model(permuted(clouds)), model(clouds))
    twice = type(clouds)(*(x if x is None or x.dim() < 2 else torch.cat([x, x], 1) for x in clouds))
    torch.testing.assert_close(model(twice), model(clouds))


def test_statistics_come_from_real_particles():
    torch.manual_seed(0)
    model = build("pointnet", n_features=17, n_classes=4).train()
    batch = random_jets(8, 24)
    model(batch)
    rows = model.point_layers[0](batch.features[batch.mask])
    torch.testing.assert_close(model.point_norms[0].running_mean, 0.1 * rows.mean(0).detach())
