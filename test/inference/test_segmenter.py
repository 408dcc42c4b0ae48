"""Segmenter: numpy frames in, label images out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camss_ros.inference.device import select_device, select_dtype
from camss_ros.inference.memory import release_cached_memory
from camss_ros.inference.segmenter import FrameRequest, SegmentationCancelled, Segmenter
from camss_ros.model.checkpoint import load_pretrained
from camss_ros.model.schedule import SamplingOptions

STAGES = ["preprocess", "tokens", "transformer", "sampling", "decode", "postprocess"]


@pytest.fixture(scope="module")
def segmenter(model) -> Segmenter:
    return Segmenter(model, device="cpu", precision="fp32")


def frame(height: int = 40, width: int = 56, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=15)
@given(height=st.integers(1, 130), width=st.integers(1, 130))
def test_labels_have_the_size_of_the_frame(segmenter, height, width):
    result = segmenter.segment(frame(height, width))
    for image in (result.labels, result.confidence):
        assert image.shape == (height, width)
        assert image.dtype == np.uint8
    assert result.labels.max() < 11
    # The winner of 11 classes has at least a probability of 1 / 11.
    assert result.confidence.min() >= 255 // 11


def test_another_size_can_be_asked_for(segmenter):
    assert segmenter.segment(frame(), (20, 28)).labels.shape == (20, 28)


@pytest.mark.parametrize("size", [(0, 0), (-1, 5), (10.0, 20.0), (10,), 7])
def test_a_size_of_no_pixels_is_refused(segmenter, size):
    with pytest.raises(ValueError, match=r"expected an output_size .* at least 1 x 1"):
        segmenter.segment(frame(), size)


def test_it_is_the_networks_result_at_the_working_size(segmenter, model):
    image = frame(32, 48)
    network = load_pretrained(model)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    probabilities = network.generate(pixels, network.plan(segmenter.sampling))[0]
    result = segmenter.segment(image)
    assert np.array_equal(result.labels, probabilities.argmax(dim=0).numpy())
    expected = probabilities.amax(dim=0).numpy() * 255
    assert np.abs(result.confidence - expected).max() <= 0.5 + 1e-3


def test_another_working_size_is_the_networks_and_leaves_the_output_alone(segmenter, model):
    assert segmenter.can_resize
    assert segmenter.is_prepared(SamplingOptions(), (16, 32))
    image = frame(16, 32)
    network = load_pretrained(model)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    probabilities = network.generate(pixels, network.plan(segmenter.sampling))[0]
    whole = segmenter.segment(image)
    result, other = segmenter.segment_batch(
        [FrameRequest(each, network_size=(16, 32)) for each in (image, frame())]
    )
    assert np.array_equal(result.labels, probabilities.argmax(dim=0).numpy())
    assert other.labels.shape == (40, 56)
    assert np.array_equal(segmenter.segment(image).confidence, whole.confidence)


def test_a_frame_is_segmented_the_same_whatever_came_before(segmenter):
    segmenter.sampling = SamplingOptions(steps=2, temperature=1.0)
    first = segmenter.segment(frame(seed=1))
    segmenter.segment(frame(seed=2))
    again = segmenter.segment(frame(seed=1))
    segmenter.sampling = SamplingOptions()
    assert np.array_equal(first.labels, again.labels)
    assert np.array_equal(first.confidence, again.confidence)


def test_views_of_a_larger_image_are_frames_too(segmenter):
    large = frame(80, 112)
    view = large[10:50, 20:76]
    assert np.array_equal(segmenter.segment(view).labels, segmenter.segment(view.copy()).labels)


@pytest.mark.filterwarnings("error::UserWarning")
def test_frames_may_be_read_only(segmenter):
    image = frame(40, 56)
    expected = segmenter.segment(image).labels
    image.flags.writeable = False
    assert np.array_equal(segmenter.segment(image).labels, expected)


def test_a_default_device_of_the_callers_is_not_the_segmenters(segmenter, model):
    with torch.device("meta"):  # stands for "cuda": what has no device of its own is not on the CPU
        other = Segmenter(model, device="cpu", precision="fp32")
        result = other.segment(frame(90, 70))
    assert np.array_equal(result.labels, segmenter.segment(frame(90, 70)).labels)


def test_sampling_changes_between_frames(segmenter):
    for steps in (1, 7):
        segmenter.sampling = SamplingOptions(steps=steps)
        assert segmenter.segment(frame()).steps == steps
    segmenter.sampling = SamplingOptions()


@pytest.mark.parametrize("iterations", [1, 3])
def test_every_stage_is_timed(segmenter, iterations):
    segmenter.sampling = SamplingOptions(iterations=iterations)
    timings = segmenter.segment(frame()).timings
    segmenter.sampling = SamplingOptions()
    assert list(timings) == [*STAGES, "total"]
    assert sum(timings[name] for name in STAGES) == pytest.approx(timings["total"])


def test_bfloat16_agrees_with_float32_on_most_pixels(segmenter, model):
    half = Segmenter(model, device="cpu", precision="bf16")
    agree = half.segment(frame()).labels == segmenter.segment(frame()).labels
    assert agree.mean() > 0.9


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
    ],
)
def test_what_is_no_frame_is_refused_with_its_shape(segmenter, image):
    with pytest.raises(ValueError, match=r"expected an RGB image as uint8 .* got"):
        segmenter.segment(image)


@pytest.mark.parametrize("image", [torch.zeros(5, 5, 3, dtype=torch.uint8), [[[0, 0, 0]]], "a.png"])
def test_what_is_no_array_is_refused_with_its_kind(segmenter, image):
    with pytest.raises(ValueError, match=f"of NumPy.* got {type(image).__name__}: numpy.asarray"):
        segmenter.segment(image)


def test_a_cancelled_frame_is_given_up_and_the_next_one_segmented(segmenter):
    asked = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) == 3

    with pytest.raises(SegmentationCancelled):
        segmenter.segment(frame(), cancelled=cancelled)
    assert len(asked) == 3
    assert segmenter.segment(frame(), cancelled=lambda: False).labels.shape == (40, 56)


def test_a_closed_segmenter_says_so(model):
    closed = Segmenter(model, device="cpu")
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        closed.segment(frame())


def test_unknown_devices_and_precisions_are_named():
    with pytest.raises(ValueError, match="'tpu'"):
        select_device("tpu")
    with pytest.raises(ValueError, match="'int3'"):
        select_dtype("int3", torch.device("cpu"))


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_bfloat16_is_taken_from_ampere_on(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert select_dtype("auto", torch.device("cuda")) == dtype
    assert select_dtype("fp32", torch.device("cuda")) == torch.float32


def test_a_device_of_pytorch_and_a_seed_of_numpy_are_taken(model, segmenter):
    same = Segmenter(model, device=segmenter.device, precision="fp32", seed=np.int64(0))
    assert np.array_equal(same.segment(frame()).labels, segmenter.segment(frame()).labels)


def test_a_seed_that_is_no_whole_number_is_refused(model):
    with pytest.raises(ValueError, match=r"whole number .* not 1\.5"):
        Segmenter(model, device="cpu", seed=1.5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_says_what_to_do():
    with pytest.raises(ValueError, match="use device cpu or auto"):
        select_device("cuda")


def test_a_gpu_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert select_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="'cuda:2' asked for, but PyTorch sees 2"):
        select_device("cuda:2")


def test_memory_that_cannot_be_given_back_is_a_warning(monkeypatch, caplog):
    def fail():
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED\nat some place")

    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    release_cached_memory(torch.device("cuda"))
    assert "captures_underway" in caplog.text
    assert "some place" not in caplog.text
