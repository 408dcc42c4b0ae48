"""From the newest images of the cameras to their label images; knows neither topics nor rclpy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from camss_ros.images.encodings import ImageRejectedError
from camss_ros.images.nearest import resize_nearest
from camss_ros.nodes.segmenter.deadline import Deadline
from camss_ros.nodes.segmenter.frame import (
    Arrival,
    CameraFrame,
    CameraInterface,
    FrameFailure,
    SegmentedFrame,
)
from camss_ros.nodes.segmenter.image_conversion import ImageConverter
from camss_ros.nodes.segmenter.memory_guard import MemoryGuard
from camss_ros.nodes.segmenter.model_reloader import LoadedModel, ModelReloader

if TYPE_CHECKING:
    from camss_ros.inference.latency_budget import Setting
    from camss_ros.inference.segmenter import Segmentation, Segmenter

# A look costs the image tokens of a frame once more, and images that come meanwhile may be lost.
_LOOK_PERIODS = (1.0, 10.0)  # s, the least and the longest
_LOOK_SHARE = 0.01  # of the time, of all cameras together, at most between these
STAGES = (
    "preprocess", "tokens", "transformer", "sampling", "decode", "network", "postprocess",
    "propagation",
)  # fmt: skip


@dataclass(frozen=True)
class _Published:
    """A frame whose mask is out.

    Attributes:
        labels: uint8 [H, W], the class ids as they were published.
        latency: s from the stamp of the image until then.
        seconds: from the arrival of the image until then.
        publish: seconds of these that publishing took.
    """

    segmented: SegmentedFrame
    labels: np.ndarray
    latency: float
    seconds: float
    publish: float


class FrameProcessor:
    """Segments the images that wait, together where that works, and has each camera publish its
    result.

    Every image is counted once: as rejected, failed or segmented. One that fails, or a lack of
    memory, costs the others time only.

    Attributes:
        converter: makes RGB of messages; may be replaced between two images.
        used: sampling and network size of the last frame; None before the first one.

    Args:
        models: where the model in use is.
        deadline: chooses network size and sampling.
        memory: says what to do without.
        warn: `warn(kind, text)` is called with what the log should say now and then.
    """

    def __init__(
        self,
        models: ModelReloader,
        deadline: Deadline,
        memory: MemoryGuard,
        warn: Callable[[str, str], None],
    ) -> None:
        self._models, self._deadline, self._memory, self._warn = models, deadline, memory, warn
        self.converter = ImageConverter()
        self.used: Setting | None = None
        self._next_look: dict[CameraInterface, float] = {}  # monotonic s, for drift

    def reset(self) -> None:
        """Begin as the parameters ask: with all samples, and nothing of earlier frames."""
        self._memory.reset()
        self._deadline.reset()
        self.used = None

    def process(
        self, arrivals: dict[CameraInterface, Arrival], cancelled: Callable[[], bool]
    ) -> None:
        """Segment and publish; for `Worker`.

        Each image is taken from `arrivals` as soon as it is counted. Where `cancelled()` turns
        true the rest are left.
        """
        frames = self._decode(arrivals)
        if not frames:
            return
        published: list[_Published] = []
        with self._models.in_use(cancelled) as model:
            try:
                results = self._segment(model.segmenter, frames, cancelled)
            except Exception as error:  # such as a device that is gone
                results = [FrameFailure(frame, _reason(error)) for frame in frames]
            if cancelled():
                return
            for each in results:
                if isinstance(each, FrameFailure):
                    self._fail(arrivals, each.frame.source, each.reason)
                    continue
                if (done := self._publish(arrivals, each, model)) is not None:
                    published.append(done)
            for done in published:  # once all masks are out
                self._report(done, model)
        # the network had no part in a propagated one: it tells nothing of other settings
        computed = [each for each in published if not each.segmented.result.propagated]
        if computed:
            slowest = max(computed, key=lambda each: each.seconds)
            self._deadline.observe(slowest.seconds, slowest.segmented.result.timings)

    def failed(self, sources: Sequence[CameraInterface], error: Exception) -> None:
        """Something else than a frame failed, with images of `sources` in work; for
        `Worker`."""
        for source in sources:
            source.fail(_reason(error))
        if not sources:
            self._warn("after", f"after the masks were published: {_reason(error)}")

    def _decode(self, arrivals: dict[CameraInterface, Arrival]) -> list[CameraFrame]:
        frames = []
        for source, arrival in list(arrivals.items()):
            try:
                start = time.perf_counter()
                image = self.converter.to_rgb(arrival.message)
                convert = time.perf_counter() - start
                frames.append(
                    CameraFrame(source, arrival, source.request(image, arrival.header), convert)
                )
            except ImageRejectedError as error:
                if arrivals.pop(source, None) is not None:
                    source.reject(error)
            except Exception as error:  # one image must end neither the others nor the node
                self._fail(arrivals, source, _reason(error))
        return frames

    def _fail(
        self, arrivals: dict[CameraInterface, Arrival], source: CameraInterface, reason: str
    ) -> None:
        # Not there: the worker has given up waiting for it, and has counted it.
        if arrivals.pop(source, None) is not None:
            source.fail(reason)

    def _segment(
        self, segmenter: Segmenter, frames: Sequence[CameraFrame], cancelled: Callable[[], bool]
    ) -> Sequence[SegmentedFrame | FrameFailure]:
        """The result of each frame: together where that works, otherwise each alone."""
        from camss_ros.inference.memory import is_out_of_memory

        if len(frames) > 1 and not self._memory.one_frame:
            try:
                return self._attempt(segmenter, frames, cancelled)
            except Exception as error:
                if cancelled():
                    return [FrameFailure(frame, _reason(error)) for frame in frames]
                if is_out_of_memory(error):
                    self._memory.reduce(len(frames))
                    self._warn_of_memory()
                else:
                    reason = _reason(error)
                    self._warn("batch", f"images failed together, each runs alone: {reason}")
            # Only here, without the exception, is the memory of the failed attempt free.
            segmenter.release_memory()
        return [self._segment_alone(segmenter, frame, cancelled) for frame in frames]

    def _segment_alone(
        self, segmenter: Segmenter, frame: CameraFrame, cancelled: Callable[[], bool]
    ) -> SegmentedFrame | FrameFailure:
        """Segment; where memory runs out, again with less, until there is nothing left to save."""
        from camss_ros.inference.memory import is_out_of_memory

        while True:
            try:
                (segmented,) = self._attempt(segmenter, [frame], cancelled)
            except Exception as error:
                if not is_out_of_memory(error) or not self._memory.reduce():
                    return FrameFailure(frame, _reason(error))
            else:
                self._memory.succeeded()
                return segmented
            # Only here, without the exception, is the memory of the failed attempt free.
            segmenter.release_memory()
            self._warn_of_memory()

    def _warn_of_memory(self) -> None:
        measure = self._memory.measure  # each is said, though they may follow at once
        self._warn(f"memory: {measure}", f"out of memory, from now on: {measure}")

    def _attempt(
        self, segmenter: Segmenter, frames: Sequence[CameraFrame], cancelled: Callable[[], bool]
    ) -> list[SegmentedFrame]:
        """Segment frames together, within the latency budget and what memory there is."""
        setting = self._memory.limit(self._deadline.choose(segmenter))
        size = segmenter.input_size if self._memory.at_network_size else None
        requests = [
            replace(
                frame.request,
                network_size=setting.size,
                sampling=setting.sampling,
                output_size=size or frame.request.output_size,
            )
            for frame in frames
        ]
        results = segmenter.segment_batch(requests, cancelled=cancelled)
        return [
            SegmentedFrame(frame, setting, enlarged(result, frame.request.output_size))
            for frame, result in zip(frames, results, strict=True)
        ]

    def _publish(
        self,
        arrivals: dict[CameraInterface, Arrival],
        segmented: SegmentedFrame,
        model: LoadedModel,
    ) -> _Published | None:
        """Publish the mask and what goes with it; None where that failed."""
        frame, start = segmented.frame, time.perf_counter()
        try:
            labels = frame.source.publish(segmented, model.mapping)
        except Exception as error:
            self._fail(arrivals, frame.source, _reason(error))
            return None
        publish, latency = time.perf_counter() - start, frame.source.latency(frame.arrival)
        if arrivals.pop(frame.source, None) is not None:
            frame.source.counter.count("segmented")
        self.used = segmented.setting
        seconds = time.monotonic() - frame.arrival.time
        return _Published(segmented, labels, latency, seconds, publish)

    def _report(self, published: _Published, model: LoadedModel) -> None:
        """Publish what may come after the mask."""
        segmented = published.segmented
        frame, result = segmented.frame, segmented.result
        network_height, network_width = segmented.setting.size
        status = {
            **self.status(),
            **dict.fromkeys(STAGES, 0.0),  # backends differ in those that they tell apart
            **result.timings,
            "convert": frame.convert,
            "publish": published.publish,
            "latency": published.latency,
            "latency_from_arrival": published.seconds,
            "warm_start": result.warm,
            "propagated": result.propagated,
            "network_height": network_height,
            "network_width": network_width,
            **self._drift(segmented, model.segmenter),
        }
        try:
            frame.source.publish_report(segmented, published.labels, model.mapping, status)
        except Exception as error:
            frame.source.warn("after", f"after the mask was published: {_reason(error)}")

    def _drift(self, segmented: SegmentedFrame, segmenter: Segmenter) -> dict[str, float]:
        """Of one image in a while of each camera, once its mask is out; else nothing."""
        frame, start = segmented.frame, time.monotonic()
        if start < self._next_look.get(frame.source, 0.0):
            return {}
        try:
            found = segmenter.drift(frame.request.image, segmented.result.confidence)
        except Exception as error:  # a lack of memory, a device that is gone
            frame.source.warn("drift", f"drift is not told: {_reason(error)}")
            return {}
        finally:
            least, longest = _LOOK_PERIODS
            self._next_look[frame.source] = start
            pause = (time.monotonic() - start) * len(self._next_look) / _LOOK_SHARE
            self._next_look[frame.source] += min(max(least, pause), longest)
        return {} if found is None else asdict(found)

    def status(self) -> dict[str, Any]:
        """Fields of SegmenterStatus that are the same for every camera."""
        used = self.used
        sampling = self._deadline.asked if used is None else used.sampling
        return {
            **{name: getattr(sampling, name) for name in ("steps", "sampler", "samples")},
            "latency_budget": self._deadline.budget,
            "over_budget": self._deadline.exhausted,
        }


def enlarged(result: Segmentation, size: tuple[int, int] | None) -> Segmentation:
    """The result at (height, width), by the nearest pixel where it is of another size."""
    if size is None or result.labels.shape == size:
        return result
    uncertainty = result.uncertainty
    return replace(
        result,
        labels=resize_nearest(result.labels, size),
        confidence=resize_nearest(result.confidence, size),
        uncertainty=None if uncertainty is None else resize_nearest(uncertainty, size),
    )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
