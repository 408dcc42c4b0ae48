"""Noise, blur and colour changes of images, against what they are defined as."""

import numpy as np
import pytest

from camss_ros.datasets import image_noise


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


FLAT = np.full((200, 200, 3), 128, np.uint8)


def test_gaussian_noise_has_the_deviation_asked_for():
    noisy = image_noise.gaussian_noise(FLAT, 20, np.random.default_rng(1)).astype(float)
    assert noisy.mean() == pytest.approx(128, abs=0.3)
    assert noisy.std() == pytest.approx(20, abs=0.3)


def test_salt_and_pepper_turns_whole_pixels_half_white_half_black():
    noisy = image_noise.salt_and_pepper(FLAT, 0.3, np.random.default_rng(1))
    assert (noisy == 255).all(axis=2).mean() == pytest.approx(0.15, abs=0.01)
    assert (noisy == 0).all(axis=2).mean() == pytest.approx(0.15, abs=0.01)
    assert (noisy == 128).all(axis=2).mean() == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("length", [1, 2, 21, 151])
@pytest.mark.parametrize("angle", [0, 30, 90, 179])
def test_a_line_kernel_is_as_long_as_asked_and_points_along_the_angle(length, angle):
    kernel = image_noise.line_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    middle = kernel.shape[0] // 2
    y, x = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    along = x * np.cos(np.deg2rad(angle)) + y * np.sin(np.deg2rad(angle))
    across = x * np.sin(np.deg2rad(angle)) - y * np.cos(np.deg2rad(angle))
    # The variance of a uniform line of that length; a pixel of thickness across.
    assert (kernel * along**2).sum() == pytest.approx(length**2 / 12, abs=0.15 * length + 0.3)
    assert (kernel * across**2).sum() < 0.3


def test_motion_blur_smears_a_point_along_the_angle():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    across, down = (image_noise.motion_blur(point, 21, angle) for angle in (0, 90))
    assert (across[20, 11:30] > 8).all()
    assert (across[:20] == 0).all()
    np.testing.assert_array_equal(down, across.transpose(1, 0, 2))


def test_factor_one_and_no_shift_change_nothing(image):
    for change in (image_noise.brightness, image_noise.contrast, image_noise.saturation):
        np.testing.assert_array_equal(change(image, 1.0), image)
    np.testing.assert_array_equal(image_noise.hue(image, 0.0), image)
    np.testing.assert_array_equal(image_noise.gaussian_blur(image, 0), image)
    np.testing.assert_array_equal(image_noise.motion_blur(image, 1, 30), image)


def test_colour_changes_are_what_they_are_called(image):
    assert image_noise.brightness(FLAT, 0.5)[0, 0, 0] == 64
    contrasted = image_noise.contrast(image, 0.5).astype(float)
    assert contrasted.std() == pytest.approx(image.std() / 2, rel=0.02)
    grey = image_noise.saturation(image, 0.0)
    assert (np.ptp(grey, axis=2) == 0).all()
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_array_equal(image_noise.hue(red, 1 / 3)[0, 0], (0, 200, 0))
    np.testing.assert_array_equal(image_noise.hue(red, -1 / 3)[0, 0], (0, 0, 200))
