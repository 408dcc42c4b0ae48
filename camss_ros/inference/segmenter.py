"""Segmenter: numpy frames in, label images out. The node and the command line both use it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from camss_ros.inference.device import select_device, select_dtype
from camss_ros.inference.frame_ops import resize_frame, to_labels, to_uncertainty
from camss_ros.inference.memory import release_cached_memory
from camss_ros.inference.stage_clock import StageClock
from camss_ros.model.camseg import CamSeg, SamplingPlan
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
        steps: denoiser evaluations a token took in each iteration.
        uncertainty: uint8 [H, W], entropy over the classes (255: all equally likely), where it
            was asked for.
    """

    labels: np.ndarray
    confidence: np.ndarray
    timings: dict[str, float]
    steps: int
    uncertainty: np.ndarray | None = None


class Segmenter:
    """Segments frames with one model on one device.

    Frames run at the model's working size; results come back at the frame's size. The same frame
    with the same options gives the same result, whatever was segmented before. Not thread-safe,
    but for `sampling`, which may be set from another thread and counts from the next frame on.

    Args:
        model: bundled name, directory or Hub id.
        device: "auto", "cuda", "cuda:N" or "cpu".
        precision: of the network: "auto", "fp32", "bf16" or "fp16". Latents stay float32.
        sampling: steps, sampler and so on; see `SamplingOptions`.
        seed: of the noise of every frame.

    Raises:
        ValueError: an argument is out of range.
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
    ) -> None:
        self.device = select_device(device)
        self.dtype = select_dtype(precision, self.device)
        self.sampling = sampling or SamplingOptions()
        network = CamSeg.from_pretrained(model)
        network.to(device=self.device, dtype=self.dtype)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network: CamSeg | None = network
        self._plan: SamplingPlan | None = None
        self._seed = seed
        self._generator = torch.Generator(self.device)
        self.model_name = network.config.name
        self.classes: tuple[LabelClass, ...] = network.config.label_set
        self.input_size = network.config.input_size

    @torch.inference_mode()
    def segment(
        self,
        image: np.ndarray,
        output_size: tuple[int, int] | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
        uncertainty: bool = False,
    ) -> Segmentation:
        """Segment one frame.

        Args:
            image: uint8 [H, W, 3] RGB.
            output_size: (height, width) of the result, by default the image's.
            cancelled: asked between stages; where it says true the frame is given up.
            uncertainty: also compute the uncertainty.

        Raises:
            ValueError: not such an image.
            SegmentationCancelled: `cancelled` said true.
            RuntimeError: the segmenter is closed.
        """
        check_image(image)
        network, plan = self._ready()
        self._generator.manual_seed(self._seed)
        clock = StageClock(self.device)

        def stage_done(name: str) -> None:
            clock.mark(name)
            if cancelled is not None and cancelled():
                raise SegmentationCancelled

        frame = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        images = network.normalize(resize_frame(frame, self.input_size))
        images = images.contiguous(memory_format=torch.channels_last)
        stage_done("preprocess")
        token_map = network.image_tokens(images)
        stage_done("tokens")
        if plan.options.iterations == 1:
            condition = network.condition(token_map)
            stage_done("transformer")
            latents = network.draw_from(condition, token_map.shape[-2:], plan, self._generator)
            stage_done("sampling")
        else:
            clock.mark("transformer")
            latents = network.draw_latents(token_map, plan, self._generator)
            stage_done("sampling")
        probabilities = network.average_samples(network.decode(latents), plan.options.samples)
        stage_done("decode")
        void_last = probabilities.shape[1] > len(self.classes)
        size = output_size or (image.shape[0], image.shape[1])
        result = to_labels(probabilities, size, void_last).cpu().numpy()
        entropy = to_uncertainty(probabilities, size).cpu().numpy() if uncertainty else None
        clock.mark("postprocess")
        steps = len(plan.sampler.timesteps)
        return Segmentation(result[0], result[1], clock.seconds(), steps, entropy)

    def warm_up(self, height: int, width: int) -> None:
        """Segment a grey frame of that size, so that the first real one is not slow."""
        self.segment(np.full((height, width, 3), 127, np.uint8))

    def close(self) -> None:
        """Free the weights and the memory they take on a GPU."""
        self._network = None
        self._plan = None
        self.release_memory()

    def release_memory(self) -> None:
        """Free what is only kept for the next frame."""
        release_cached_memory(self.device)

    def _ready(self) -> tuple[CamSeg, SamplingPlan]:
        if self._network is None:
            raise RuntimeError("the segmenter is closed")
        if self._plan is None or self._plan.options != self.sampling:
            self._plan = self._network.plan(self.sampling)
        return self._network, self._plan


def check_image(image: np.ndarray) -> None:
    """Refuse what is not a non-empty uint8 [H, W, 3] array with a ValueError that says so."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            "expected an RGB image as uint8 [height, width, 3], at least 1 x 1, "
            f"got {image.dtype} {list(image.shape)}"
        )
