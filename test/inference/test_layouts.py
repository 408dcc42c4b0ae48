"""What kernels of a GPU ask of their inputs, as far as shapes, types and strides tell."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from camss_ros.inference.backends.base import BatchRequest
from camss_ros.inference.backends.torch_backend import TorchBackend
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import CONFIG_FILE, find_model, read_config
from camss_ros.model.official import base_config
from camss_ros.model.schedule import SamplingOptions


@pytest.mark.parametrize("name", ["camss-tiny", "cam-seg-base"])
def test_attention_of_the_transformer_meets_the_conditions_of_flash_attention(name, monkeypatch):
    """Half precision, no mask, heads of up to 256 channels, a multiple of 8, channels adjacent."""
    official = name == "cam-seg-base"
    config = base_config() if official else read_config(find_model(name) / CONFIG_FILE)
    with torch.device("meta"):
        model = CamSeg(config).eval().to(torch.bfloat16)
        height, width = (side // model.stride for side in config.input_size)
        channels = model.latent_channels if official else config.tokenizer.channels
        token_map = torch.zeros(1, channels, height, width, dtype=torch.bfloat16)
    attend, seen = functional.scaled_dot_product_attention, []

    def watched(*tensors, **arguments):
        seen.append((tensors, arguments))
        return attend(*tensors, **arguments)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    with torch.inference_mode():
        model.condition(token_map)
    size = config.transformer
    depth = size.encoder_depth + size.decoder_depth if official else size.depth
    assert len(seen) == depth
    for tensors, arguments in seen:
        assert not arguments
        for each in tensors:
            assert (each.dtype, each.ndim, each.stride(-1)) == (torch.bfloat16, 4, 1)
            assert each.shape[-1] <= 256
            assert each.shape[-1] % 8 == 0


def test_convolutions_of_the_small_model_get_channels_last(tiny_model):
    network = copy.deepcopy(tiny_model)
    backend = TorchBackend(network, torch.device("cpu"), torch.float32)
    seen = []

    def watch(module, inputs):
        for each in (inputs[0], module.weight):
            seen.append(each.is_contiguous(memory_format=torch.channels_last))

    hooks = [
        module.register_forward_pre_hook(watch)
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    frame = torch.zeros(32, 48, 3, dtype=torch.uint8).numpy()
    generator = torch.Generator()
    backend.predict(BatchRequest([frame], SamplingOptions(), (32, 48), generator))
    for hook in hooks:
        hook.remove()
    assert len(seen) > 20
    assert all(seen)
