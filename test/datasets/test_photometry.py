"""Photometry of batches against the same changes of single images, which corruptions use."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from camss_ros.datasets import image_noise
from camss_ros.datasets.augmentation import AugmentationOptions
from camss_ros.datasets.photometry import apply_photometry, draw_photometry
from camss_ros.resources import config_file
from camss_ros.training.config import SegmenterConfig
from camss_ros.training.config_files import load_config

PLAIN = AugmentationOptions(size=(64, 64), recolour=0.0)
PAPER = load_config(SegmenterConfig, config_file("train/cam_seg_base_cityscapes.yaml")).augmentation
ALL = dataclasses.replace(
    PAPER,
    recolour=1.0,
    **{name: 0.5 for name in vars(PAPER) if name.endswith("_probability")},
)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)


def draws(options: AugmentationOptions, samples=range(1), **changes) -> dict[str, torch.Tensor]:
    """Of some samples, with other values for some."""
    drawn = [draw_photometry(options, np.random.default_rng([7, sample])) for sample in samples]
    return default_collate([one | changes for one in drawn])


def apply(image: np.ndarray, drawn: dict[str, torch.Tensor]) -> np.ndarray:
    """The first of a batch of the same image."""
    images = torch.from_numpy(image).permute(2, 0, 1).expand(len(drawn["seed"]), -1, -1, -1)
    return apply_photometry(images, drawn)[0].permute(1, 2, 0).numpy()


def test_nothing_drawn_changes_nothing(image):
    np.testing.assert_array_equal(apply(image, draws(PLAIN)), image)


JITTER = {"jitter": True, "hue": 0.0, "pivots": np.arange(3), "factors": np.ones(3)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gamma": 1.5}, lambda x: image_noise.to_uint8(255 * (x / 255) ** 1.5)),
        (
            {"gain": np.array([1.3, 1, 0.7], np.float32)},
            lambda x: image_noise.to_uint8(x * np.array([1.3, 1, 0.7])),
        ),
        ({"contrast": 0.6}, lambda x: image_noise.to_uint8(x.mean() + 0.6 * (x - x.mean()))),
        ({"saturation": 0.4}, lambda x: image_noise.saturation(x, 0.4)),
        (
            {**JITTER, "factors": np.array([0.7, 1, 1])},
            lambda x: image_noise.brightness(x, 0.7),
        ),
        (
            {**JITTER, "factors": np.array([1, 1.3, 1])},
            lambda x: image_noise.contrast(x, 1.3),
        ),
        (
            {**JITTER, "factors": np.array([1, 1, 0.4])},
            lambda x: image_noise.saturation(x, 0.4),
        ),
        (
            {**JITTER, "pivots": np.array([2, 0, 1]), "factors": np.array([0.4, 1.6, 0.8])},
            lambda x: image_noise.contrast(
                image_noise.brightness(image_noise.saturation(x, 0.4), 1.6), 0.8
            ),
        ),
        ({**JITTER, "hue": 0.2}, lambda x: image_noise.hue(x, 0.2)),
        ({**JITTER, "hue": -0.4}, lambda x: image_noise.hue(x, -0.4)),
        ({"blur": 2.0}, lambda x: image_noise.gaussian_blur(x, 2.0)),
        (
            {"motion": 21.0, "angle": np.deg2rad(30)},
            lambda x: image_noise.motion_blur(x, 21.0, 30.0),
        ),
        (
            {"blur": 1.5, "motion": 6.5, "angle": np.deg2rad(100)},
            lambda x: image_noise.motion_blur(image_noise.gaussian_blur(x, 1.5), 6.5, 100.0),
        ),
    ],
)
def test_a_change_is_the_one_of_single_images(image, changes, expected):
    result = apply(image, draws(PLAIN, **changes)).astype(int)
    # those round to whole numbers after each change
    assert np.abs(result - expected(image)).max() <= 2


def test_a_blur_of_a_window_smaller_than_it_is_an_average():
    image = np.zeros((3, 5, 3), np.uint8)
    image[1, 2] = 150
    blurred = apply(image, draws(PLAIN, motion=45.0, angle=0.0))
    assert np.ptp(blurred[1]) < 20
    assert (blurred[0] == 0).all()


def test_light_changes_the_whole_image_alike():
    flat = np.full((40, 40, 3), 120, np.uint8)
    seen = set()
    for sample in range(10):
        drawn = draws(dataclasses.replace(PLAIN, recolour=1.0), [sample], noise=0.0)
        result = apply(flat, drawn)
        assert np.ptp(result, axis=(0, 1)).max() == 0
        seen.add(tuple(result[0, 0]))
    assert len(seen) == 10
    assert np.std([colour[0] for colour in seen]) > 10


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"noise": 20 / 255}, lambda x: abs(x.std() - 20) < 0.5 and abs(x.mean() - 128) < 0.5),
        (
            {"specks": 0.3},
            lambda x: all(abs((x == value).all(axis=2).mean() - 0.15) < 0.01 for value in (0, 255)),
        ),
        ({"cell": 16, "hidden": 1.0}, lambda x: (x == 127).all()),
        (
            {"cell": 50, "hidden": 0.5},
            lambda x: (x == 127).all(axis=2).sum() % 2500 == 0 and 0 < (x == 127).mean() < 1,
        ),
    ],
)
def test_the_sensor_does_what_it_says_to_a_flat_image(changes, seen):
    flat = np.full((200, 200, 3), 128, np.uint8)
    assert seen(apply(flat, draws(PLAIN, **changes)))


def test_an_image_is_the_same_whichever_others_are_in_its_batch(image):
    together = draws(ALL, range(8))
    for place in range(8):
        moved = {name: each.roll(-place, 0) for name, each in together.items()}
        alone = apply(image, draws(ALL, [place]))
        # the spectrum may be taken at another size, which rounds otherwise
        assert np.abs(apply(image, moved).astype(int) - alone).max() <= 1


def test_what_is_drawn_happens_as_often_as_asked_for():
    drawn = draws(ALL, range(400))
    for name in ("jitter", "motion", "specks", "cell"):
        assert (drawn[name] > 0).float().mean().item() == pytest.approx(0.5, abs=0.07)
    # beside what recolour blurs and makes noise of
    assert (drawn["blur"] > 0).float().mean().item() == pytest.approx(0.575, abs=0.07)
    assert (drawn["noise"] > 0).float().mean().item() == pytest.approx(0.6, abs=0.07)
    assert len(drawn["seed"].unique()) == 400
