"""Frames in a batch get what they get alone."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from camss_ros.inference.segmenter import (
    FrameRequest,
    Segmentation,
    SegmentationCancelled,
    Segmenter,
)
from camss_ros.inference.stage_clock import StageClock
from camss_ros.model.schedule import SamplingOptions

SAMPLINGS = {
    "zero start": SamplingOptions(),
    "noise": SamplingOptions(steps=3, temperature=1.0),
    "noise in every step": SamplingOptions(steps=3, sampler="ddpm", samples=2, temperature=0.8),
    "iterative": SamplingOptions(iterations=3, samples=2, temperature=0.5),
    "random order": SamplingOptions(iterations=2, order="random"),
}


@pytest.fixture(scope="module")
def segmenter(model) -> Segmenter:
    return Segmenter(model, device="cpu", precision="fp32", seed=3)


def frame(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# Of several sizes, the network's own (32 x 48) among them.
FRAMES = [frame(1), frame(2, 32, 48), frame(3, 90, 70)]


def assert_same(one: Segmentation, other: Segmentation) -> None:
    assert one.labels.shape == other.labels.shape
    assert (one.labels == other.labels).mean() > 0.999
    assert np.abs(one.confidence.astype(int) - other.confidence).max() <= 1
    assert one.steps == other.steps
    assert one.warm == other.warm


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_a_frame_gets_in_a_batch_what_it_gets_alone(segmenter, sampling):
    segmenter.sampling = sampling
    alone = [segmenter.segment(image) for image in FRAMES]
    together = segmenter.segment_batch(FRAMES)
    for one, other in zip(together, alone, strict=True):
        assert_same(one, other)
    assert min(result.confidence.std() for result in alone) > 1  # of what could differ


def test_the_noise_is_one_for_all_images_of_a_batch_only_where_that_is_asked_for(tiny_model):
    tokens = torch.zeros(2, 32, 2, 3)
    plan = tiny_model.plan(SamplingOptions(steps=2, temperature=1.0, samples=3))

    def draw(**options: bool) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        drawn = tiny_model.draw_latents(tokens, plan, generator, **options)
        return drawn.unflatten(0, (3, 2))

    one = draw(same_noise=True)
    torch.testing.assert_close(one[:, 0], one[:, 1])
    assert not torch.allclose(one[0], one[1])  # but each sample has its own
    other = draw()
    assert not torch.allclose(other[:, 0], other[:, 1])


def test_every_frame_has_its_own_size_and_wishes(segmenter):
    segmenter.sampling = SamplingOptions()
    requests = [
        FrameRequest(FRAMES[0], output_size=(20, 28), uncertainty=True),
        FrameRequest(FRAMES[1]),
    ]
    first, second = segmenter.segment_batch(requests)
    assert first.labels.shape == first.uncertainty.shape == (20, 28)
    assert second.labels.shape == (32, 48)
    assert second.uncertainty is None
    alone = segmenter.segment(FRAMES[0], (20, 28), uncertainty=True)
    assert np.abs(first.uncertainty.astype(int) - alone.uncertainty).max() <= 1


def test_a_request_brings_its_sampling_and_network_size(segmenter):
    segmenter.sampling = SamplingOptions()
    before = segmenter.segment(FRAMES[0])
    sampling, size = SamplingOptions(steps=1, temperature=1.0), (32, 32)
    request = FrameRequest(FRAMES[0], sampling=sampling, network_size=size)
    (result,) = segmenter.segment_batch([request])
    assert (result.steps, before.steps) == (1, SamplingOptions().steps)
    assert not np.array_equal(result.confidence, before.confidence)
    assert segmenter.sampling == SamplingOptions()
    assert_same(segmenter.segment(FRAMES[0]), before)  # nothing of it stays
    for other in (replace(request, network_size=None), replace(request, sampling=None)):
        with pytest.raises(ValueError, match="the same network size and sampling"):
            segmenter.segment_batch([request, other])


def test_each_stream_has_a_warm_start_of_its_own(segmenter):
    """Also where one of them begins anew, and so takes other steps than the others."""
    segmenter.sampling = SamplingOptions(steps=2, temperature=1.0, warm_start_time=300)
    cameras = {"front": [1.0, 1.1, 1.2], "left": [5.0, 5.1, 9.0]}
    images = {"front": frame(1), "left": frame(2, 32, 48)}

    def requests(camera: str) -> list[FrameRequest]:
        image = images[camera]
        return [FrameRequest(image, stamp=stamp, stream=camera) for stamp in cameras[camera]]

    alone = {}
    for camera in cameras:
        segmenter.forget_last_frames()
        alone[camera] = [segmenter.segment_batch([request])[0] for request in requests(camera)]
    assert [result.warm for result in alone["left"]] == [False, True, False]
    segmenter.forget_last_frames()
    for place, pair in enumerate(zip(requests("front"), requests("left"), strict=True)):
        for camera, result in zip(cameras, segmenter.segment_batch(pair), strict=True):
            assert_same(result, alone[camera][place])
    with pytest.raises(ValueError, match="different streams"):
        segmenter.segment_batch([FrameRequest(FRAMES[0]), FrameRequest(FRAMES[1])])


def test_a_batch_may_be_one_array(segmenter):
    segmenter.sampling = SamplingOptions()
    batch = np.stack([frame(1), frame(2)])
    for one, other in zip(
        segmenter.segment_batch(batch), segmenter.segment_batch(list(batch)), strict=True
    ):
        assert_same(one, other)
    with pytest.raises(ValueError, match="at least one frame"):
        segmenter.segment_batch(batch[:0])


def test_what_is_no_frame_is_refused_and_a_batch_given_up(segmenter):
    segmenter.sampling = SamplingOptions()
    with pytest.raises(ValueError, match="at least one frame"):
        segmenter.segment_batch([])
    with pytest.raises(ValueError, match="expected an RGB image"):
        segmenter.segment_batch([FRAMES[0], np.zeros((5, 5), np.uint8)])
    with pytest.raises(SegmentationCancelled):
        segmenter.segment_batch(FRAMES, cancelled=lambda: True)
    assert len(segmenter.segment_batch(FRAMES, cancelled=lambda: False)) == 3


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_graph_takes_the_frames_of_a_batch_one_by_one(model, backend):
    pytest.importorskip("onnx")
    pytest.importorskip(backend)
    sampling = SAMPLINGS["noise in every step"]
    segmenter = Segmenter(model, device="cpu", precision="fp32", sampling=sampling, backend=backend)
    alone = [segmenter.segment(image) for image in FRAMES]
    together = segmenter.segment_batch(FRAMES)
    segmenter.close()
    for one, other in zip(together, alone, strict=True):
        assert_same(one, other)
    assert list(together[0].timings) == ["preprocess", "network", "postprocess", "total"]


def test_compiling_meets_every_size_of_a_batch_before_the_first_frame(model, monkeypatch, caplog):
    sizes = []

    def compiled(stage):
        """Stands in for `torch.compile`, which takes minutes."""
        if getattr(stage, "__name__", "") != "image_tokens":
            return stage

        def image_tokens(images):
            sizes.append(len(images))
            return stage(images)

        return image_tokens

    monkeypatch.setattr(torch, "compile", compiled)
    segmenter = Segmenter(model, device="cpu", precision="fp32", backend="compile")
    with caplog.at_level(logging.WARNING, "camss_ros"):
        segmenter.warm_up(40, 56, batch=3)
    assert sizes == [1, 2, 3, 1]
    assert caplog.records == []


def test_a_stage_that_ends_several_times_is_summed(monkeypatch):
    times = iter([0.0, 1.0, 3.0, 4.0, 8.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    clock = StageClock(torch.device("cpu"))
    for name in ("preprocess", "network", "preprocess", "network"):
        clock.mark(name)
    assert clock.seconds() == {"preprocess": 2.0, "network": 6.0, "total": 8.0}
