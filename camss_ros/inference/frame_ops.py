"""What happens to a frame before and after the network, as tensor operations on its device."""

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from camss_ros.images.label_class import VOID
from camss_ros.model.tiles import is_tiled, join_tiles, tile_side, to_image

_BORDER = 255  # marks a pixel for which no class is known yet; there are 255 with void at most


class Argmax(NamedTuple):
    """The most likely class of each pixel.

    Attributes:
        labels: [h, w] class indices, integers of any type.
        confidence: [h, w] float32, their probability.
    """

    labels: Tensor
    confidence: Tensor


class OutputSpec(NamedTuple):
    """What is wanted of a frame: (height, width) of the result, and whether with uncertainty."""

    size: tuple[int, int]
    uncertainty: bool = False


def check_output_size(size: tuple[int, int]) -> None:
    """Raise ValueError unless it is a (height, width) in pixels."""
    sides = np.asarray(size)
    if sides.shape != (2,) or sides.dtype.kind not in "iu" or sides.min() < 1:
        raise ValueError(
            f"expected an output_size (height, width) of at least 1 x 1 pixels, got {size}"
        )


def find_argmax(probabilities: Tensor, traced: bool = False) -> Argmax:
    """Of [1, classes, h, w] class probabilities, or of such in tiles; `traced` for a graph."""
    if not is_tiled(probabilities):
        confidence, labels = probabilities[0].max(dim=0)
        return Argmax(labels, confidence)
    if traced:  # one operation, where a maximum becomes two
        confidence, labels = (each[:, :, 0] for each in probabilities[0].topk(1, dim=2))
    else:
        confidence, labels = probabilities[0].max(dim=2)
    return Argmax(join_tiles(labels), join_tiles(confidence))


def upload_frame(frame: np.ndarray, device: torch.device) -> Tensor:
    """uint8 [H, W, 3] on a device; of what is read-only a copy, as PyTorch warns of it."""
    return torch.from_numpy(np.require(frame, requirements=["C", "W"])).to(device)


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


def render(
    probabilities: Tensor,
    output: OutputSpec,
    classes: int,
    traced: bool = False,
    argmax: Argmax | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`to_labels` and, where it is wanted, `to_uncertainty`.

    Args:
        probabilities: [1, C, h, w] class probabilities.
        output: size of the result, and whether with uncertainty.
        classes: of the label set: a class more than these is void.
        traced, argmax: see `to_labels`.

    Returns:
        uint8 [2, height, width] class ids and confidence, and uint8 [height, width] or None.
    """
    void_last = class_count(probabilities) > classes
    labels = to_labels(probabilities, output.size, void_last, traced, argmax)
    return labels, to_uncertainty(probabilities, output.size) if output.uncertainty else None


def to_labels(
    probabilities: Tensor,
    size: tuple[int, int],
    void_last: bool = False,
    traced: bool = False,
    argmax: Argmax | None = None,
) -> Tensor:
    """Class ids and confidence at the output size.

    Args:
        probabilities: [1, classes, h, w] class probabilities, or such in tiles (`model/tiles.py`).
        void_last: the last class is void, whose id is 255.
        size: (height, width) of the result; the probabilities are interpolated to it.
        traced: only operations that do not depend on the data.
        argmax: of the probabilities, where they are known.

    Returns:
        uint8 [2, height, width]: class ids, then the winner's probability times 255.
    """
    labels, confidence = argmax_at(probabilities, size, void_last, traced, argmax)
    return torch.stack([labels.to(torch.uint8), (confidence * 255.0).round_().to(torch.uint8)])


def argmax_at(
    probabilities: Tensor,
    size: tuple[int, int],
    void_last: bool = False,
    traced: bool = False,
    argmax: Argmax | None = None,
) -> Argmax:
    """What `to_labels` makes bytes of: [height, width] class ids and their probabilities.

    Arguments are as there.
    """
    if _image_size(probabilities) == size:
        labels, confidence = argmax or find_argmax(probabilities, traced)
    elif not traced and probabilities.device.type == "cpu":
        labels, confidence = _resized_argmax(
            probabilities, argmax or find_argmax(probabilities), size
        )
    else:
        image = to_image(probabilities)
        labels, confidence = find_argmax(
            functional.interpolate(image, size=size, mode="bilinear", align_corners=False)
        )
    if void_last:
        labels = labels.masked_fill(labels == class_count(probabilities) - 1, VOID)
    return Argmax(labels, confidence)


def class_count(probabilities: Tensor) -> int:
    """Classes of probabilities as `to_labels` takes them."""
    return probabilities.shape[3 if is_tiled(probabilities) else 1]


def _image_size(probabilities: Tensor) -> tuple[int, int]:
    """(height, width)."""
    if not is_tiled(probabilities):
        return probabilities.shape[2], probabilities.shape[3]
    side = tile_side(probabilities)
    return side * probabilities.shape[1], side * probabilities.shape[2]


def _resized_argmax(probabilities: Tensor, argmax: Argmax, size: tuple[int, int]) -> Argmax:
    """Argmax, as uint8, of the probabilities interpolated to another size.

    Bilinear interpolation is a weighted mean of four pixels. Where all four have the same winner,
    it wins the mean as well, so that only the pixels at the borders between classes need all
    classes interpolated: a tenth of the work and none of the memory traffic. Which pixels these
    are depends on the data, so that a GPU, which would have to wait for it, does the whole work.
    """
    height, width = _image_size(probabilities)
    winner = argmax.labels.to(torch.uint8)
    row, next_row, row_weight = _interpolation(height, size[0])
    column, next_column, column_weight = _interpolation(width, size[1])

    right, below = _shifted(winner, 1), _shifted(winner, 0)
    uniform = (winner == right) & (winner == below) & (winner == _shifted(below, 1))
    marked = winner.masked_fill(~uniform, _BORDER)
    labels = marked.index_select(1, column).index_select(0, row)
    # OpenCV and NumPy: several times as fast as PyTorch on one channel
    confidence = torch.from_numpy(
        cv2.resize(argmax.confidence.numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)
    )
    border = torch.from_numpy(np.flatnonzero(labels.numpy() == _BORDER))
    y = border.div(size[1], rounding_mode="floor")
    x = border - y * size[1]
    top, bottom = row[y] * width, next_row[y] * width
    left, right = column[x], next_column[x]
    corners = torch.stack([top + left, top + right, bottom + left, bottom + right], dim=1)
    down, across = row_weight[y], column_weight[x]
    weights = torch.stack(
        [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across], dim=1
    )
    is_corner = torch.zeros(height * width, dtype=torch.bool, device="cpu")
    is_corner[corners.flatten()] = True
    places = is_corner.nonzero()[:, 0]
    number = torch.empty(height * width, dtype=torch.int64, device="cpu")
    number[places] = torch.arange(len(places), device="cpu")
    # weighted means of rows in one pass
    mixed = functional.embedding_bag(
        number[corners], _pixels(probabilities, places), per_sample_weights=weights, mode="sum"
    )
    best, index = mixed.max(dim=1)
    confidence.view(-1)[border] = best
    labels.view(-1)[border] = index.to(torch.uint8)
    return Argmax(labels, confidence)


def _pixels(probabilities: Tensor, places: Tensor) -> Tensor:
    """[n, classes], row after row in memory, of the pixels with the indices [n]."""
    width = _image_size(probabilities)[1]
    y = places.div(width, rounding_mode="floor")
    x = places - y * width
    if not is_tiled(probabilities):
        return probabilities[0, :, y, x].T.contiguous()
    side = tile_side(probabilities)
    row, column = y.div(side, rounding_mode="floor"), x.div(side, rounding_mode="floor")
    place = (y - row * side) * side + x - column * side
    return probabilities[0, row, column, :, place]


def _shifted(image: Tensor, dim: int) -> Tensor:
    """The next row or column at each place; the last is its own."""
    return torch.cat([image.narrow(dim, 1, image.shape[dim] - 1), image.narrow(dim, -1, 1)], dim)


@lru_cache(maxsize=16)
def _interpolation(length: int, target: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `target` places: the two source indices int64 and the weight of the second."""
    with torch.inference_mode(False):
        places = ((torch.arange(target, device="cpu") + 0.5) * (length / target) - 0.5).clamp_(
            min=0
        )
        first = places.long()
        return first, (first + 1).clamp_(max=length - 1), places - first


def to_uncertainty(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """Entropy over the classes of each pixel, as a share of the largest possible one.

    Args:
        probabilities: as of `to_labels`, averaged over samples.
        size: (height, width) of the result.

    Returns:
        uint8 [height, width]: 0 where one class is certain, 255 where all are equally likely.
    """
    entropy = torch.special.entr(probabilities).sum(dim=3 if is_tiled(probabilities) else 1)
    if is_tiled(probabilities):
        entropy = join_tiles(entropy)
    share = entropy[:, None] / math.log(max(2, class_count(probabilities)))
    share = functional.interpolate(share, size=size, mode="bilinear", align_corners=False)
    return (share[0, 0].clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
