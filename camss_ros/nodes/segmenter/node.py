"""The lifecycle node `segmenter`: images in, label images out.

Subscribes (relative names): `image` (sensor_msgs/Image; `image/compressed` with
`image_transport: compressed`) and `camera_info`. Publishes below `segmentation/`: `mask`,
`confidence`, `uncertainty`, `overlay`, `mask_color`, `camera_info`, `label_info`, `status`; and
`/diagnostics`.
With `cameras: [front, left]` all but the last are there for each, below `front/` and `left/`.
Services: `~/set_enabled` (std_srvs/SetBool), `~/reload_model` (std_srvs/Trigger).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from camss_ros.extras import require_node
from camss_ros.images.encodings import ImageRejectedError
from camss_ros.images.image_files import silence_opencv
from camss_ros.inference.graphs.cache import discard_unfinished
from camss_ros.nodes.segmenter.backend_measurement import BackendMeasurement
from camss_ros.nodes.segmenter.camera import Arrival, Camera
from camss_ros.nodes.segmenter.deadline import Deadline
from camss_ros.nodes.segmenter.diagnostics import MEASURING, diagnostic_array
from camss_ros.nodes.segmenter.forward_log import forward_log
from camss_ros.nodes.segmenter.health import latency
from camss_ros.nodes.segmenter.image_conversion import (
    CvBridgeUnusableError,
    ImageConverter,
    start_conversion,
)
from camss_ros.nodes.segmenter.inference_worker import InferenceWorker
from camss_ros.nodes.segmenter.memory_guard import MemoryGuard
from camss_ros.nodes.segmenter.model_reloader import LoadedModel, ModelReloader, SupersededError
from camss_ros.nodes.segmenter.outputs import enlarge
from camss_ros.nodes.segmenter.parameters import NodeParameters, ParameterValues
from camss_ros.nodes.start_up import START_ERRORS, GivenParameters, start_problem
from camss_ros.resident_memory import resident_bytes

if TYPE_CHECKING:
    from camss_ros.inference.segmenter import Segmentation, Segmenter
    from camss_ros.model.schedule import SamplingOptions

STATUS_PERIOD = 1.0  # s
WARNING_PERIOD = 10.0  # s, for each kind of warning
# s from the signal to the end of the process, whatever the network is doing
SHUTDOWN_TIME = 1.0
# s that a transition waits for the image in work; a slow or hanging device goes on by itself
CANCEL_TIME = 2.0
STAGES = ("preprocess", "tokens", "transformer", "sampling", "decode", "network", "postprocess")
# The network runs at its own size; the first frame of any other size is not slower.
WARM_UP_SIZE = (480, 640)


def load_segmenter(parameters: ParameterValues) -> Segmenter:
    """The segmenter that the parameters describe."""
    from camss_ros.street.calibration_scenes import CalibrationScenes

    # `auto` is measured in the background
    return parameters.segmenter_spec().open(CalibrationScenes(), measure=False)


@dataclass(frozen=True)
class Frame:
    """An image of a camera, decoded. `convert`: seconds that this took."""

    camera: Camera
    arrival: Arrival
    image: np.ndarray
    convert: float

    @property
    def header(self) -> Header:
        return self.arrival.message.header

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.image.shape[0], self.image.shape[1]


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class SegmenterNode(GivenParameters, LifecycleNode):
    """Wires parameters, topics and the inference thread to a `Segmenter`.

    Images are checked in the executor and segmented in one inference thread, which also publishes;
    the newest image of each camera wins, and those that wait are segmented together.
    `segmenter_factory` makes the segmenter when the node is configured.
    """

    def __init__(
        self,
        *,
        segmenter_factory: Callable[[ParameterValues], Segmenter] = load_segmenter,
        **node_arguments: Any,
    ) -> None:
        super().__init__("segmenter", **node_arguments)
        # Generated code, imported late: in a checkout it lies in another directory than this file.
        require_node()
        from camss_ros.msg import SegmenterStatus

        self._segmenter_factory = segmenter_factory
        self._memory = MemoryGuard()
        self._models = ModelReloader()
        self._reloading: int | None = None  # the ticket
        self._measurement = BackendMeasurement(
            self._models,
            lambda model: self._load(model.parameters),
            lambda model: self._take_over(model, "backend auto"),
            self._memory.reset,
            self.get_logger(),
        )
        self._converter = ImageConverter()
        self._enabled = True
        self.parameters = NodeParameters(self, lambda: self._models.current is None)
        self.warn_of_unknown_parameters()
        log = self.get_logger()
        self._deadline = Deadline(self.parameters, log.info, log.warning)
        self._worker: InferenceWorker[Camera, Arrival] | None = None
        self._state = "unconfigured"
        self._told_threshold = 0.0  # of label_info
        # Of the last frames.
        self._used: SamplingOptions | None = None
        self._warned: dict[str, float] = {}
        forward_log("camss_ros", self.get_logger())
        silence_opencv()

        self.cameras = tuple(
            Camera(self, name, self.parameters, SegmenterStatus, self._submit, self._warn)
            for name in self.parameters.cameras() or ("",)
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # A steady clock: a paused simulation does not stop the reports.
        self._timer = self.create_timer(
            STATUS_PERIOD, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        # A group of its own: images go on while a model loads.
        self.create_service(
            Trigger,
            "~/reload_model",
            self._on_reload_model,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        # A bag that starts again, a simulation that is reset.
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1)),
            post_callback=self._on_time_jump,
        )

    # --- Lifecycle ------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and create the outputs."""
        log = self.get_logger()
        try:
            parameters = self.parameters.snapshot()
            converter = start_conversion(parameters["image_conversion"], log.warning)
            model = self._models.replace(
                self._models.begin(), lambda: self._load(parameters), lambda _: None
            )
            self._converter = converter.result()
        except CvBridgeUnusableError as error:
            log.error(str(error))
            self._release()
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # whatever it is, the node stays and can be configured again
            log.error(f"cannot load model {self.parameters['model']!r}: {error}")
            self._release()
            return TransitionCallbackReturn.FAILURE
        for camera in self.cameras:
            camera.configure()
        self._state = "inactive"
        self._tell_model(model, "configured")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to segment."""
        result = super().on_activate(state)  # enables the publishers
        self._memory.reset()
        self._used = None
        for camera in self.cameras:
            camera.counter.reset()
        with self._models.lock:  # a reload tells its classes before or after, not in between
            assert self._models.current is not None
            self._state = "active"
            self._publish_label_info(self._models.current)
        if self._enabled:
            self._start_inference()
        self._publish_status()
        self._measurement.start()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop inference; the model stays loaded."""
        self._measurement.stop()
        self._stop_inference()
        self._publish_status()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and its memory."""
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End, from any state."""
        self._release()
        self._state = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start over, unconfigured."""
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def autostart(self) -> None:
        """Configure and activate, as the parameter `autostart` asks for."""
        if (
            self.parameters["autostart"]
            and self.trigger_configure() == TransitionCallbackReturn.SUCCESS
        ):
            self.trigger_activate()

    def shut_down(self) -> None:
        """Make the last transition, unless somebody has made it."""
        if self._state != "finalized":
            self.trigger_shutdown()

    def cancel_inference(self) -> None:
        """Give up the image in work, from any thread; returns at once."""
        if self._worker is not None:
            self._worker.cancel()

    def _start_inference(self) -> None:
        self._worker = InferenceWorker(
            self._segment,
            lambda camera: camera.counter.dropped(),
            self._on_inference_error,
        )
        topics = [camera.subscribe() for camera in self.cameras]
        self.get_logger().info(f"active: segmenting {', '.join(topics)}")

    def _stop_inference(self) -> None:
        for camera in self.cameras:
            camera.unsubscribe()
        if self._worker is not None:
            self._worker.cancel()
            if not self._worker.join(CANCEL_TIME):
                self.get_logger().warning(
                    f"the device has not ended the image in work within {CANCEL_TIME:g} s: it is "
                    "given up, and its result will not be used"
                )
            self._worker = None

    def _release(self) -> None:
        self._measurement.stop()
        self._stop_inference()
        for camera in self.cameras:
            camera.release()
        self._models.release()

    def _load(self, parameters: ParameterValues) -> LoadedModel:
        return LoadedModel.load(self._segmenter_factory, parameters, self._prepare)

    def _prepare(self, segmenter: Segmenter) -> None:
        segmenter.warm_up(*WARM_UP_SIZE, batch=len(self.cameras))
        self._deadline.prepare(segmenter)

    def _tell_model(self, model: LoadedModel, what: str) -> None:
        segmenter = model.segmenter
        for camera in self.cameras:
            camera.update_status(
                model=segmenter.model_name,
                device=str(segmenter.device),
                backend=segmenter.backend,
            )
        self.get_logger().info(
            f"{what}: model {segmenter.model_name} on {segmenter.device} by {segmenter.backend}, "
            f"{len(model.mapping.classes)} classes; image conversion: {self._converter}"
        )

    def _publish_label_info(self, model: LoadedModel) -> None:
        self._told_threshold = self.parameters["ignore_below_confidence"]
        for camera in self.cameras:
            if camera.outputs is not None:
                camera.outputs.publish_label_info(model.mapping)

    # --- Services -------------------------------------------------------------------------------

    def _on_set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        """Stop or go on listening to images; the model stays loaded."""
        changed, self._enabled = self._enabled != request.data, request.data
        if changed and self._state == "active":
            if self._enabled:
                self._memory.reset()
                self._start_inference()
            else:
                self._stop_inference()
        response.success = True
        response.message = "enabled" if self._enabled else "disabled"
        if self._state != "active":
            response.message += f", once the node is active (it is {self._state})"
        return response

    async def _on_reload_model(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Load the model of the parameters beside the one in use, and change to it."""
        loading = self._reloading is not None and self._reloading == self._models.ticket
        if self._models.current is None or loading:
            response.message = "a model is being loaded" if loading else "not configured"
            return response
        self._measurement.stop()
        self._reloading = self._models.begin()
        done: rclpy.Future = rclpy.Future(executor=self.executor)
        threading.Thread(
            target=self._reload_model,
            args=[self._reloading, self.parameters.snapshot(), done],
            daemon=True,
        ).start()
        response.message = await done
        if self._state == "active":
            self._measurement.start()
        response.success = not response.message.startswith("failed")
        return response

    def _reload_model(self, ticket: int, parameters: ParameterValues, done: rclpy.Future) -> None:
        try:
            loaded = self._models.replace(
                ticket,
                lambda: self._load(parameters),
                lambda model: self._take_over(model, "reloaded"),
            )
            message = f"loaded {loaded.segmenter.model_name}"
        except SupersededError:
            message = f"failed to load model {parameters['model']!r}: the node was cleaned up"
            self.get_logger().info(message)
        except Exception as error:
            message = f"failed to load model {parameters['model']!r}: {error}"
            self.get_logger().error(f"{message}; the model in use stays")
        if self._reloading == ticket:
            self._reloading = None
        done.set_result(message)

    def _take_over(self, model: LoadedModel, what: str) -> None:
        """Between two frames: tell of the model before its first one."""
        self._memory.reset()
        self._tell_model(model, what)
        if self._state == "active":
            self._publish_label_info(model)

    # --- Input, in the executor -----------------------------------------------------------------

    def _submit(self, camera: Camera, arrival: Arrival) -> None:
        assert self._worker is not None
        self._worker.submit(camera, arrival)

    def _on_time_jump(self, jump: Any) -> None:
        for camera in self.cameras:
            camera.latencies.clear()
        self.get_logger().info("time jumped back: latencies start again")

    def _warn(self, kind: str, message: str) -> None:
        # rclpy throttles by line of code, which would let one kind of fault hide another.
        now = time.monotonic()
        if now - self._warned.get(kind, -WARNING_PERIOD) >= WARNING_PERIOD:
            self._warned[kind] = now
            self.get_logger().warning(message)

    # --- Inference and output, in the inference thread ------------------------------------------

    def _segment(self, arrivals: dict[Camera, Arrival], cancelled: Callable[[], bool]) -> None:
        """Segment and publish; each image is taken from `arrivals` as soon as it is counted."""
        frames = []
        for camera, arrival in list(arrivals.items()):
            try:
                begun = time.perf_counter()
                image = self._converter.to_rgb(arrival.message)
                frames.append(Frame(camera, arrival, image, time.perf_counter() - begun))
            except ImageRejectedError as error:
                del arrivals[camera]
                camera.reject(error)
            except Exception as error:  # one image must end neither the others nor the node
                del arrivals[camera]
                camera.fail(_reason(error))
        if not frames:
            return
        with self._models.in_use(cancelled) as model:
            try:
                results = self._infer(model.segmenter, frames, cancelled)
            except Exception as error:  # such as a device that is gone
                results = [_reason(error)] * len(frames)
            if cancelled():
                return
            worst, timings = 0.0, None
            for frame, result in zip(frames, results, strict=True):
                if isinstance(result, str):
                    self._give_up(arrivals, frame, result)
                    continue
                try:
                    seconds = self._publish(arrivals, model, frame, result)
                except Exception as error:
                    self._give_up(arrivals, frame, _reason(error))
                else:
                    if seconds > worst:
                        worst, timings = seconds, result.timings
        if timings is not None:
            self._deadline.observe(worst, timings)

    def _on_inference_error(self, cameras: Sequence[Camera], error: Exception) -> None:
        """Something else than a frame failed: the thread goes on with the next one."""
        for camera in cameras:
            camera.fail(_reason(error))
        if not cameras:
            self._warn("after", f"after the masks were published: {_reason(error)}")

    def _give_up(self, arrivals: dict[Camera, Arrival], frame: Frame, reason: str) -> None:
        if arrivals.pop(frame.camera, None) is not None:
            frame.camera.fail(reason)
        else:  # its mask was published
            frame.camera.warn("after", f"after the mask was published: {reason}")

    def _infer(
        self, segmenter: Segmenter, frames: Sequence[Frame], cancelled: Callable[[], bool]
    ) -> list[Segmentation | str]:
        """The result of each frame, or why there is none.

        Frames go together where that works, otherwise each alone: one that fails, or a lack of
        memory, costs the others time only.
        """
        # An exception in the result would lead, by its traceback, back to itself: after a cleanup
        # the cycle would keep the model until Python looks for such.
        from camss_ros.inference.memory import is_out_of_memory

        if len(frames) > 1 and not self._memory.one_frame:
            try:
                return [*self._attempt(segmenter, frames, cancelled)]
            except Exception as error:
                if cancelled():
                    return [_reason(error)] * len(frames)
                if is_out_of_memory(error):
                    self._memory.reduce(len(frames))
                    self._warn_of_memory()
                else:
                    reason = _reason(error)
                    self._warn("batch", f"images failed together, each runs alone: {reason}")
            # Only here, without the exception, is the memory of the failed attempt free.
            segmenter.release_memory()
        return [self._infer_alone(segmenter, frame, cancelled) for frame in frames]

    def _infer_alone(
        self, segmenter: Segmenter, frame: Frame, cancelled: Callable[[], bool]
    ) -> Segmentation | str:
        """Segment; where memory runs out, again with less, until there is nothing left to save."""
        from camss_ros.inference.memory import is_out_of_memory

        while True:
            try:
                (result,) = self._attempt(segmenter, [frame], cancelled)
            except Exception as error:
                if not is_out_of_memory(error) or not self._memory.reduce():
                    return _reason(error)
            else:
                self._memory.succeeded()
                return result
            # Only here, without the exception, is the memory of the failed attempt free.
            segmenter.release_memory()
            self._warn_of_memory()

    def _warn_of_memory(self) -> None:
        self._warn("memory", f"out of memory, from now on: {self._memory.measure}")

    def _attempt(
        self, segmenter: Segmenter, frames: Sequence[Frame], cancelled: Callable[[], bool]
    ) -> list[Segmentation]:
        """Segment frames together, with what the memory guard leaves."""
        from camss_ros.inference.segmenter import FrameRequest

        memory = self._memory
        self._deadline.apply(segmenter)
        if memory.one_sample:
            segmenter.sampling = replace(segmenter.sampling, samples=1)
        requests, sizes = [], []
        for frame in frames:
            outputs, stamp = frame.camera.outputs, frame.header.stamp
            assert outputs is not None
            sizes.append(outputs.output_size(frame.size))
            stamped = self.parameters["warm_start_time"] and (stamp.sec or stamp.nanosec)
            requests.append(
                FrameRequest(
                    frame.image,
                    segmenter.input_size if memory.at_network_size else sizes[-1],
                    # Not computed unless somebody listens.
                    uncertainty=outputs.is_heard("uncertainty"),
                    stamp=stamp.sec + 1e-9 * stamp.nanosec if stamped else None,
                    stream=frame.camera.name,
                )
            )
        results = segmenter.segment_batch(requests, cancelled=cancelled)
        return [
            result if result.labels.shape == size else enlarge(result, size)
            for result, size in zip(results, sizes, strict=True)
        ]

    def _publish(
        self,
        arrivals: dict[Camera, Arrival],
        model: LoadedModel,
        frame: Frame,
        result: Segmentation,
    ) -> float:
        """Returns the seconds from the image's arrival until its mask was published."""
        camera, header = frame.camera, frame.header
        outputs = camera.outputs
        assert outputs is not None
        begun = time.perf_counter()
        labels = outputs.publish(model.mapping, result, header, camera.info, frame.size)
        own = {"convert": frame.convert, "publish": time.perf_counter() - begun}
        if arrivals.pop(camera, None) is not None:
            camera.counter.segmented()
        stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
        seconds = latency(self.get_clock().now().nanoseconds, stamp, frame.arrival.time)
        from_arrival = time.monotonic() - frame.arrival.time
        camera.latencies.add(seconds)
        # Backends differ in the stages that they tell apart.
        stages = {**dict.fromkeys(STAGES, 0.0), **result.timings}
        self._used = model.segmenter.sampling
        network_height, network_width = model.segmenter.working_size
        camera.publish_status(
            header=header, latency=seconds, latency_from_arrival=from_arrival,
            warm_start=result.warm, network_height=network_height, network_width=network_width,
            **self._setting(), **stages, **own,
        )  # fmt: skip
        outputs.publish_pictures(frame.image, labels, model.mapping, header)
        return from_arrival

    # --- Reports --------------------------------------------------------------------------------

    def _publish_status(self) -> None:
        for camera in self.cameras:
            camera.publish_status(**self._setting())

    def _setting(self) -> dict[str, Any]:
        """Fields of SegmenterStatus that are the same for every camera."""
        sampling = self._used or self.parameters.sampling()
        return {
            **{name: getattr(sampling, name) for name in ("steps", "sampler", "samples")},
            "latency_budget": self._deadline.budget,
            "over_budget": self._deadline.exhausted,
        }

    def _report(self) -> None:
        works = self._worker is not None
        state = "disabled" if self._state == "active" and not works else self._state
        facts = self._facts()
        shared = {
            "memory_measure": self._memory.measure,
            "out_of_memory": self._memory.exhausted,
            "over_budget": self._deadline.exhausted,
            "time_in_work": self._worker.time_in_work() if self._worker is not None else 0.0,
        }
        expected = shared if works else None
        statuses = [camera.report(state, facts, expected) for camera in self.cameras]
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), statuses))
        if self._state == "active":
            self._publish_status()
            if self._told_threshold != self.parameters["ignore_below_confidence"]:
                with self._models.lock:
                    assert self._models.current is not None
                    self._publish_label_info(self._models.current)

    def _facts(self) -> dict[str, object]:
        used = vars(self._used) if self._used is not None else self.parameters
        facts: dict[str, object] = {
            "steps": used["steps"],
            "samples": used["samples"],
            "memory (MB)": resident_bytes() // 10**6,
            "image conversion": self._converter.name,
        }
        if (model := self._models.current) is not None:
            from camss_ros.inference.memory import memory_in_use

            if self._deadline.budget:
                height, width = model.segmenter.working_size
                facts["latency budget (s)"] = f"{self._deadline.budget:.4f}"
                facts["network input"] = f"{width} x {height}"
            facts["device"] = model.segmenter.device
            facts["model"] = model.segmenter.model_name
            facts["backend"] = model.segmenter.backend
            facts[MEASURING] = self._measurement.running
            facts["GPU memory (MB)"] = memory_in_use(model.segmenter.device) // 10**6
        return facts


def main(arguments: list[str] | None = None) -> int:
    """Run the node and end the process on SIGINT or SIGTERM, with exit code 0.

    Returns only when the node cannot be made: 1, with the reason on stderr.
    """
    # The main thread waits for a signal while another spins, so that a signal never interrupts
    # anything halfway and is served while a model loads.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = SegmenterNode()
    except START_ERRORS as error:
        print(f"segmenter: {start_problem(error)}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    failed = threading.Event()

    def spin() -> None:
        try:
            node.autostart()
            executor.spin()
        except BaseException:
            failed.set()
            raise
        finally:
            stop.set()

    spinner = threading.Thread(target=spin, name="executor", daemon=True)
    spinner.start()
    stop.wait()

    def end() -> None:
        node.cancel_inference()
        executor.shutdown(timeout_sec=0)
        spinner.join()
        node.shut_down()
        node.destroy_node()
        rclpy.shutdown()

    ending = threading.Thread(target=end, name="shutdown", daemon=True)
    ending.start()
    # It takes longer only while a model loads or a stage of the network runs, which cannot be
    # interrupted. Either way nothing is left to be saved, and Python's own end is skipped: with
    # torch loaded it takes more than a second on a busy machine.
    ending.join(SHUTDOWN_TIME)
    discard_unfinished()  # graphs that were being built for the cache
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(failed.is_set()))


if __name__ == "__main__":
    sys.exit(main())
