"""The segmenter on a GPU: labels of the CPU, one graph a frame, memory, cancelling, company."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional

from camss_ros.inference.memory import is_out_of_memory
from camss_ros.inference.segmenter import (
    FrameRequest,
    Segmentation,
    SegmentationCancelled,
    Segmenter,
)
from camss_ros.lab.frame_launches import count_calls
from camss_ros.lab.frames import street_frames
from camss_ros.lab.random_weights import random_weights
from camss_ros.lab.segmenter_speed import matmul_peak
from camss_ros.model.group_norm import GroupNorm
from camss_ros.model.schedule import SamplingOptions

AGREEMENT = 0.995  # of the pixels with the labels of the CPU in float32
NOISY = SamplingOptions(steps=3, sampler="ddpm", temperature=0.8, samples=2)
ITERATIVE = SamplingOptions(steps=1, temperature=0.5, iterations=3)
WARM = SamplingOptions(steps=2, warm_start_time=300)
SIZE = (352, 480)

Open = Callable[..., Segmenter]


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return street_frames(SIZE, 4)


@pytest.fixture(scope="module")
def expected(frames: list[np.ndarray]) -> list[Segmentation]:
    reference = Segmenter(device="cpu", precision="fp32")
    return [reference.segment(frame) for frame in frames]


@pytest.fixture
def open_segmenter() -> Iterator[Open]:
    opened: list[Segmenter] = []

    def open_one(**arguments: object) -> Segmenter:
        opened.append(Segmenter(device="cuda", **arguments))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for segmenter in opened:
        segmenter.close()


def is_captured(result: Segmentation) -> bool:
    return "network" in result.timings


@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        *itertools.product(["torch"], ["fp32", "bf16", "fp16"]),
        ("compile", "bf16"),
        ("onnxruntime", "fp32"),
        ("tensorrt", "fp16"),
    ],
)
def test_labels_are_those_of_the_cpu(open_segmenter, frames, expected, backend, precision):
    try:
        segmenter = open_segmenter(backend=backend, precision=precision)
    except ValueError as error:  # not installed, or no such precision
        pytest.skip(str(error))
    segmenter.warm_up(*SIZE)
    for frame, wanted in zip(frames, expected, strict=True):
        result = segmenter.segment(frame)
        assert (result.labels == wanted.labels).mean() >= AGREEMENT
    assert is_captured(result)


@pytest.mark.parametrize("sampling", [SamplingOptions(), NOISY, ITERATIVE, WARM])
def test_a_graph_gives_what_its_operations_give_one_by_one(open_segmenter, frames, sampling):
    captured, plain = (
        open_segmenter(captured=on, sampling=sampling, precision="fp32", seed=7)
        for on in (True, False)
    )
    for number in (0, 0, 0, 1, 1, 2):
        result, wanted = (
            each.segment(frames[number], uncertainty=True) for each in (captured, plain)
        )
        assert (result.labels == wanted.labels).mean() > 0.9999
        assert np.abs(result.confidence.astype(int) - wanted.confidence).max() <= 1
        assert result.warm == wanted.warm
    assert is_captured(result) or sampling is WARM  # whose last frame begins anew
    assert not is_captured(wanted)


def test_a_batch_gives_what_its_frames_give_alone(open_segmenter, frames, expected):
    segmenter = open_segmenter(precision="fp32")
    small = np.ascontiguousarray(frames[1][::2, ::2])
    alone = segmenter.segment(small)
    for _ in range(3):
        first, second = segmenter.segment_batch([frames[0], FrameRequest(small, stream=1)])
    assert is_captured(first)
    assert (first.labels == expected[0].labels).mean() >= AGREEMENT
    assert (second.labels == alone.labels).mean() > 0.999


def test_a_frame_is_one_upload_one_launch_and_one_download(open_segmenter, frames):
    counts = count_calls(open_segmenter(), frames[0])
    assert counts["graph launches"] == counts["uploads"] == counts["downloads"] == 1
    assert counts["kernel launches"] == 0
    before = count_calls(open_segmenter(captured=False), frames[0])
    assert before["graph launches"] == 0
    assert before["kernel launches"] > 50


def test_times_of_stages_add_up_to_the_frame(open_segmenter, frames):
    for captured in (True, False):
        segmenter = open_segmenter(captured=captured)
        for _ in range(3):
            timings = dict(segmenter.segment(frames[0]).timings)
        total = timings.pop("total")
        assert total > 0
        assert sum(timings.values()) == pytest.approx(total, rel=0.01)


def test_a_model_comes_and_goes_while_another_one_captures(open_segmenter, frames):
    """Work of another thread on the GPU spoils no capture, nor does the end of its graphs."""
    segmenter = open_segmenter()
    end, errors = threading.Event(), []

    def load() -> None:
        try:
            while not end.is_set():
                other = Segmenter(device="cuda")
                for _ in range(3):
                    other.segment(frames[0])
                other.close()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for height in range(100, 110):
            # not while the other one is
            results = (segmenter.segment(frames[0], (height, 120)) for _ in range(1000))
            assert any(map(is_captured, results))
    finally:
        end.set()
        thread.join()
    assert errors == []


def test_out_of_memory_is_told_and_what_comes_after_is_segmented(open_segmenter, frames, expected):
    segmenter = open_segmenter(precision="fp32")
    segmenter.segment(frames[0])
    large = FrameRequest(frames[0], network_size=(1760, 2400))
    segmenter.release_memory()
    total = torch.cuda.get_device_properties(0).total_memory
    limit = torch.cuda.memory_reserved() + 64 * 2**20
    torch.cuda.set_per_process_memory_fraction(limit / total)
    with pytest.raises(RuntimeError) as caught:
        segmenter.segment_batch([large])
    assert is_out_of_memory(caught.value)
    del caught
    torch.cuda.set_per_process_memory_fraction(1.0)
    segmenter.release_memory()
    for _ in range(3):
        result = segmenter.segment(frames[0])
    assert (result.labels == expected[0].labels).mean() >= AGREEMENT


def test_opening_and_closing_leaves_no_memory_on_the_gpu(frames):
    held = []
    for _ in range(20):
        segmenter = Segmenter(device="cuda")
        for _ in range(3):
            segmenter.segment(frames[0])
        segmenter.close()
        held.append(torch.cuda.memory_reserved())
    assert held[-1] <= held[1]


def test_many_sizes_keep_a_bounded_number_of_graphs(open_segmenter, frames):
    segmenter = open_segmenter()
    held = []
    for height in range(100, 180):
        for _ in range(2):
            segmenter.segment(frames[0], (height, 120))
        held.append(torch.cuda.memory_reserved())
    assert held[-1] <= 1.2 * held[39]


@pytest.mark.parametrize("captured", [True, False])
def test_a_frame_given_up_in_the_middle_leaves_nothing(open_segmenter, frames, expected, captured):
    segmenter = open_segmenter(precision="fp32", captured=captured)
    for _ in range(3):
        segmenter.segment(frames[0])
    for stop in range(2 if captured else 5):
        asked = iter([*[False] * stop, True])
        with pytest.raises(SegmentationCancelled):
            segmenter.segment(frames[1], cancelled=lambda asked=asked: next(asked))
        result = segmenter.segment(frames[2])
        assert (result.labels == expected[2].labels).mean() >= AGREEMENT


_OTHER_PROCESS = """
import json
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.frames import street_frames
(frame,) = street_frames((352, 480), 1)
segmenter = Segmenter(device="cuda", precision="fp32")
for _ in range(50):
    result = segmenter.segment(frame)
print(json.dumps([result.labels.tolist(), "network" in result.timings]))
"""


def test_two_processes_share_a_card(expected):
    others = [
        subprocess.Popen([sys.executable, "-c", _OTHER_PROCESS], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for other in others:
        printed, _ = other.communicate(timeout=120)
        assert other.returncode == 0
        labels, captured = json.loads(printed)
        assert captured
        assert (np.array(labels) == expected[0].labels).mean() >= AGREEMENT


def test_the_large_model_runs_with_either_decoder(frames):
    for fast_decoder in (False, True):
        with random_weights("cam-seg-base", (256, 256), fast_decoder) as directory:
            segmenter = Segmenter(directory, device="cuda", sampling=SamplingOptions(steps=2))
            plain = Segmenter(
                directory, device="cuda", sampling=SamplingOptions(steps=2), captured=False
            )
            for frame in frames:
                result, wanted = segmenter.segment(frame), plain.segment(frame)
                assert (result.labels == wanted.labels).mean() > 0.999
            assert is_captured(result)
            segmenter.close()
            plain.close()


def test_the_matmul_peak_is_measured():
    assert matmul_peak(torch.device("cuda"), torch.bfloat16, 1024) > 1e11


def test_a_capture_that_failed_leaves_the_gpu_usable(open_segmenter, frames, monkeypatch):
    segmenter = open_segmenter(precision="fp32")
    decode = segmenter._backend._decode
    monkeypatch.setattr(
        segmenter._backend,
        "_decode",
        lambda latents: decode(latents * latents.isfinite().all().item()),
    )
    for _ in range(3):
        result = segmenter.segment(frames[0])
    assert not is_captured(result)
    torch.cuda.empty_cache()
    assert torch.rand(1, device="cuda") < 1
    other = open_segmenter(precision="fp32")
    for _ in range(3):
        result = other.segment(frames[0])
    assert is_captured(result)


def test_group_norm_keeps_the_channels_of_a_pixel_together() -> None:
    generator = torch.Generator().manual_seed(0)
    images = (20 + 3 * torch.randn(2, 64, 30, 40, generator=generator)).bfloat16()
    there = images.to("cuda").contiguous(memory_format=torch.channels_last)
    norm = GroupNorm(16, 64).to("cuda", torch.bfloat16)
    result = norm(there)
    expected = functional.group_norm(images.double(), 16, eps=norm.eps)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert (result.cpu().double() - expected).abs().max() < 0.05
