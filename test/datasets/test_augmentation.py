"""Augmentation: geometry on image and label alike, photometry on the image alone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camss_ros.datasets.augmentation import AugmentationOptions
from camss_ros.datasets.photometry import augment
from camss_ros.resources import config_file
from camss_ros.training.config import SegmenterConfig
from camss_ros.training.config_files import load_config

VOID = 255
PLAIN = AugmentationOptions(size=(56, 72), recolour=0.0)
PAPER = load_config(SegmenterConfig, config_file("train/cam_seg_base_cityscapes.yaml")).augmentation


def scene(height: int = 90, width: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Three areas, 0, 2 and 4, with an image that tells them apart; no area has 1 or 3."""
    label = np.zeros((height, width), np.uint8)
    label[:, width // 2 :] = 2
    label[2 * height // 3 :] = 4
    return np.repeat((label * 50 + 20)[..., None], 3, 2), label


ranges = st.floats(0.3, 3.0).flatmap(lambda low: st.floats(low, 3.0).map(lambda high: (low, high)))
options = st.builds(
    AugmentationOptions,
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    crop_probability=st.floats(0, 1),
    zoom=ranges,
    aspect=st.floats(0, 0.5),
    flip=st.floats(0, 1),
    rotation=st.floats(0, 30),
    shear=st.floats(0, 20),
    skew=st.floats(0, 0.2),
    recolour=st.floats(0, 1),
    color_jitter_probability=st.floats(0, 1),
    gaussian_noise_probability=st.floats(0, 1),
    salt_and_pepper_probability=st.floats(0, 1),
    gaussian_blur_probability=st.floats(0, 1),
    motion_blur_probability=st.floats(0, 1),
    hide_and_seek_probability=st.floats(0, 1),
)


@settings(max_examples=60)
@given(options, st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 80))
def test_any_options_give_a_pair_of_the_size_from_the_generator_alone(options, seed, height, width):
    image, label = scene(height, width)
    before = image.copy(), label.copy()
    first, first_label = augment(image, label, options, np.random.default_rng(seed))
    assert first.shape == (*options.size, 3)
    assert first_label.shape == options.size
    assert first.dtype == first_label.dtype == np.uint8
    # No third class where two meet, and void outside.
    assert set(np.unique(first_label)) <= {*np.unique(label), VOID}
    second, second_label = augment(image, label, options, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first_label, second_label)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(label, before[1])


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_photometry_leaves_the_label_as_without_it(seed):
    image, label = scene()
    still = {
        name: 0.0 for name in vars(PAPER) if name.endswith("_probability") or name == "recolour"
    }
    still["crop_probability"] = PAPER.crop_probability
    small = dataclasses.replace(PAPER, size=(64, 64))
    without = dataclasses.replace(small, **still)
    changed, changed_label = augment(image, label, small, np.random.default_rng(seed))
    plain, plain_label = augment(image, label, without, np.random.default_rng(seed))
    np.testing.assert_array_equal(changed_label, plain_label)
    # and the geometry of the image is the same: the photometry comes after it
    assert changed.shape == plain.shape


@pytest.mark.parametrize("options", [PLAIN, dataclasses.replace(PLAIN, shear=8.0, skew=0.1)])
def test_image_and_label_move_together(options):
    image, label = scene()
    for seed in range(10):
        view, view_label = augment(image, label, options, np.random.default_rng(seed))
        inside = view_label != VOID
        # Bilinear against nearest: only pixels at the borders may differ.
        agree = np.abs(view[..., 0].astype(int) - (view_label.astype(int) * 50 + 20)) < 40
        assert agree[inside].mean() > 0.9


def test_a_crop_of_the_frame_is_fitted_into_the_size():
    # The image tells the place, so that the span of what is seen can be read from the view.
    image = np.zeros((100, 200, 3), np.uint8)
    image[..., 0] = np.linspace(0, 250, 200)
    image[..., 1] = np.linspace(0, 250, 100)[:, None]
    cut = AugmentationOptions(
        size=(60, 90), crop_probability=1.0, crop=(0.6, 0.9), zoom=(1.0, 1.0), aspect=0.0,
        flip=0.0, rotation=0.0, recolour=0.0,
    )  # fmt: skip
    spans = []
    for seed in range(40):
        view, label = augment(image, image[..., 0], cut, np.random.default_rng(seed))
        red, green = (np.ptp(view[..., channel]) / 250 for channel in (0, 1))
        assert red == pytest.approx(green, abs=0.05)
        spans.append(red)
        assert (label != VOID).all()
    assert 0.55 < min(spans) < 0.68
    assert 0.82 < max(spans) < 0.95


def test_windows_are_mirrored_and_turned_about_their_middle():
    image, label = np.zeros((90, 120, 3), np.uint8), np.mgrid[:90, :120].sum(axis=0)
    label = label.astype(np.uint8)
    still = dataclasses.replace(PLAIN, flip=0.0, rotation=0.0)
    for seed in range(5):
        plain, mirrored, turned = (
            augment(
                image, label, dataclasses.replace(still, **change), np.random.default_rng(seed)
            )[1]
            for change in ({}, {"flip": 1.0}, {"rotation": 30.0})
        )
        assert (mirrored == plain[:, ::-1]).mean() > 0.98  # but for ties
        assert not np.array_equal(turned, plain)
        assert abs(int(turned[28, 36]) - int(plain[28, 36])) <= 2


def test_a_frame_smaller_than_the_window_is_whole_and_anywhere():
    image, label = scene()
    half = dataclasses.replace(PLAIN, zoom=(0.5, 0.5), aspect=0.0, rotation=0.0)
    places = []
    for seed in range(30):
        _, view = augment(image, label, half, np.random.default_rng(seed))
        assert (view != VOID).sum() == pytest.approx(45 * 60, rel=0.05)
        places.append(np.argwhere(view != VOID).min(axis=0))
    assert (np.ptp(places, axis=0) > 6).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flip": 1.5}, "flip is 1.5: expected 0 to 1"),
        ({"zoom": (2.0, 1.0)}, r"zoom is \(2.0, 1.0\)"),
        ({"crop": (0.0, 1.0)}, "crop"),
        ({"size": (0, 64)}, "size"),
        ({"skew": 0.6}, "skew"),
        ({"hide_and_seek_cells": ()}, "hide_and_seek_cells"),
        ({"rotation": -1.0}, "rotation is -1.0: expected 0 or more"),
        ({"salt_and_pepper": (1.0, 50.0)}, "salt_and_pepper"),
        ({"aspect": 100.0}, "aspect is 100.0: expected 0 to 1"),
        ({"zoom": (1e-9, 1.0)}, "zoom .* from 0.01 to 100"),
        ({"crop": (1.0, 1e9)}, "crop .* from 0.01 to 100"),
        ({"gaussian_blur": (500.0, 1000.0)}, "gaussian_blur .* at most 200 pixels"),
    ],
)
def test_options_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        AugmentationOptions(**changes)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(2, 87), st.integers(2, 117), ranges)
def test_a_window_with_a_focus_shows_that_pixel(seed, row, column, zoom):
    options = dataclasses.replace(PLAIN, size=(40, 48), zoom=zoom, rotation=0.0)
    label = np.zeros((90, 120), np.uint8)
    # five pixels are at least one at the smallest zoom
    label[row - 2 : row + 3, column - 2 : column + 3] = 7
    image = np.zeros((90, 120, 3), np.uint8)
    _, view = augment(image, label, options, np.random.default_rng(seed), (row, column))
    assert (view == 7).any()
