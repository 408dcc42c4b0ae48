"""Corruptions: seeded, of the strength they state, monotone where a knob is."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camss_ros.lab import weather
from camss_ros.lab.conditions import data_conditions
from camss_ros.lab.corruptions import CORRUPTIONS, corrupt
from camss_ros.lab.imagenet_c import SETTINGS, imagenet_c
from camss_ros.street.synthetic import random_scene

OURS = [n for n, it in CORRUPTIONS.items() if it.group not in ("imagenet_c", "paper_scaled")]


@pytest.fixture(scope="module")
def image():
    return random_scene(3, 96, 128)[0]


def difference(a, b):
    return float(np.abs(a.astype(float) - b).mean())


@pytest.mark.parametrize("name", OURS)
def test_levels_have_settings_and_follow_from_seed_and_frame_alone(image, name):
    corruption = CORRUPTIONS[name]
    assert len(set(corruption.settings)) == len(corruption.values) >= 4
    before = image.copy()
    for level in range(1, len(corruption.values) + 1):
        first = corrupt(image, corruption, level, "a")
        np.testing.assert_array_equal(first, corrupt(image, corruption, level, "a"))
        assert first.shape == image.shape
        assert first.dtype == np.uint8
        assert difference(first, image) > 0.2
    np.testing.assert_array_equal(image, before)
    with pytest.raises(ValueError, match="no level 0"):
        corrupt(image, corruption, 0, "a")


@pytest.mark.parametrize("name", ["gaussian_noise", "salt_and_pepper", "rain_rate", "night"])
def test_frames_seeds_and_levels_differ(image, name):
    one = corrupt(image, CORRUPTIONS[name], 3, "a")
    assert difference(one, corrupt(image, CORRUPTIONS[name], 3, "b")) > 0
    assert difference(one, corrupt(image, CORRUPTIONS[name], 3, "a", seed=1)) > 0


@pytest.mark.parametrize("kind", SETTINGS)
def test_imagenet_c_is_seeded_and_leaves_the_global_generator_alone(image, kind):
    pytest.importorskip("imagecorruptions")
    assert len(SETTINGS[kind]) == 5
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    first = corrupt(image, CORRUPTIONS[f"c_{kind}"], 4, "a")
    assert np.random.random() == expected
    np.testing.assert_array_equal(first, corrupt(image, CORRUPTIONS[f"c_{kind}"], 4, "a"))
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert difference(first, image) > 0.5


def test_stated_settings_are_those_of_the_package():
    pytest.importorskip("imagecorruptions")
    flat = np.full((128, 128, 3), 127, np.uint8)
    rng = np.random.default_rng(0)
    assert imagenet_c(flat, "gaussian_noise", 1, rng).std() == pytest.approx(20.4, abs=0.5)
    assert imagenet_c(flat, "brightness", 1, rng).mean() == pytest.approx(127 + 25.5, abs=1)
    impulses = imagenet_c(flat, "impulse_noise", 5, rng)
    assert (impulses != 127).mean() == pytest.approx(0.27, abs=0.01)


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(RuntimeError, match="--no-deps imagecorruptions-imaug"):
        data_conditions([], ("imagenet_c",), 0)


def test_an_image_too_small_for_imagenet_c_is_named():
    pytest.importorskip("imagecorruptions")
    with pytest.raises(ValueError, match="20 x 40"):
        imagenet_c(np.zeros((40, 20, 3), np.uint8), "fog", 1, np.random.default_rng(0))


def test_fog_follows_koschmieder():
    black = np.zeros((361, 481, 3), np.uint8)
    depth = weather.street_depth(361, 481)
    seen = weather.fog(black, 50.0)[..., 0] / 214
    row, column = np.argwhere(np.abs(depth - 50) < 0.5)[0]
    # At the visibility a black object has 2 % contrast to the fog left.
    assert 1 - seen[row, column] == pytest.approx(0.02, abs=0.005)
    # The road 7.6 m ahead: 1.5 m below the camera, focal length 0.95 x 481 px.
    assert depth[180 + 90, 240] == pytest.approx(1.5 * 0.95 * 481 / 90, rel=1e-3)
    assert depth.max() == 200


def is_seen_through(seen, behind, share, value):
    """Whether each pixel is that behind it, or lighter or darker by what covers `share` of it."""
    seen, behind = seen.astype(float), behind.astype(float)
    densest = (1 - share) * behind + share * value
    low, high = np.minimum(behind, densest), np.maximum(behind, densest)
    return ((seen >= low - 1) & (seen <= high + 1)).all()


def test_rain_dims_by_its_rate_behind_streaks_that_are_seen_through(image):
    seen = weather.rain(image, 25, np.random.default_rng(0))
    behind = weather.fog(image, 3912 / (0.312 * 25**0.67))
    assert 0.02 < (seen != behind).any(axis=2).mean() < 0.5
    assert is_seen_through(seen, behind, 0.35, 225)


def test_snow_is_a_veil_with_flakes_all_over_it():
    grey = np.full((360, 480, 3), 90, np.uint8)
    seen, behind = weather.snow(grey, 100, np.random.default_rng(0)), weather.fog(grey, 100)
    covered = (seen != behind).any(axis=2).reshape(2, 180, 2, 240).mean(axis=(1, 3))
    assert covered.min() > 0.5 * covered.max()  # in each quarter
    assert covered.mean() == pytest.approx(0.075, abs=0.01)
    assert is_seen_through(seen, behind, 0.9, 245)


def test_by_night_half_of_the_lost_stops_stay_lost():
    grey = np.full((128, 128, 3), 200, np.uint8)
    seen = weather.night(grey, 0.25, np.random.default_rng(0)).mean(axis=(0, 1))
    # linear light at a gain of 2, bluish
    linear = (200 / 255) ** 2.2 * 0.25 * 2 * np.array([0.8, 0.9, 1.0])
    np.testing.assert_allclose(seen, 255 * linear ** (1 / 2.2), atol=1)


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.01, 1), st.integers(0, 2**32))
def test_weather_takes_any_size(height, width, strength, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    results = (
        weather.fog(image, 500 * strength),
        weather.rain(image, 200 * strength, rng),
        weather.snow(image, 50 / strength, rng),
        weather.night(image, strength, rng),
    )
    for result in results:
        assert result.shape == image.shape
        assert result.dtype == np.uint8


def test_each_knob_does_more_the_further_it_is_turned(image):
    for name in ("fog_visibility", "rain_rate", "snow_visibility", "night", "gaussian_noise"):
        levels = range(1, len(CORRUPTIONS[name].values) + 1)
        changes = [difference(corrupt(image, CORRUPTIONS[name], it, "a"), image) for it in levels]
        assert changes == sorted(changes), name
