"""Segmenter: numpy frames in, label images out. The node and the command line both use it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from camss_ros.inference.backends import Backend, Carry, open_backend
from camss_ros.inference.clip import Clip
from camss_ros.inference.device import select_device
from camss_ros.inference.frame_ops import to_labels, to_uncertainty
from camss_ros.inference.memory import release_cached_memory
from camss_ros.inference.stage_clock import StageClock
from camss_ros.model.camseg import ConcatTransformerConfig
from camss_ros.model.checkpoint import CONFIG_FILE, find_model, read_config
from camss_ros.model.label_class import LabelClass
from camss_ros.model.schedule import SamplingOptions

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
            total. Iterative decoding alternates transformer and sampling: all of it is `sampling`.
            A backend that runs the network as one graph has `network` in place of the four.
        steps: denoiser evaluations a token took in each iteration.
        uncertainty: uint8 [H, W], entropy over the classes (255: all equally likely), where it
            was asked for.
        warm: the frame began from the latents of the one before.
    """

    labels: np.ndarray
    confidence: np.ndarray
    timings: dict[str, float]
    steps: int
    uncertainty: np.ndarray | None = None
    warm: bool = False


class Segmenter:
    """Segments frames with one model on one device.

    Frames run at the model's working size; results come back at the frame's size. The same frame
    with the same options gives the same result, whatever was segmented before; but not where
    `sampling.warm_start_time` is above 0: a frame then begins from the latents of the one before,
    unless it is no continuation of it (`clip.py` says when). Not thread-safe, but for `sampling`
    and `working_size`, which may be set from another thread and count from the next frame on.

    Attributes:
        input_size: working (height, width) that the model is made for.
        working_size: the one in use, multiples of 16. Another one needs `can_resize`.
        can_resize: the model works at other sizes too.

    Args:
        model: bundled name, directory or Hub id.
        device: "auto", "cuda", "cuda:N" or "cpu".
        precision: of the network: "auto", "fp32", "bf16" or "fp16". Latents stay float32.
        sampling: steps, sampler and so on; see `SamplingOptions`.
        seed: of the noise of every frame.
        backend: what runs the network: "torch", "compile", "onnxruntime", "openvino", "tensorrt",
            or "auto" for the fastest that a calibration finds on this machine; see `auto.py`.

    Raises:
        ValueError: an argument is out of range, or the backend is not available.
        ModelError: the model cannot be found or read.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: str = "auto",
        precision: str = "auto",
        sampling: SamplingOptions | None = None,
        seed: int = 0,
        backend: str = "torch",
    ) -> None:
        self.device = select_device(device)
        self.sampling = sampling or SamplingOptions()
        directory = find_model(model)
        config = read_config(directory / CONFIG_FILE)
        self.model_name = config.name
        self.classes: tuple[LabelClass, ...] = config.label_set
        self.input_size = self.working_size = config.input_size
        # the official transformer has learned positions of one size
        self.can_resize = not isinstance(config.transformer, ConcatTransformerConfig)
        if backend == "auto":
            from camss_ros.inference.auto import choose_backend

            backend, precision = choose_backend(
                directory, self.device, precision, self.input_size, self.sampling
            )
        opened = open_backend(backend, directory, self.device, precision, self.input_size)
        self.backend, self.dtype = opened.name, opened.dtype
        self._backend: Backend | None = opened
        self._seed = seed
        self._generator = torch.Generator(self.device)
        self._clip = Clip()

    @torch.inference_mode()
    def segment(
        self,
        image: np.ndarray,
        output_size: tuple[int, int] | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
        uncertainty: bool = False,
        stamp: float | None = None,
    ) -> Segmentation:
        """Segment one frame.

        Args:
            image: uint8 [H, W, 3] RGB.
            output_size: (height, width) of the result, by default the image's.
            cancelled: asked between stages; where it says true the frame is given up.
            uncertainty: also compute the uncertainty.
            stamp: time of the frame, s, for the warm start; without it every frame is taken to
                follow the one before.

        Raises:
            ValueError: not such an image.
            SegmentationCancelled: `cancelled` said true.
            RuntimeError: the segmenter is closed.
        """
        check_image(image)
        backend, sampling = self._open_backend(), self.sampling
        backend.size = self.working_size
        self._generator.manual_seed(self._seed)
        clock = StageClock(self.device)

        def stage_done(name: str) -> None:
            clock.mark(name)
            if cancelled is not None and cancelled():
                raise SegmentationCancelled

        carry = None
        if sampling.warm_start_time:
            carry = Carry(self._clip.begin(image, stamp, (sampling.samples, backend.size)))
        else:
            self._clip.forget()
        warm = carry is not None and carry.latents is not None
        if warm:
            sampling = sampling.warm()
        probabilities = backend.probabilities(image, sampling, self._generator, stage_done, carry)
        void_last = probabilities.shape[1] > len(self.classes)
        size = output_size or (image.shape[0], image.shape[1])
        result = to_labels(probabilities, size, void_last).cpu().numpy()
        entropy = to_uncertainty(probabilities, size).cpu().numpy() if uncertainty else None
        clock.mark("postprocess")
        if carry is not None:
            self._clip.keep(carry.latents)
        steps = backend.steps(sampling)
        return Segmentation(result[0], result[1], clock.seconds(), steps, entropy, warm)

    def begin_clip(self) -> None:
        """The next frame does not continue the last one: it gets no warm start."""
        self._clip.forget()

    def warm_up(self, height: int, width: int) -> None:
        """Do what makes first frames slow: build what the backend needs, segment a grey frame.

        Args:
            height, width: of the frames to come.
        """
        self.prepare(self.sampling, self.working_size)
        self.segment(np.full((height, width, 3), 127, np.uint8))
        self.begin_clip()

    def prepare(self, sampling: SamplingOptions, size: tuple[int, int]) -> None:
        """Build what the backend needs for frames with `sampling` at the working (height, width).

        Raises ValueError where the model has another size only, ExportError where a graph cannot be
        built.
        """
        if size != self.input_size and not self.can_resize:
            raise ValueError(f"model {self.model_name} works at {self.input_size} only, not {size}")
        backend = self._open_backend()
        backend.size = size
        backend.prepare(sampling)

    def is_prepared(self, sampling: SamplingOptions, size: tuple[int, int]) -> bool:
        """Whether a frame with these at once takes no longer than it always does."""
        return self._open_backend().is_prepared(sampling, size)

    def close(self) -> None:
        """Free the weights and the memory they take on a GPU."""
        if self._backend is not None:
            self._backend.close()
        self._backend = None
        self.begin_clip()
        self.release_memory()

    def release_memory(self) -> None:
        """Free what is only kept for the next frame."""
        release_cached_memory(self.device)

    def _open_backend(self) -> Backend:
        if self._backend is None:
            raise RuntimeError("the segmenter is closed")
        return self._backend


def check_image(image: np.ndarray) -> None:
    """Refuse what is not a non-empty uint8 [H, W, 3] array with a ValueError that says so."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            "expected an RGB image as uint8 [height, width, 3], at least 1 x 1, "
            f"got {image.dtype} {list(image.shape)}"
        )
