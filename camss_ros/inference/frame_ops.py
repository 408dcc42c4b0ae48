"""What happens to a frame before and after the network, as tensor operations on its device."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from camss_ros.model.label_class import VOID


def resize_frame(frame: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize to the network's working size, anti-aliased.

    Args:
        frame: uint8 [H, W, 3] RGB.
        size: (height, width).

    Returns:
        [1, 3, height, width], 0-255, uint8 or float32.
    """
    images = frame.permute(2, 0, 1)[None]
    if images.shape[-2:] == size:
        return images
    if images.device.type != "cpu":  # only the CPU kernel takes uint8
        images = images.float()
    return functional.interpolate(
        images, size=size, mode="bilinear", align_corners=False, antialias=True
    )


def to_labels(probabilities: Tensor, size: tuple[int, int], void_last: bool = False) -> Tensor:
    """Class ids and confidence at the output size.

    Args:
        probabilities: [1, classes, h, w] class probabilities.
        void_last: the last class is void, whose id is 255.
        size: (height, width) of the result; the probabilities are interpolated to it.

    Returns:
        uint8 [2, height, width]: class ids, then the winner's probability times 255.
    """
    if probabilities.shape[-2:] != size:
        probabilities = functional.interpolate(
            probabilities, size=size, mode="bilinear", align_corners=False
        )
    confidence, labels = probabilities[0].max(dim=0)
    if void_last:
        labels = labels.masked_fill(labels == probabilities.shape[1] - 1, VOID)
    return torch.stack([labels.to(torch.uint8), (confidence * 255.0).round().to(torch.uint8)])


def to_uncertainty(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """Entropy over the classes of each pixel, as a share of the largest possible one.

    Args:
        probabilities: [1, classes, h, w] class probabilities, averaged over samples.
        size: (height, width) of the result.

    Returns:
        uint8 [height, width]: 0 where one class is certain, 255 where all are equally likely.
    """
    entropy = torch.special.entr(probabilities).sum(dim=1, keepdim=True)
    share = entropy / math.log(max(2, probabilities.shape[1]))
    share = functional.interpolate(share, size=size, mode="bilinear", align_corners=False)
    return (share[0, 0].clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
