"""A frame as one CUDA graph, with a stand-in on the CPU for what captures and replays it."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from cuda_stand_in import CPU, StandIn, replace_cuda
from small_model import small_official_config

from camss_ros.inference import segmenter as segmenter_module
from camss_ros.inference.backends import frame_graphs
from camss_ros.inference.backends.frame_graphs import FrameKind
from camss_ros.inference.backends.torch_backend import TorchBackend
from camss_ros.inference.frame_ops import OutputSpec
from camss_ros.inference.segmenter import FrameRequest, SegmentationCancelled, Segmenter
from camss_ros.model.camseg import CamSeg
from camss_ros.model.checkpoint import load_network, save_pretrained
from camss_ros.model.fold import fold_batch_norms
from camss_ros.model.image_autoencoder import ImageAutoencoderConfig
from camss_ros.model.schedule import SamplingOptions

NOISY = SamplingOptions(steps=3, sampler="ddpm", temperature=0.8, samples=2)
ITERATIVE = SamplingOptions(steps=1, temperature=0.5, iterations=3)
WARM = SamplingOptions(steps=2, warm_start_time=300)

Open = Callable[..., Segmenter]


@pytest.fixture
def cuda(monkeypatch) -> StandIn:
    return replace_cuda(monkeypatch)


@pytest.fixture
def open_captured(cuda, model, monkeypatch) -> Open:
    """Opens segmenters that capture their frames."""

    def open_backend(name, directory, *_):
        network = load_network(directory, inference_only=True)
        fold_batch_norms(network)
        return TorchBackend(network, CPU, torch.float32, captured=True)

    def open_one(model=model, **arguments) -> Segmenter:
        with monkeypatch.context() as patch:
            patch.setattr(segmenter_module, "open_backend", open_backend)
            return Segmenter(model, device="cpu", **arguments)

    return open_one


def open_plain(model, **arguments) -> Segmenter:
    return Segmenter(model, device="cpu", precision="fp32", **arguments)


def frame(seed: int = 0, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def is_captured(result) -> bool:
    return "network" in result.timings


def check_equal(result, expected) -> None:
    assert np.array_equal(result.labels, expected.labels)
    # on the CPU other operations enlarge: the same numbers up to rounding
    assert np.abs(result.confidence.astype(int) - expected.confidence).max() <= 1
    if expected.uncertainty is not None:
        assert np.array_equal(result.uncertainty, expected.uncertainty)
    assert (result.warm, result.steps) == (expected.warm, expected.steps)


def test_frames_are_staged_in_main_memory_whatever_the_default_device(open_captured, model):
    with torch.device("meta"):
        segmenter = open_captured()
        results = [segmenter.segment(frame(number)) for number in range(3)]
    assert is_captured(results[-1])
    check_equal(results[-1], open_plain(model).segment(frame(2)))


@pytest.mark.parametrize("sampling", [SamplingOptions(steps=2), NOISY, ITERATIVE])
def test_replayed_frames_are_those_that_run_operation_by_operation(open_captured, model, sampling):
    captured = open_captured(sampling=sampling, seed=5)
    plain = open_plain(model, sampling=sampling, seed=5)
    for number in range(5):
        result = captured.segment(frame(number), uncertainty=True)
        check_equal(result, plain.segment(frame(number), uncertainty=True))
        assert is_captured(result) == (number > 0)
    assert list(result.timings) == ["preprocess", "network", "postprocess", "total"]


@pytest.mark.parametrize("sampling", [SamplingOptions(steps=2), ITERATIVE])
def test_the_official_network_is_replayed_too(open_captured, tmp_path, sampling):
    # with attention
    autoencoder = ImageAutoencoderConfig(4, 32, (1, 1), 1, (1,))
    config = small_official_config(mask_autoencoder=autoencoder)
    torch.manual_seed(0)
    save_pretrained(CamSeg(config), tmp_path)
    captured, plain = (
        opened(tmp_path, sampling=sampling) for opened in (open_captured, open_plain)
    )
    for number in range(3):
        result = captured.segment(frame(number))
        check_equal(result, plain.segment(frame(number)))
    assert is_captured(result)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_replayed_warm_start_continues_the_frame_before(open_captured, model, temperature):
    sampling = dataclasses.replace(WARM, temperature=temperature)
    captured, plain = (
        open_captured(sampling=sampling),
        open_plain(model, sampling=sampling),
    )
    moved = frame()
    moved[:16, :24] ^= 64  # for some tokens
    replayed = 0
    for clip in ([frame(), moved, frame(), moved], [frame(1), frame(1), moved]):
        for segmenter in (captured, plain):
            segmenter.forget_last_frames()
        for image in clip:
            result = captured.segment(image)
            check_equal(result, plain.segment(image))
            replayed += is_captured(result)
    assert replayed >= 4


def test_in_a_batch_one_camera_may_continue_and_another_begin(open_captured, model):
    captured = open_captured(sampling=WARM)
    plain = open_plain(model, sampling=WARM)
    for number in range(4):
        requests = [
            FrameRequest(frame(0), stream="front"),
            FrameRequest(frame(number), stream="left", output_size=(20, 30)),
        ]
        results, expected = (each.segment_batch(requests) for each in (captured, plain))
        for pair in zip(results, expected, strict=True):
            check_equal(*pair)
    assert is_captured(results[0])


def test_sizes_outputs_and_networks_size_make_kinds_of_their_own(open_captured, model):
    captured, plain = open_captured(), open_plain(model)
    requests = [
        [FrameRequest(frame(1))],
        [FrameRequest(frame(2), output_size=(80, 90), uncertainty=True)],
        [FrameRequest(frame(3, 32, 48))],
        [FrameRequest(frame(4, 10, 9), network_size=(16, 32))],
        [FrameRequest(frame(5)), FrameRequest(frame(6, 30, 20), uncertainty=True)],
    ]
    for turn in range(3):
        for batch in requests:
            results, expected = (each.segment_batch(batch) for each in (captured, plain))
            for pair in zip(results, expected, strict=True):
                check_equal(*pair)
            assert is_captured(results[0]) == (turn > 0)


def test_a_frame_is_one_upload_one_launch_and_one_download(open_captured, cuda):
    segmenter = open_captured()
    for number in range(2):
        segmenter.segment(frame(number))
    with cuda.logged() as log:
        segmenter.segment(frame(2))
    assert log == ["copy_", "replay", "copy_", "wait"]
    with cuda.logged() as log:
        segmenter.segment(frame(2), (20, 28))  # of another kind
    assert len(log) > 100
    assert "replay" not in log


def test_a_warm_start_adds_copies_on_the_device_only(open_captured, cuda):
    segmenter = open_captured(sampling=WARM)
    for _ in range(3):
        segmenter.segment(frame())
    with cuda.logged() as log:
        assert segmenter.segment(frame()).warm
    assert log == ["copy_"] * 3 + ["replay"] + ["clone"] * 2 + ["copy_", "wait"]


def test_results_are_not_overwritten_by_later_frames(open_captured):
    segmenter = open_captured()
    segmenter.segment(frame(0))
    first = segmenter.segment(frame(1), uncertainty=False)
    labels = first.labels.copy()
    segmenter.segment(frame(2))
    assert np.array_equal(first.labels, labels)


def test_pictures_of_all_sizes_capture_nothing_and_are_forgotten(open_captured):
    segmenter = open_captured()
    for turn in range(2):
        for height in range(20, 20 + frame_graphs._KEPT + 1):
            assert not is_captured(segmenter.segment(frame(turn, height)))
    assert len(segmenter._backend._graphs._known) == frame_graphs._KEPT


def test_where_a_capture_fails_frames_run_without_and_one_warning_says_so(
    open_captured, model, cuda, caplog
):
    segmenter, plain = open_captured(), open_plain(model)
    cuda.capture_error = RuntimeError("operation not permitted\nCUDA kernel errors")
    with caplog.at_level(logging.WARNING, "camss_ros"):
        for number in range(4):
            result = segmenter.segment(frame(number))
            check_equal(result, plain.segment(frame(number)))
            assert not is_captured(result)
    (record,) = caplog.records
    assert "operation not permitted" in record.message
    assert "kernel errors" not in record.message
    assert cuda.allocating == []  # or PyTorch could give nothing back to the GPU any more
    assert not cuda.generator.capturing  # or nothing could be drawn from it any more


def test_all_graphs_of_a_gpu_are_captured_in_one_stream(open_captured):
    """For each that it has computed in, cuBLAS keeps memory for ever."""
    first, second = (open_captured()._backend._graphs._stream for _ in range(2))
    assert first is second


def test_a_model_is_closed_while_another_one_is_captured(open_captured, model, cuda):
    """As where a model takes the place of one in use."""
    old, new = open_captured(), open_captured()
    for _ in range(2):
        assert old.segment(frame()).labels is not None
    decode, errors = new._backend._decode, []

    def close() -> None:
        try:
            old.close()
        except Exception as error:
            errors.append(error)

    def decode_meanwhile(latents):
        if cuda.allocating:  # in the capture
            closing = threading.Thread(target=close)
            closing.start()
            closing.join()
        return decode(latents)

    new._backend._decode = decode_meanwhile
    results = [new.segment(frame(1)) for _ in range(3)]
    assert [is_captured(result) for result in results] == [False, True, True]
    assert errors == []
    assert old._backend is None
    check_equal(results[-1], open_plain(model).segment(frame(1)))


def test_nothing_is_captured_while_another_model_compiles(open_captured):
    """Compilers wait for all of the GPU, which no capture survives; frames do not wait for them."""
    segmenter = open_captured()
    with frame_graphs.capturing:
        assert not any(is_captured(segmenter.segment(frame())) for _ in range(3))
    assert is_captured(segmenter.segment(frame()))


def test_what_depends_on_data_is_noticed_by_the_stand_in(open_captured, monkeypatch, caplog):
    segmenter = open_captured()
    decode = segmenter._backend._decode

    def waits(latents):
        assert bool(torch.isfinite(latents).all())
        return decode(latents)

    monkeypatch.setattr(segmenter._backend, "_decode", waits)
    for _ in range(3):
        assert not is_captured(segmenter.segment(frame()))
    assert "not permitted when stream is capturing" in caplog.text


@pytest.mark.parametrize("stage", ["preprocess", "network"])
def test_a_frame_given_up_leaves_nothing_to_the_next(open_captured, model, stage):
    segmenter, plain = open_captured(), open_plain(model)
    for _ in range(2):
        segmenter.segment(frame())
    asked = iter([False, True] if stage == "network" else [True])
    with pytest.raises(SegmentationCancelled):
        segmenter.segment(frame(1), cancelled=lambda: next(asked))
    check_equal(segmenter.segment(frame(2)), plain.segment(frame(2)))


def test_released_memory_is_taken_again_when_it_is_needed(open_captured, cuda):
    segmenter = open_captured()
    for _ in range(2):
        result = segmenter.segment(frame())
    assert is_captured(result)
    with cuda.logged() as log:
        segmenter.release_memory()
    assert log == ["wait"]
    assert [is_captured(segmenter.segment(frame())) for _ in range(3)] == [False, True, True]
    segmenter.close()


def test_the_plan_of_a_graph_outlives_many_others(open_captured, model):
    segmenter, plain = open_captured(), open_plain(model)
    wanted = FrameRequest(frame(), sampling=SamplingOptions(steps=2))
    for steps in [2, *range(3, 30), 2]:
        for _ in range(2 if steps == 2 else 1):
            request = dataclasses.replace(wanted, sampling=SamplingOptions(steps=steps))
            (result,) = segmenter.segment_batch([request])
    assert is_captured(result)
    check_equal(result, plain.segment_batch([wanted])[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_captured_stays_on_a_device_that_is_no_cpu(tiny_config, dtype):
    """On the meta device: it resizes as a GPU does, and refuses tensors of two devices."""
    meta = torch.device("meta")
    with meta:
        network = CamSeg(tiny_config).eval()
    backend = TorchBackend(network, meta, dtype)
    outputs = OutputSpec((20, 28), uncertainty=True), OutputSpec((32, 48))
    kind = FrameKind(((40, 56), (32, 48)), outputs, WARM, (32, 48), continues=True)
    frames = [torch.empty(*shape, 3, dtype=torch.uint8, device=meta) for shape in kind.shapes]
    states = [backend.blank_state(1, kind.size), None]
    images, left = backend._whole_frame(kind, 11, backend._plan(WARM), frames, None, states)
    assert (images.dtype, images.shape) == (torch.uint8, (3 * 20 * 28 + 2 * 32 * 48,))
    for each in left:
        assert each.latents.dtype == torch.float32
        assert each.latents.device == meta
