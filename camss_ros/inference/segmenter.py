"""Segmenter: numpy frames in, label images out. The node and the command line both use it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import torch

from camss_ros.images.label_class import LabelClass
from camss_ros.inference.auto import BackendChoice
from camss_ros.inference.backends.base import Backend, BatchRequest
from camss_ros.inference.backends.open_backend import open_backend
from camss_ros.inference.device import select_device
from camss_ros.inference.drift import Drift, load_reference
from camss_ros.inference.frame_ops import OutputSpec, check_output_size
from camss_ros.inference.graphs.calibration import CalibrationFrames
from camss_ros.inference.memory import release_cached_memory
from camss_ros.inference.network_size import can_resize, checked_size
from camss_ros.inference.propagation import LabelPropagation
from camss_ros.inference.stage_clock import StageClock
from camss_ros.inference.temporal_state import TemporalState
from camss_ros.model.checkpoint import CONFIG_FILE, find_model, read_config
from camss_ros.model.schedule import SamplingOptions
from camss_ros.model.warm_start import FrameState
from camss_ros.seeds import check_seed

DEFAULT_MODEL = "camss-tiny"


class SegmentationCancelled(Exception):  # noqa: N818 -- like CancelledError, not a failure
    """`cancelled` turned true between two stages of a frame."""


@dataclass(frozen=True)
class Segmentation:
    """Result for one frame.

    Attributes:
        labels: uint8 [H, W] class ids of the model's label set.
        confidence: uint8 [H, W], probability of that class times 255.
        timings: seconds of preprocess, tokens, transformer, sampling, decode, postprocess and
            total, of the whole batch that the frame was in. Iterative decoding alternates
            transformer and sampling: all of it is `sampling`. A backend that runs the network as
            one graph has `network` in place of the four. Of a propagated frame: `propagation`.
        steps: denoiser evaluations a token took in each iteration.
        uncertainty: uint8 [H, W], entropy over the classes (255: all equally likely), where it
            was asked for.
        warm: the frame continued a clip: its steady tokens began from the latents of the frame
            before.
        propagated: the labels are those of the frame before, carried along by the optical flow.
    """

    labels: np.ndarray
    confidence: np.ndarray
    timings: dict[str, float]
    steps: int
    uncertainty: np.ndarray | None = None
    warm: bool = False
    propagated: bool = False


@dataclass(frozen=True)
class FrameRequest:
    """A frame, and what is wanted of it.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        output_size: (height, width) of the result, by default the image's.
        uncertainty: also compute the uncertainty.
        stamp: time of the frame, s; without it every frame is taken to follow the one before.
        stream: what the frame is from, such as a camera: a frame continues the last one of the same
            stream.
        network_size: working (height, width) for this frame, multiples of 16; by default the
            segmenter's `input_size`. Another one needs `can_resize`.
        sampling: by default the segmenter's.
    """

    image: np.ndarray
    output_size: tuple[int, int] | None = None
    uncertainty: bool = False
    stamp: float | None = None
    stream: Hashable = 0
    network_size: tuple[int, int] | None = None
    sampling: SamplingOptions | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return self.output_size or (self.image.shape[0], self.image.shape[1])


class Segmenter:
    """Segments frames with one model on one device.

    Frames run at the model's working size, unless a request asks for another; results come back at
    the frame's size. The same frame with the same options gives the same result, whatever was
    segmented before; but not where `warm_start_time` of its sampling or `keyframe_interval` says
    otherwise: a frame then begins from the latents of the one before of its stream, or has its
    labels, unless it is no continuation of it (`temporal_state.py` says when). Not thread-safe.
    Once it is closed, what needs the network raises RuntimeError.

    Attributes:
        input_size: working (height, width) that it is made for: `network_size` or the model's own.
        can_resize: the model works at other sizes too.
        sampling: of the frames that do not ask for another.
        drift_reference: what the model was trained on; None where it does not say.
        unmeasured: with backend "auto", what `measure` has left to be measured; else None.

    Args:
        model: bundled name, directory or Hub id.
        device: "auto", "cuda", "cuda:N" or "cpu", or a `torch.device`.
        precision: of the network: "auto", "fp32", "bf16", "fp16" or "int8". Latents stay float32.
        sampling: steps, sampler and so on; see `SamplingOptions`.
        seed: of the noise of every frame, from 0 to 2^64 - 1.
        backend: what runs the network: "torch", "compile", "onnxruntime", "openvino", "tensorrt",
            or "auto" for the fastest that is found by measuring on this machine; see `auto.py`.
        network_size: working (height, width), multiples of 16; by default the model's own. Larger
            is slower, smaller coarser.
        keyframe_interval: the network runs on every so many frames of a stream; see
            `propagation.py`. 1: on all.
        calibration: frames that precision "int8" takes the ranges of values from, such as
            `CalibrationScenes` of `street/calibration_scenes.py`; looked at where a graph is built.
        measure: where backend "auto" has nothing measured, do it now; otherwise PyTorch runs the
            network.
        captured: on a GPU, PyTorch runs a whole frame as one CUDA graph; without, it launches the
            operations one by one, and times tell the stages apart.

    Raises:
        ValueError: an argument is out of range, or the backend is not available.
        ModelError: the model cannot be found or read.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        sampling: SamplingOptions | None = None,
        seed: int = 0,
        backend: str = "torch",
        network_size: tuple[int, int] | None = None,
        keyframe_interval: int = 1,
        calibration: CalibrationFrames | None = None,
        measure: bool = True,
        captured: bool = True,
    ) -> None:
        self.unmeasured: BackendChoice | None = None
        self._seed = check_seed(seed)
        self._propagation = LabelPropagation(keyframe_interval)
        self.device = select_device(device)
        self.sampling = sampling or SamplingOptions()
        directory = find_model(model)
        config = read_config(directory / CONFIG_FILE)
        self.model_name = config.name
        self.classes: tuple[LabelClass, ...] = config.label_set
        self.input_size = checked_size(config, network_size)
        self.can_resize = can_resize(config)
        self._config = config
        self.drift_reference = load_reference(directory)
        if backend == "auto":
            choice = BackendChoice(
                directory, self.device, precision, self.input_size, self.sampling
            )
            chosen = choice.known()
            if chosen is None and not measure:
                self.unmeasured, chosen = choice, choice.possible[0]
            chosen = chosen or choice.measure()
            backend, precision = chosen.backend, chosen.precision
        opened = open_backend(backend, directory, self.device, precision, calibration, captured)
        self.backend, self.dtype = opened.name, opened.dtype
        self._backend: Backend | None = opened
        self._generator = torch.Generator(self.device)
        self._temporal: defaultdict[Hashable, TemporalState[FrameState]]
        self._temporal = defaultdict(TemporalState)
        self._batch = 1

    def segment(
        self,
        image: np.ndarray,
        output_size: tuple[int, int] | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
        uncertainty: bool = False,
        stamp: float | None = None,
    ) -> Segmentation:
        """Segment one frame, uint8 [H, W, 3] RGB: a batch of one.

        Arguments are as in `FrameRequest`, `cancelled` and errors as of `segment_batch`.
        """
        request = FrameRequest(image, output_size, uncertainty, stamp)
        return self.segment_batch([request], cancelled=cancelled)[0]

    @torch.inference_mode()
    def segment_batch(
        self,
        frames: Sequence[np.ndarray | FrameRequest] | np.ndarray,
        *,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Segmentation]:
        """Segment frames of any sizes together, each with the result that it has alone.

        The results are equal up to the rounding of floats: every frame has the same noise, that of
        the seed. PyTorch runs the batch as one; an exported graph is of one frame, and those
        backends run one after the other.

        Args:
            frames: at least one: images, uint8 [H, W, 3] RGB, or with what is wanted of each; or
                an array of images, [B, H, W, 3]. The place of an image is its stream.
            cancelled: asked between stages; where it says true the batch is given up.

        Returns:
            A result for each frame, in their order.

        Raises:
            ValueError: no frame, not such an image, an output size of no pixels, a network size
                that the model cannot work at, frames that differ in network size or sampling, or
                two frames of a stream with a warm start or key frames.
            SegmentationCancelled: `cancelled` said true.
        """
        requests = [
            frame if isinstance(frame, FrameRequest) else FrameRequest(frame, stream=place)
            for place, frame in enumerate(frames)
        ]
        if not requests:
            raise ValueError("expected at least one frame to segment, got none")
        for request in requests:
            check_image(request.image)
            check_output_size(request.size)
        size, sampling = self._setting(requests)
        clips = sampling.warm_start_time or self._propagation.interval > 1
        if clips and len({request.stream for request in requests}) < len(requests):
            raise ValueError(
                "with warm start or key frames, the frames of a batch must be of different streams"
            )
        found = [self._propagation.carry(each, (size, sampling)) for each in requests]
        due = [each for each, result in zip(requests, found, strict=True) if result is None]
        computed = iter(self._run(due, sampling, size, cancelled) if due else ())
        return [next(computed) if result is None else result for result in found]

    def _setting(self, requests: Sequence[FrameRequest]) -> tuple[tuple[int, int], SamplingOptions]:
        """Network size and sampling of a batch."""
        own = self.input_size
        sizes = {checked_size(self._config, each.network_size or own) for each in requests}
        samplings = {each.sampling or self.sampling for each in requests}
        if len(sizes) > 1 or len(samplings) > 1:
            raise ValueError("the frames of a batch must have the same network size and sampling")
        return sizes.pop(), samplings.pop()

    def _run(
        self,
        requests: Sequence[FrameRequest],
        sampling: SamplingOptions,
        size: tuple[int, int],
        cancelled: Callable[[], bool] | None,
    ) -> list[Segmentation]:
        """One pass of the backend."""
        backend = self._open_backend()
        states = None
        if sampling.warm_start_time:
            kind = sampling.samples, size
            states = [self._temporal[r.stream].begin(r.image, r.stamp, kind) for r in requests]
        else:
            self._temporal.clear()
        self._generator.manual_seed(self._seed)
        clock = StageClock(self.device)

        def stage_done(name: str) -> None:
            clock.mark(name)
            if cancelled is not None and cancelled():
                raise SegmentationCancelled

        outputs = [OutputSpec(each.size, each.uncertainty) for each in requests]
        images = [each.image for each in requests]
        batch = BatchRequest(images, sampling, size, self._generator, outputs, stage_done, states)
        results = backend.segment(batch, len(self.classes))
        clock.mark("postprocess")
        timings, steps = clock.seconds(), backend.steps(sampling)
        segmented = []
        for request, each, state in zip(requests, results, states or repeat(None), strict=False):
            if states is not None:
                self._temporal[request.stream].keep(each.state)
            found = each.labels[0], each.labels[1], timings, steps, each.uncertainty
            result = Segmentation(*found, warm=state is not None)
            self._propagation.keep(request, result)
            segmented.append(result)
        return segmented

    def pooled_tokens(self, image: np.ndarray) -> np.ndarray:
        """What the network sees in an image as a whole.

        Args:
            image: uint8 [H, W, 3] RGB.

        Returns:
            Its image tokens at `input_size`, averaged over their places, float32 [C].

        Raises:
            ValueError: no such image.
        """
        check_image(image)
        return self._open_backend().pooled_tokens(image, self.input_size).cpu().numpy()

    def drift(self, image: np.ndarray, confidence: np.ndarray) -> Drift | None:
        """How a frame differs from those that the model was trained on; costs its image tokens.

        Args:
            image: uint8 [H, W, 3] RGB.
            confidence: of its result, uint8 [H, W].

        Returns:
            None without a `drift_reference`.

        Raises:
            ValueError: no such image.
        """
        reference = self.drift_reference
        if reference is None:
            return None
        check_image(image)
        tokens = self._open_backend().pooled_tokens(image, reference.size)
        return reference.drift(tokens.cpu().numpy(), confidence)

    def forget_last_frames(self) -> None:
        """The next frame of each stream does not continue its last one."""
        self._temporal.clear()
        self._propagation.forget()

    def warm_up(self, height: int, width: int, batch: int = 1) -> None:
        """Do what makes first frames slow: build what the backend needs, segment a grey frame.

        Args:
            height, width: of the frames to come, pixels.
            batch: the most frames that will be segmented together.

        Raises:
            ExportError: a graph cannot be built.
            RuntimeError: the device has not enough memory.
        """
        self._batch = batch
        self.prepare(self.sampling, self.input_size)
        self.segment(np.full((height, width, 3), 127, np.uint8))
        self.forget_last_frames()

    def prepare(self, sampling: SamplingOptions, size: tuple[int, int]) -> None:
        """Build what the backend needs for frames with `sampling` at the working (height, width),
        in batches as large as `warm_up` was told.

        Raises:
            ValueError: the model has another size only.
            ExportError: a graph cannot be built.
            RuntimeError: the device has not enough memory.
        """
        checked_size(self._config, size)
        self._open_backend().prepare(sampling, size, self._batch)

    def is_prepared(self, sampling: SamplingOptions, size: tuple[int, int]) -> bool:
        """Whether a frame with these at once takes no longer than it always does."""
        return self._open_backend().is_prepared(sampling, size)

    def close(self) -> None:
        """Free the weights and the memory they take on a GPU."""
        if self._backend is not None:
            self._backend.close()
        self._backend = None
        self.forget_last_frames()
        self.release_memory()

    def release_memory(self) -> None:
        """Free what is only kept for the next frame."""
        if self._backend is not None:
            self._backend.release_memory()
        release_cached_memory(self.device)

    def _open_backend(self) -> Backend:
        if self._backend is None:
            raise RuntimeError("the segmenter is closed")
        return self._backend


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless it is an image: a non-empty uint8 [H, W, 3] array."""
    if not isinstance(image, np.ndarray):
        got = f"{type(image).__name__}: numpy.asarray makes an array of a PIL image or a CPU tensor"
    elif image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
        return
    else:
        got = f"{image.dtype} {list(image.shape)}"
    raise ValueError(
        "expected an RGB image as uint8 [height, width, 3] of NumPy, at least 1 x 1, got " + got
    )
