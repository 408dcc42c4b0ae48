"""Group norm from the statistics of channels is group norm."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from camss_ros.model.group_norm import GroupNorm, group_norm_by_channels, replace_group_norms
from camss_ros.model.image_autoencoder import ImageAutoencoder, ImageAutoencoderConfig


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_it_is_group_norm_also_far_from_zero(dtype, tolerance, mean):
    generator = torch.Generator().manual_seed(0)
    scales = 1 + torch.arange(16.0)[:, None, None]  # channels of a group differ
    images = mean + scales * torch.randn(2, 16, 12, 10, generator=generator)
    images = images.to(dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(2, 16, generator=generator).to(dtype).unbind(0)
    result = group_norm_by_channels(images, 4, weight, bias, 1e-6)
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


def test_what_is_compiled_for_a_gpu_takes_the_channels(monkeypatch):
    """As far as that shows without one: the trace of a norm of tensors said to be on a GPU."""
    norm = GroupNorm(4, 16).eval()
    seen = []
    monkeypatch.setattr(torch.compiler, "is_dynamo_compiling", lambda: True)
    monkeypatch.setattr(
        "camss_ros.model.group_norm.group_norm_by_channels",
        lambda images, *_: seen.append(images.shape) or images,
    )

    class OnGpu(torch.Tensor):
        is_cuda = True

    images = torch.randn(1, 16, 4, 4)
    norm(images)
    assert seen == []
    norm(images.as_subclass(OnGpu))
    assert seen == [(1, 16, 4, 4)]
