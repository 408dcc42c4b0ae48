"""Batch norms folded into convolutions."""

import copy

import torch
from torch import nn

from camss_ros.model.fold import fold_batch_norms
from camss_ros.model.schedule import SamplingOptions


def test_a_folded_network_computes_the_same_without_batch_norms(tiny_model):
    model = copy.deepcopy(tiny_model)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, low in (("running_mean", -1.0), ("running_var", 0.5), ("weight", 0.5)):
                value = getattr(module, name)
                value.copy_(low + torch.rand(value.shape, generator=generator))
            module.bias.copy_(torch.randn(module.bias.shape, generator=generator))
    image = torch.randint(0, 256, (1, 3, 32, 48), generator=generator)
    options = SamplingOptions(steps=2)
    expected = model.generate(image, model.plan(options))
    fold_batch_norms(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    folded = model.generate(image, model.plan(options))
    torch.testing.assert_close(folded, expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(expected, tiny_model.generate(image, tiny_model.plan(options)))


def test_a_norm_that_does_not_follow_a_convolution_stays():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    assert isinstance(fold_batch_norms(network)[2], nn.BatchNorm2d)
