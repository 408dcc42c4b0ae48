"""A training's samples on a GPU: what is done there is only asked for, never waited for."""

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from camss_ros.datasets.augmentation import AugmentationOptions
from camss_ros.datasets.photometry import apply_photometry, draw_photometry

OPTIONS = AugmentationOptions(
    recolour=1.0,
    color_jitter_probability=0.5,
    gaussian_noise_probability=0.5,
    salt_and_pepper_probability=0.5,
    gaussian_blur_probability=0.5,
    motion_blur_probability=0.5,
    hide_and_seek_probability=0.5,
)


@pytest.fixture
def never_waiting():
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def batch():
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (16, 3, 64, 96), np.uint8))
    return images, default_collate([draw_photometry(OPTIONS, rng) for _ in range(16)])


def test_photometry_never_waits_for_the_device(never_waiting):
    images, draws = batch()
    assert apply_photometry(images.pin_memory().to("cuda", non_blocking=True), draws).is_cuda


def test_light_and_lens_are_those_of_the_cpu():
    images, draws = batch()
    for name in ("noise", "specks", "cell"):  # drawn on the device
        draws[name] = torch.zeros_like(draws[name])
    there = apply_photometry(images.to("cuda"), draws).cpu().int()
    assert (there - apply_photometry(images, draws).int()).abs().max() <= 1
