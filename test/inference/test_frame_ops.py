"""Labels at the output size."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from camss_ros.images.label_class import VOID
from camss_ros.inference.frame_ops import (
    class_count,
    resize_frame,
    to_labels,
    to_uncertainty,
)
from camss_ros.model.tiles import to_image, to_tiles


def smooth(classes: int, height: int, width: int, seed: int) -> torch.Tensor:
    """Probabilities with areas of one class and borders between them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, classes, height // 4 + 1, width // 4 + 1, generator=generator)
    logits = functional.interpolate(coarse * 5, size=(height, width), mode="bicubic")
    return logits.softmax(dim=1)


@pytest.mark.parametrize("size", [(9, 20), (61, 77), (33, 16), (25, 40)])
def test_a_frame_is_resized_as_pillow_does(size):
    frame = np.random.default_rng(0).integers(0, 256, (25, 40, 3), np.uint8)
    found = resize_frame(torch.from_numpy(frame), size)[0].permute(1, 2, 0).numpy()
    expected = Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 1


@settings(max_examples=40)
@given(
    height=st.integers(1, 24), width=st.integers(1, 24), rows=st.integers(-23, 60),
    columns=st.integers(-23, 60), classes=st.integers(1, 12),
    layout=st.sampled_from(["channels first", "channels last", "tiles"]), side=st.integers(2, 4),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_another_size_has_the_argmax_of_all_interpolated_classes(
    height, width, rows, columns, classes, layout, side, seed
):
    if layout == "tiles":
        height, width = height * side, width * side
    probabilities = smooth(classes, height, width, seed)
    if layout == "channels last":
        probabilities = probabilities.contiguous(memory_format=torch.channels_last)
    size = (max(1, height + rows), max(1, width + columns))
    everything = functional.interpolate(probabilities, size=size, mode="bilinear")[0]
    if layout == "tiles":
        probabilities = to_tiles(functional.pixel_unshuffle(probabilities, side), side)
    labels, confidence = to_labels(probabilities, size)
    chosen = everything.gather(0, labels[None].long())[0]
    # where two classes are equal but for rounding, either is right
    torch.testing.assert_close(chosen, everything.amax(dim=0), rtol=0, atol=1e-5)
    assert (confidence.float() - 255 * everything.amax(dim=0)).abs().max() <= 0.51


def test_a_smaller_size_and_the_traced_way_agree_with_interpolation():
    probabilities = smooth(7, 24, 32, seed=1)
    for size in ((10, 13), (24, 32), (40, 50), (10, 60)):
        everything = functional.interpolate(probabilities, size=size, mode="bilinear")[0]
        assert torch.equal(to_labels(probabilities, size)[0], everything.argmax(dim=0))
        traced = to_labels(probabilities, size, traced=True)
        assert torch.equal(traced[0], everything.argmax(dim=0))


def test_in_tiles_everything_is_as_in_an_image():
    image = smooth(7, 24, 32, seed=2)
    tiles = to_tiles(functional.pixel_unshuffle(image, 4), 4)
    assert tiles.shape == (1, 6, 8, 7, 16)
    assert torch.equal(to_image(tiles), image)
    for size in ((24, 32), (10, 13), (40, 50)):
        for traced in (False, True):
            expected = to_labels(image, size, void_last=True, traced=traced)
            assert torch.equal(to_labels(tiles, size, void_last=True, traced=traced), expected)
        difference = to_uncertainty(tiles, size).int() - to_uncertainty(image, size).int()
        assert difference.abs().max() <= 1
    wide = smooth(5, 8, 12, seed=3)
    assert class_count(to_tiles(functional.pixel_unshuffle(wide, 2), 2)) == class_count(wide) == 5


def test_the_last_class_may_be_void():
    probabilities = torch.tensor([0.1, 0.7, 0.2, 0.8, 0.1, 0.1]).view(1, 2, 1, 3)
    labels, _ = to_labels(probabilities.softmax(dim=1), (1, 3), void_last=True)
    assert labels.tolist() == [[VOID, 0, 0]]
    labels, _ = to_labels(probabilities.softmax(dim=1), (2, 6), void_last=True)
    assert set(labels.flatten().tolist()) == {VOID, 0}


@pytest.mark.parametrize("classes", [1, 2, 3, 19])
def test_uncertainty_is_a_share_of_the_entropy_of_all_classes(classes):
    for likely in range(1, classes + 1):  # equally likely ones
        probabilities = torch.zeros(1, classes, 2, 3)
        probabilities[:, :likely] = 1 / likely
        share = math.log(likely) / math.log(classes) if classes > 1 else 0.0
        assert to_uncertainty(probabilities, (4, 6)).unique().tolist() == [round(255 * share)]
