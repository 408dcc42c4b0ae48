"""From arrivals to results, without DDS: every image is counted once, and costs no other one."""

from __future__ import annotations

import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ros_peer import rgb_image
from scripted_node import TIMINGS, ScriptedSegmenter
from std_msgs.msg import Header

from camss_ros.images.encodings import ImageRejectedError
from camss_ros.images.label_mapping import LabelMapping
from camss_ros.inference.drift import Drift
from camss_ros.inference.latency_budget import Setting
from camss_ros.inference.segmenter import FrameRequest, Segmentation
from camss_ros.model.schedule import SamplingOptions
from camss_ros.nodes.node_log import SeldomWarnings
from camss_ros.nodes.segmenter.deadline import Deadline
from camss_ros.nodes.segmenter.diagnostics import FrameCounter
from camss_ros.nodes.segmenter.frame import Arrival, SegmentedFrame
from camss_ros.nodes.segmenter.frame_processor import STAGES, FrameProcessor, enlarged
from camss_ros.nodes.segmenter.memory_guard import MemoryGuard
from camss_ros.nodes.segmenter.model_reloader import LoadedModel, ModelReloader, SupersededError
from camss_ros.nodes.segmenter.parameters import SPECS, ParameterValues

OUT_OF_MEMORY = torch.cuda.OutOfMemoryError("CUDA out of memory")


class Source:
    """A camera that keeps what it is given; `errors` are raised by the methods of these names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counter = FrameCounter()
        self.published: list[SegmentedFrame] = []
        self.reports: list[Mapping[str, Any]] = []
        self.log: list[str] = []
        self.errors: dict[str, Exception] = {}

    def _do(self, name: str) -> None:
        if name in self.errors:
            raise self.errors[name]

    def request(self, image: np.ndarray, header: Header) -> FrameRequest:
        self._do("request")
        return FrameRequest(
            image,
            (image.shape[0], image.shape[1]),
            uncertainty=True,
            stamp=float(header.stamp.sec),
            stream=self.name,
        )

    def reject(self, error: ImageRejectedError) -> None:
        self.counter.rejected(error.reason)

    def fail(self, reason: str) -> None:
        self.counter.count("failed")
        self.log.append(reason)

    def warn(self, kind: str, text: str) -> None:
        self.log.append(text)

    def publish(self, segmented: SegmentedFrame, mapping: LabelMapping) -> np.ndarray:
        self._do("publish")
        self.published.append(segmented)
        return segmented.result.labels + 100

    def latency(self, arrival: Arrival) -> float:
        return 7.5

    def publish_report(
        self,
        segmented: SegmentedFrame,
        labels: np.ndarray,
        mapping: LabelMapping,
        status: Mapping[str, Any],
    ) -> None:
        assert np.array_equal(labels, segmented.result.labels + 100)
        self._do("publish_report")
        self.reports.append(status)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Segmented, failed, rejected."""
        counts = self.counter.snapshot()
        return counts.segmented, counts.failed, counts.rejected.total()


class Bench:
    """A processor with all that it works with."""

    def __init__(self, **parameters: Any) -> None:
        self.values = {spec.name: spec.initial() for spec in SPECS} | parameters
        self.segmenter = ScriptedSegmenter()
        self.models = ModelReloader()
        self.memory = MemoryGuard()
        self.log: list[str] = []
        self.deadline = Deadline(ParameterValues(self.values), self.log.append, self.log.append)
        warn = SeldomWarnings(SimpleNamespace(warning=self.log.append))
        self.processor = FrameProcessor(self.models, self.deadline, self.memory, warn)
        model = LoadedModel(self.segmenter, SimpleNamespace(), ParameterValues({}))  # type: ignore[arg-type]
        self.models.replace(self.models.begin(), lambda: model, lambda _: None)
        self.front, self.left = Source("front"), Source("left")

    def arrivals(self, *numbers: int) -> dict[Any, Arrival]:
        """An image of the camera in front, and of the one on the left."""
        sources = (self.front, self.left)
        return {
            source: Arrival(rgb_image(number), time.monotonic())
            for source, number in zip(sources, numbers, strict=False)
        }

    def process(self, *numbers: int, cancelled: Callable[[], bool] = lambda: False) -> None:
        arrivals = self.arrivals(*numbers)
        self.processor.process(arrivals, cancelled)
        assert not arrivals


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_needs_no_rclpy() -> None:
    code = "import sys, camss_ros.nodes.segmenter.frame_processor; sys.exit('rclpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_image_a_second_of_each_camera_is_looked_at_for_drift(bench: Bench) -> None:
    bench.segmenter.drifted = Drift(1.5, 0.25)
    for _ in range(2):
        bench.process(1, 2)
    for source in (bench.front, bench.left):
        first, second = source.reports
        assert (first["token_distance"], first["unsure_share"]) == (1.5, 0.25)
        assert "token_distance" not in second


def test_slow_looks_are_seldom(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now, durations = [100.0], iter([0.03, 5.0, 0.001])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def look(image: np.ndarray, confidence: np.ndarray) -> Drift:
        now[0] += next(durations)
        return Drift(1.5, 0.25)

    monkeypatch.setattr(bench.segmenter, "drift", look)
    for pause in (0.0, 2.9, 0.1, 4.9, 0.1):
        now[0] += pause
        bench.process(1)
    seen = ["token_distance" in report for report in bench.front.reports]
    assert seen == [True, False, True, False, True]


def test_the_looks_of_all_cameras_take_a_hundredth_of_the_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def look(image: np.ndarray, confidence: np.ndarray) -> None:
        now[0] += 0.03
        looks.append(now[0])

    monkeypatch.setattr(bench.segmenter, "drift", look)
    while now[0] < 160:
        bench.process(1, 2)
        now[0] += 0.5
    assert 0.5 < 0.03 * len(looks) < 0.7


def test_a_look_that_fails_costs_nothing_but_itself(bench: Bench) -> None:
    bench.segmenter.drifted = OUT_OF_MEMORY
    bench.process(1)
    assert bench.front.counts == (1, 0, 0)
    assert "token_distance" not in bench.front.reports[0]
    assert "drift is not told: OutOfMemoryError" in bench.front.log[0]


def test_images_that_wait_are_segmented_together_each_as_is_wanted_of_it(bench: Bench) -> None:
    bench.values.update(steps=7)
    assert bench.processor.status()["steps"] == 7
    bench.process(1, 2)
    assert bench.segmenter.batches == [{"front", "left"}]
    for number, source in enumerate((bench.front, bench.left), start=1):
        assert source.counts == (1, 0, 0)
        (segmented,) = source.published
        assert set(segmented.result.labels.flat) == {number}
        assert segmented.result.uncertainty is not None
        assert segmented.frame.arrival.header.frame_id == f"camera {number}"
        assert segmented.frame.request.stamp == 1_700_000_000 + number
    assert bench.segmenter.sampling.steps == bench.processor.status()["steps"] == 7
    assert bench.segmenter.network_size == bench.segmenter.input_size


def test_no_mask_waits_for_the_pictures_of_another_camera(bench: Bench) -> None:
    order = []
    for source in (bench.front, bench.left):
        for name in ("publish", "publish_report"):

            def note(*given: Any, done: Any = getattr(source, name), name: str = name) -> Any:
                order.append(name)
                return done(*given)

            setattr(source, name, note)
    bench.process(1, 2)
    assert order == ["publish", "publish", "publish_report", "publish_report"]


def test_the_report_has_times_and_settings(bench: Bench) -> None:
    bench.segmenter.delay = 0.02
    bench.process(1)
    (status,) = bench.front.reports
    assert status["latency_from_arrival"] >= 0.02
    assert (status["network_height"], status["network_width"]) == (16, 24)
    # backends differ in the stages that they tell apart
    assert [status[name] for name in STAGES] == [TIMINGS.get(name, 0.0) for name in STAGES]
    assert status["convert"] > 0 < status["publish"]
    assert (status["warm_start"], status["propagated"]) == (False, False)


def test_times_are_those_between_begin_and_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([10.0, 30.25, 20.0, 60.5])  # conversion, publication
    clock = SimpleNamespace(perf_counter=lambda: next(ticks), monotonic=lambda: 303.0)
    monkeypatch.setattr("camss_ros.nodes.segmenter.frame_processor.time", clock)
    bench.processor.process({bench.front: Arrival(rgb_image(1), 100.0)}, lambda: False)
    (status,) = bench.front.reports
    names = ("convert", "publish", "latency", "latency_from_arrival")
    assert [status[name] for name in names] == [20.25, 40.5, 7.5, 203.0]


def test_one_image_alone_that_fails_is_not_tried_again(bench: Bench) -> None:
    bench.segmenter.bad = {1}
    bench.process(1)
    assert bench.front.counts == (0, 1, 0)
    assert [len(batch) for batch in bench.segmenter.batches] == [1]
    assert bench.segmenter.released == 0
    assert not bench.log


def test_only_a_result_of_another_size_is_enlarged() -> None:
    labels, confidence = np.array([[1, 2]], np.uint8), np.array([[3, 4]], np.uint8)
    result = Segmentation(labels, confidence, {}, steps=1)
    assert enlarged(result, (1, 2)) is result
    assert enlarged(result, None) is result
    larger = enlarged(result, (2, 4))
    np.testing.assert_array_equal(larger.labels, [[1, 1, 2, 2]] * 2)
    np.testing.assert_array_equal(larger.confidence, [[3, 3, 4, 4]] * 2)
    assert larger.uncertainty is None


def test_each_image_meets_one_fate_and_takes_no_other_one_with_it(bench: Bench) -> None:
    arrivals = bench.arrivals(1, 66)
    unreadable, unwanted = Source("unreadable"), Source("unwanted")
    bad = rgb_image(3)
    bad.encoding = "rainbow9"
    arrivals |= {unreadable: Arrival(bad, 0.0), unwanted: Arrival(rgb_image(4), 0.0)}
    unwanted.errors["request"] = ValueError("of no size")
    bench.segmenter.bad = {66}
    bench.processor.process(arrivals, lambda: False)
    assert not arrivals
    assert [s.counts for s in (bench.front, bench.left, unreadable, unwanted)] == [
        (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 0),
    ]  # fmt: skip
    assert bench.left.log == ["RuntimeError: a bad frame"]
    assert unwanted.log == ["ValueError: of no size"]
    assert bench.log == ["images failed together, each runs alone: RuntimeError: a bad frame"]
    assert [len(batch) for batch in bench.segmenter.batches] == [2, 1, 1]
    assert bench.segmenter.released == 1
    assert bench.memory.measure == ""


def test_without_a_readable_image_no_model_is_waited_for(bench: Bench) -> None:
    arrivals = bench.arrivals(1)
    arrivals[bench.front].message.encoding = "rainbow9"
    bench.models.release()
    bench.processor.process(arrivals, lambda: False)
    assert bench.front.counts == (0, 0, 1)


@pytest.mark.parametrize("where", ["publish", "publish_report"])
def test_an_error_of_publishing_counts_by_whether_there_is_a_mask(bench: Bench, where: str) -> None:
    bench.front.errors[where] = OSError("no room")
    bench.process(1, 2)
    failed = where == "publish"
    assert bench.front.counts == (0, 1, 0) if failed else (1, 0, 0)
    told = "OSError: no room"
    assert bench.front.log == [told if failed else f"after the mask was published: {told}"]
    assert bench.left.counts == (1, 0, 0)
    assert bench.left.reports


def test_a_device_that_is_gone_fails_every_image(bench: Bench) -> None:
    def gone() -> None:
        raise RuntimeError("no device")

    bench.segmenter.error = RuntimeError("lost")
    bench.segmenter.release_memory = gone  # type: ignore[method-assign]
    bench.process(1, 2)
    assert bench.front.counts == bench.left.counts == (0, 1, 0)
    assert bench.front.log == bench.left.log == ["RuntimeError: no device"]


def test_what_is_given_up_is_left_to_the_worker(bench: Bench) -> None:
    arrivals = bench.arrivals(1, 2)
    asked = iter([False, True, True])
    bench.segmenter.go.clear()  # in work until it is cancelled
    bench.processor.process(arrivals, lambda: next(asked, True))
    assert set(arrivals) == {bench.front, bench.left}
    assert bench.segmenter.batches == [{"front", "left"}]  # and not each again
    bench.models.release()
    with pytest.raises(SupersededError):
        bench.processor.process(arrivals, lambda: False)
    assert bench.front.counts == bench.left.counts == (0, 0, 0)


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_worker_has_counted_is_not_counted_again(bench: Bench, fails: bool) -> None:
    arrivals = bench.arrivals(1)
    together = bench.segmenter.segment_batch

    def segment_batch(*arguments: Any, **options: Any) -> Any:
        arrivals.clear()
        return together(*arguments, **options)

    bench.segmenter.segment_batch = segment_batch  # type: ignore[method-assign]
    if fails:
        bench.front.errors["publish"] = OSError("no room")
    bench.processor.process(arrivals, lambda: False)
    assert bench.front.counts == (0, 0, 0)


def test_another_error_is_of_the_images_in_work_or_told(bench: Bench) -> None:
    bench.processor.failed([bench.front, bench.left], ArithmeticError("no such time"))
    assert bench.front.counts == bench.left.counts == (0, 1, 0)
    assert not bench.log
    bench.processor.failed([], ArithmeticError("no such time"))
    assert bench.log == ["after the masks were published: ArithmeticError: no such time"]


class TestMemory:
    """What is done without where it runs out."""

    @pytest.fixture
    def tried(self, bench: Bench) -> list[tuple[int, int, tuple[int, int]]]:
        """Frames, samples and output size of each try; where the size is the network's, it fits."""
        segmenter, tried = bench.segmenter, []
        real = segmenter.segment_batch

        def segment_batch(requests: Any, **options: Any) -> Any:
            results = real(requests, **options)
            tried.append((len(requests), segmenter.sampling.samples, requests[0].output_size))
            if requests[0].output_size != segmenter.input_size or segmenter.bad:
                raise OUT_OF_MEMORY
            return results

        segmenter.segment_batch = segment_batch  # type: ignore[method-assign]
        bench.values.update(samples=4)
        return tried

    def test_each_measure_needs_less_than_the_one_before(self) -> None:
        guard, asked = MemoryGuard(), Setting(SamplingOptions(samples=4), (16, 24))
        seen = []
        for frames in (3, 1, 1):
            assert guard.reduce(frames)
            samples = guard.limit(asked).sampling.samples
            seen.append((guard.one_frame, samples, guard.at_network_size))
        assert seen == [(True, 4, False), (True, 1, False), (True, 1, True)]
        assert not guard.reduce()
        assert guard.exhausted
        guard.reset()
        assert (guard.one_frame, guard.exhausted, guard.measure) == (False, False, "")
        assert guard.reduce()  # one frame cannot be split
        assert guard.limit(asked).sampling.samples == 1

    def test_less_is_tried_until_it_fits(self, bench: Bench, tried: list[Any]) -> None:
        bench.process(1)
        assert tried == [(1, 4, (32, 48)), (1, 1, (32, 48)), (1, 1, (16, 24))]
        assert bench.segmenter.released == 2
        (segmented,) = bench.front.published
        assert segmented.setting.sampling.samples == bench.processor.status()["samples"] == 1
        assert segmented.frame.request.output_size == (32, 48)
        result = segmented.result
        assert result.uncertainty is not None
        for pixels, value in (
            (result.labels, 1), (result.confidence, 200), (result.uncertainty, 9)
        ):  # fmt: skip
            assert pixels.shape == (32, 48)
            assert set(pixels.flat) == {value}
        bench.process(2)
        assert len(tried) == 4  # remembered
        bench.processor.reset()
        assert bench.processor.status()["samples"] == 4
        bench.process(3)
        assert len(tried) == 7

    def test_a_batch_is_split_first(self, bench: Bench, tried: list[Any]) -> None:
        bench.process(1, 2)
        assert [frames for frames, _, _ in tried] == [2, 1, 1, 1, 1]
        assert bench.front.counts == bench.left.counts == (1, 0, 0)
        assert [text.partition(": ")[2] for text in bench.log] == [
            "one camera at a time",
            "one sample a frame",
            "one sample a frame, labels at the network's size, enlarged",
        ]
        bench.process(3, 4)
        assert [frames for frames, _, _ in tried[5:]] == [1, 1]

    def test_an_image_fails_when_nothing_is_left(self, bench: Bench, tried: list[Any]) -> None:
        bench.segmenter.bad = {9}  # any
        bench.process(1)
        assert bench.front.counts == (0, 1, 0)
        assert bench.memory.exhausted
        bench.segmenter.bad = ()
        bench.process(2)
        assert bench.front.counts == (1, 1, 0)
        assert not bench.memory.exhausted


class TestBudget:
    """The setting of each frame follows the time of those before."""

    def test_the_slowest_image_counts_from_its_arrival(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        observed: list[tuple[float, Mapping[str, float]]] = []
        monkeypatch.setattr(bench.deadline, "observe", lambda *given: observed.append(given))
        for slow in (bench.left, bench.front):
            arrivals = bench.arrivals(1, 2)
            arrivals[slow] = Arrival(rgb_image(2), time.monotonic() - 5)
            bench.processor.process(arrivals, lambda: False)
            ((seconds, timings),) = observed
            assert 5 <= seconds < 60
            assert timings == TIMINGS
            observed.clear()
        bench.front.errors["publish"] = OSError("no room")
        bench.process(1)
        assert not observed
        bench.process(1, 2)
        assert len(observed) == 1
        bench.segmenter.error = RuntimeError("lost")
        bench.process(1, 2)
        assert len(observed) == 1

    def test_a_propagated_image_tells_nothing_of_the_network(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        observed: list[Any] = []
        monkeypatch.setattr(bench.deadline, "observe", lambda *given: observed.append(given))
        bench.segmenter.propagated = True
        bench.process(1)
        (report,) = bench.front.reports
        assert report["propagated"] is True
        assert not observed

    def test_a_budget_that_is_kept_changes_nothing(self) -> None:
        bench = Bench(steps=4, latency_budget_ms=60000.0)
        for number in range(5):
            bench.process(number)
        status = bench.processor.status()
        assert (status["steps"], status["latency_budget"], status["over_budget"]) == (
            4,
            60.0,
            False,
        )
        assert not bench.log

    def test_another_model_is_tried_with_what_is_asked(self) -> None:
        bench = Bench(steps=4, latency_budget_ms=5.0)
        bench.segmenter.delay = 0.02
        for number in range(9):
            bench.process(number)
        assert bench.processor.status()["steps"] == 1
        bench.processor.reset()  # as where it takes over
        bench.process(1)
        assert bench.processor.status()["steps"] == 4

    @pytest.mark.parametrize(("budget", "built"), [(0.0, []), (5.0, [2, 1])])
    def test_what_the_settings_need_is_built_where_there_is_a_budget(
        self, monkeypatch: pytest.MonkeyPatch, budget: float, built: list[int]
    ) -> None:
        bench, prepared = Bench(steps=4, latency_budget_ms=budget), []
        monkeypatch.setattr(bench.segmenter, "is_prepared", lambda sampling, _: sampling.steps == 4)
        segmenter: Any = bench.segmenter
        segmenter.prepare = lambda *setting: prepared.append(setting)
        bench.deadline.prepare(segmenter)
        assert [sampling.steps for sampling, _ in prepared] == built
        assert {size for _, size in prepared} <= {bench.segmenter.input_size}

    @pytest.mark.parametrize(("allowed", "can"), [(True, True), (True, False), (False, True)])
    def test_the_size_is_smaller_where_that_is_allowed_and_the_model_can(
        self, allowed: bool, can: bool
    ) -> None:
        bench = Bench(latency_budget_ms=5.0, allow_smaller_size=allowed)
        sizes: set[tuple[int, int]] = set()
        segmenter: Any = bench.segmenter
        segmenter.can_resize = can
        segmenter.is_prepared = lambda _, size: sizes.add(size)
        bench.process(1)
        assert (min(sizes) < segmenter.input_size) == (allowed and can)

    def test_where_nothing_is_built_what_is_asked_is_done(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = Bench(steps=4, latency_budget_ms=5.0)
        monkeypatch.setattr(bench.segmenter, "is_prepared", lambda *_: False)
        bench.process(1)
        assert bench.front.counts == (1, 0, 0)
        assert bench.processor.status()["steps"] == 4

    def test_only_settings_that_need_no_building_are_chosen(self) -> None:
        bench = Bench(steps=4, latency_budget_ms=5.0)
        bench.segmenter.is_prepared = lambda sampling, size: sampling.steps in (4, 2)  # type: ignore[method-assign]
        bench.segmenter.delay = 0.02
        for number in range(9):
            bench.process(number)
        status = bench.processor.status()
        assert (status["steps"], status["over_budget"]) == (2, True)


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("numbers", [(1,), (1, 2)])
def test_a_failure_does_not_keep_the_model(bench: Bench, numbers: tuple[int, ...]) -> None:
    bench.segmenter.bad = {1}
    bench.process(*numbers)
    model = weakref.ref(bench.segmenter)
    bench.models.release()
    del bench.segmenter
    assert model() is None
