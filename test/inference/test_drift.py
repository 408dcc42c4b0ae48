"""Drift: frames are told apart from those that a model was trained on."""

import shutil

import numpy as np
import pytest
from file_limit import file_limit
from safetensors.numpy import save_file

from camss_ros.inference.drift import (
    DRIFT_FILE,
    LEAST_FRAMES,
    TokenStatistics,
    learn_reference,
    load_reference,
    save_reference,
)
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.checkpoint import BUNDLED, load_pretrained, save_pretrained

CHANNELS = 40


def tokens(count, seed=0, shift=0.0):
    """Of frames that differ along three directions most."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(3, CHANNELS))
    return rng.normal(size=(count, 3)) @ directions * 5 + rng.normal(size=(count, CHANNELS)) + shift


def learnt(pooled, unsure=0.1):
    """Where images are the indices of their tokens."""
    confidence = np.full((10, 10), 255, np.uint8)
    confidence.ravel()[: int(100 * unsure)] = 100
    return learn_reference(
        [range(len(pooled))], lambda index: (pooled[index], confidence), (32, 48)
    ), confidence


def test_the_distance_is_that_of_mahalanobis():
    pooled = tokens(5000, shift=20.0)
    statistics = TokenStatistics.of(pooled)
    inverse = np.linalg.inv(np.cov(pooled.T))
    for each in tokens(5, seed=1, shift=20.5):
        offset = each - pooled.mean(axis=0)
        expected = np.sqrt(offset @ inverse @ offset / CHANNELS)
        assert statistics.distance(each) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("count", [LEAST_FRAMES, 60, 400])
def test_few_frames_of_the_same_kind_are_beyond_the_limit_and_all_of_another(count):
    reference, confidence = learnt(tokens(count))
    same = [reference.drift(each, confidence).token_distance for each in tokens(500, seed=1)]
    assert np.mean(np.array(same) > 1) < 0.08  # 1 % where there are frames enough
    other = [
        reference.drift(each, confidence).token_distance for each in tokens(500, seed=2, shift=2)
    ]
    assert np.mean(np.array(other) > 1) > 0.95


def test_unsure_pixels_are_held_against_those_of_the_training():
    reference, confidence = learnt(tokens(40))
    assert reference.unsure_limit == pytest.approx(0.1)
    assert reference.drift(tokens(1)[0], confidence).unsure_share == pytest.approx(1)
    confidence[5:] = 127
    assert reference.drift(tokens(1)[0], confidence).unsure_share == pytest.approx(6)


def test_too_few_or_equal_frames():
    with pytest.raises(ValueError, match="training frames are too few"):
        learnt(tokens(LEAST_FRAMES - 1))
    reference, confidence = learnt(np.ones((30, CHANNELS)))
    assert np.isfinite(reference.drift(np.zeros(CHANNELS), confidence).token_distance)


def test_it_is_kept_beside_the_weights_and_of_no_use_to_others(tiny_model, tmp_path, caplog):
    save_pretrained(tiny_model, tmp_path)
    image, *frames = np.random.default_rng(0).integers(
        0, 256, (LEAST_FRAMES + 1, 32, 48, 3), np.uint8
    )
    segmenter = Segmenter(tmp_path, device="cpu")
    confidence = segmenter.segment(image).confidence
    assert segmenter.drift(image, confidence) is None
    reference = learn_reference(
        [frames],
        lambda frame: (segmenter.pooled_tokens(frame), segmenter.segment(frame).confidence),
        segmenter.input_size,
    )
    save_reference(reference, tmp_path)
    assert (tmp_path / DRIFT_FILE).stat().st_size < 16_000
    again = Segmenter(tmp_path, device="cpu", network_size=(64, 96))
    expected = reference.drift(segmenter.pooled_tokens(image), confidence)
    found = again.drift(image, confidence)  # at the size of the reference, whatever is in use
    assert found.token_distance == pytest.approx(expected.token_distance, rel=0.02)
    assert found.unsure_share == expected.unsure_share
    other = load_pretrained(tmp_path)
    other.denoiser.input_proj.weight.data += 1
    save_pretrained(other, tmp_path)
    assert load_reference(tmp_path) is None
    assert "other weights" in caplog.text
    save_file({"mean": np.zeros(3, np.float32)}, tmp_path / DRIFT_FILE)
    assert load_reference(tmp_path) is None
    (tmp_path / DRIFT_FILE).write_bytes(b"\x00" * 9)
    assert load_reference(tmp_path) is None
    assert caplog.text.count("cannot be read") == 2


def test_the_bundled_model_has_that_of_its_weights():
    """Made by `camss-ros drift learn --model camss-tiny --config camss_tiny_street --root DATA`."""
    assert load_reference(BUNDLED / "camss-tiny") is not None


def test_a_full_disk_is_told_as_one(tmp_path, small_model):
    model = shutil.copytree(small_model, tmp_path / "model")
    reference, _ = learnt(tokens(LEAST_FRAMES))
    with file_limit(100), pytest.raises(OSError, match="File too large"):
        save_reference(reference, model)
    assert load_reference(model) is None
