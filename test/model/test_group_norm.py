"""Group norm from the statistics of channels is group norm."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from camss_ros.model.group_norm import (
    GroupNorm,
    bfloat16_group_norm,
    group_norm_by_channels,
    replace_group_norms,
)
from camss_ros.model.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig


@pytest.mark.parametrize(
    ("norm", "dtype", "tolerance"),
    [
        (group_norm_by_channels, torch.float32, 1e-4),
        (group_norm_by_channels, torch.bfloat16, 0.05),
        (bfloat16_group_norm, torch.bfloat16, 0.05),
    ],
)
@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_it_is_group_norm_also_far_from_zero(norm, dtype, tolerance, mean):
    generator = torch.Generator().manual_seed(0)
    scales = 1 + torch.arange(16.0)[:, None, None]  # channels of a group differ
    images = mean + scales * torch.randn(2, 16, 12, 10, generator=generator)
    images = images.to(dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(2, 16, generator=generator).to(dtype).unbind(0)
    result = norm(images, 4, weight, bias, 1e-6)
    expected = functional.group_norm(images.double(), 4, weight.double(), bias.double(), 1e-6)
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert (result.double() - expected).abs().max() < tolerance


def test_all_norms_of_the_autoencoder_are_replaced_and_compute_the_same():
    network = ImageAutoencoder(ImageAutoencoderConfig(4, 32, (1, 1), 1, (1,))).eval()
    norms = [each for each in network.modules() if isinstance(each, nn.GroupNorm)]
    assert len(norms) > 5
    assert all(type(each) is GroupNorm for each in norms)
    plain = nn.Sequential(nn.GroupNorm(2, 4), nn.Sequential(nn.GroupNorm(4, 8, eps=1e-3)))
    names, weights = list(plain.state_dict()), plain[1][0].weight
    replace_group_norms(plain)
    assert list(plain.state_dict()) == names
    assert plain[1][0].weight is weights
    assert (plain[1][0].num_groups, plain[1][0].eps) == (4, 1e-3)
    images = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(plain[0](images), functional.group_norm(images, 2, eps=1e-5))


class OnGpu(torch.Tensor):
    is_cuda = True


@pytest.mark.parametrize(
    ("compiled", "dtype", "taken"),
    [
        (True, torch.float32, "group_norm_by_channels"),
        (True, torch.bfloat16, "group_norm_by_channels"),
        (False, torch.bfloat16, "bfloat16_group_norm"),
        (False, torch.float16, None),
        (False, torch.float32, None),
    ],
)
def test_a_gpu_takes_the_channels(monkeypatch, compiled, dtype, taken):
    """As far as that shows without one: with images said to be on a GPU."""
    norm = GroupNorm(4, 16, dtype=dtype).eval()
    seen = []
    monkeypatch.setattr(torch.compiler, "is_dynamo_compiling", lambda: compiled)
    for name in ("group_norm_by_channels", "bfloat16_group_norm"):
        monkeypatch.setattr(
            f"camss_ros.model.group_norm.{name}",
            lambda images, *_, name=name: seen.append(name) or images,
        )
    images = torch.randn(1, 16, 4, 4).to(dtype)
    norm(images)
    assert seen == []
    norm(images.as_subclass(OnGpu))
    assert seen == ([] if taken is None else [taken])


@pytest.mark.parametrize("value", [0.1, 300.0, 1e6])
def test_a_constant_image_is_normed(value):
    images = torch.full((1, 4, 33, 31), value, dtype=torch.bfloat16)
    expected = torch.arange(4.0)[:, None, None].expand(4, 33, 31)
    result = bfloat16_group_norm(images, 2, torch.ones(4), torch.arange(4.0), 1.0)[0]
    torch.testing.assert_close(result.float(), expected, atol=0.02, rtol=0)
    assert bfloat16_group_norm(images, 2, torch.ones(4), torch.arange(4.0), 1e-6).isfinite().all()


def test_a_training_goes_through_it_on_a_gpu_too():
    """The auxiliary loss of a segmenter, under autocast, through the official decoder."""
    images = torch.randn(1, 16, 4, 4).bfloat16().requires_grad_()
    norm = GroupNorm(4, 16, dtype=torch.bfloat16)
    wanted = torch.randn(1, 16, 4, 4).bfloat16()
    gradients = [
        torch.autograd.grad((norm(given) * wanted).sum(), images)[0].as_subclass(torch.Tensor)
        for given in (images, images.as_subclass(OnGpu))
    ]
    torch.testing.assert_close(*gradients)
