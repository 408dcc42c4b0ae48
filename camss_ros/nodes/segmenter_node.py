"""The lifecycle node `segmenter`: images in, label images out.

Subscribes (relative names): `image` (sensor_msgs/Image; `image/compressed` with
`image_transport: compressed`) and `camera_info`. Publishes below `segmentation/`: `mask`,
`confidence`, `uncertainty`, `overlay`, `camera_info`, `label_info`, `status`; and `/diagnostics`.
Services: `~/set_enabled` (std_srvs/SetBool), `~/reload_model` (std_srvs/Trigger).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from camss_ros.data.image_encoding import (
    ImageRejectedError,
    check_image,
    compressed_to_rgb,
    image_to_rgb,
)
from camss_ros.nodes.deadline import Deadline
from camss_ros.nodes.diagnostics import (
    FrameCounter,
    FrameCounts,
    diagnostic_array,
    diagnostic_status,
)
from camss_ros.nodes.forward_log import forward_log
from camss_ros.nodes.health import LatencyWindow, Observation, assess, latency, resident_bytes
from camss_ros.nodes.inference_worker import InferenceWorker
from camss_ros.nodes.input_monitor import explain_silence
from camss_ros.nodes.memory_guard import MemoryGuard
from camss_ros.nodes.outputs import LoadedModel, Outputs, enlarge
from camss_ros.nodes.parameters import NodeParameters
from camss_ros.nodes.qos import PROFILES

if TYPE_CHECKING:
    from camss_ros.inference.segmenter import Segmentation, Segmenter
    from camss_ros.model.schedule import SamplingOptions

STATUS_PERIOD = 1.0  # s
WARNING_PERIOD = 10.0  # s, for each kind of warning
# s from the signal to the end of the process, whatever the network is doing
SHUTDOWN_TIME = 1.0
STAGES = ("preprocess", "tokens", "transformer", "sampling", "decode", "network", "postprocess")
# The network runs at its own size; the first frame of any other size is not slower.
WARM_UP_SIZE = (480, 640)


def load_segmenter(parameters: NodeParameters) -> Segmenter:
    """The segmenter that the parameters describe."""
    from camss_ros.inference.segmenter import Segmenter  # imports torch: only when configured

    return Segmenter(
        parameters["model"],
        device=parameters["device"],
        precision=parameters["precision"],
        sampling=parameters.sampling(),
        seed=parameters["seed"],
        backend=parameters["backend"],
    )


class SegmenterNode(LifecycleNode):
    """Wires parameters, topics and the inference thread to a `Segmenter`.

    Images are checked in the executor and segmented in one inference thread, which also publishes;
    the newest image wins. `segmenter_factory` makes the segmenter when the node is configured.
    """

    def __init__(
        self,
        *,
        segmenter_factory: Callable[[NodeParameters], Segmenter] = load_segmenter,
        **node_arguments: Any,
    ) -> None:
        super().__init__("segmenter", **node_arguments)
        # Generated code, imported late: in a checkout it lies in another directory than this file.
        from camss_ros.msg import SegmenterStatus

        self._status_type = SegmenterStatus
        self._segmenter_factory = segmenter_factory
        self._model: LoadedModel | None = None
        # Held while a frame is in work: a reloaded model takes over between two frames.
        self._model_lock = threading.Lock()
        self._reloading = False
        self._enabled = True
        self._memory = MemoryGuard()
        self.parameters = NodeParameters(self, lambda: self._model is None)
        log = self.get_logger()
        self._deadline = Deadline(self.parameters, log.info, log.warning)
        # With the time of arrival.
        self._worker: InferenceWorker[tuple[Image | CompressedImage, float]] | None = None
        self._outputs: Outputs | None = None
        self._subscriptions_in: list[Any] = []
        self._camera_info: CameraInfo | None = None
        self._status = SegmenterStatus()
        self._status_lock = threading.Lock()
        self._state = "unconfigured"
        # Of the last frame.
        self._used: SamplingOptions | None = None
        self._warned: dict[str, float] = {}
        forward_log("camss_ros", self.get_logger())

        self._counter = FrameCounter()
        self._latencies = LatencyWindow()
        self._reset_reports()
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
        try:
            self._model = LoadedModel.load(self._segmenter_factory, self.parameters)
            self._model.segmenter.warm_up(*WARM_UP_SIZE)
            self._deadline.prepare(self._model.segmenter)
        except Exception as error:  # whatever it is, the node stays and can be configured again
            self.get_logger().error(f"cannot load model {self.parameters['model']!r}: {error}")
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._outputs = Outputs(self, self.parameters, self._status_type, self._warn)
        self._status = self._status_type()
        self._state = "inactive"
        self._tell_model("configured")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to segment."""
        result = super().on_activate(state)  # enables the publishers
        self._counter.reset()
        self._memory.reset()
        self._used = None
        assert self._model is not None
        assert self._outputs is not None
        self._outputs.publish_label_info(self._model.mapping)
        self._state = "active"
        if self._enabled:
            self._start_inference()
        self._publish_status()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop inference; the model stays loaded."""
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

    def cancel_inference(self) -> None:
        """Give up the image in work, from any thread; returns at once."""
        if self._worker is not None:
            self._worker.cancel()

    def _start_inference(self) -> None:
        self._reset_reports()
        self._worker = InferenceWorker(self._segment, self._counter.dropped)
        self._create_subscriptions()
        self.get_logger().info(f"active: segmenting {self._subscriptions_in[0].topic_name}")

    def _stop_inference(self) -> None:
        for subscription in self._subscriptions_in:
            self.destroy_subscription(subscription)
        self._subscriptions_in = []
        if self._worker is not None:
            self._worker.cancel()
            self._worker.join()
            self._worker = None

    def _release(self) -> None:
        self._stop_inference()
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None
        with self._model_lock:
            if self._model is not None:
                self._model.segmenter.close()
                self._model = None
        self._camera_info = None

    def _tell_model(self, what: str) -> None:
        assert self._model is not None
        segmenter = self._model.segmenter
        with self._status_lock:
            self._status.model = segmenter.model_name
            self._status.device = str(segmenter.device)
            self._status.backend = segmenter.backend
        self.get_logger().info(
            f"{what}: model {segmenter.model_name} on {segmenter.device} by {segmenter.backend}, "
            f"{len(self._model.mapping.classes)} classes"
        )

    def _create_subscriptions(self) -> None:
        qos = PROFILES[self.parameters["image_qos"]]
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos)
        if self.parameters["image_transport"] == "compressed":
            image = self.create_subscription(
                CompressedImage,
                "image/compressed",
                self._on_compressed_image,
                qos,
                event_callbacks=events,
            )
        else:
            image = self.create_subscription(
                Image, "image", self._on_image, qos, event_callbacks=events
            )
        info = self.create_subscription(
            CameraInfo, "camera_info", self._on_camera_info, qos, event_callbacks=events
        )
        self._subscriptions_in = [image, info]

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
        if self._model is None or self._reloading:
            response.message = "a model is being loaded" if self._reloading else "not configured"
            return response
        self._reloading = True
        done: rclpy.Future = rclpy.Future(executor=self.executor)
        threading.Thread(target=self._reload_model, args=[done], daemon=True).start()
        response.message = await done
        response.success = not response.message.startswith("failed")
        return response

    def _reload_model(self, done: rclpy.Future) -> None:
        try:
            loaded = LoadedModel.load(self._segmenter_factory, self.parameters)
            loaded.segmenter.warm_up(*WARM_UP_SIZE)
            self._deadline.prepare(loaded.segmenter)
            with self._model_lock:
                replaced, self._model = self._model, loaded if self._model else None
            if replaced is None:  # cleaned up meanwhile
                loaded.segmenter.close()
                raise RuntimeError("the node was cleaned up")
            replaced.segmenter.close()
            self._memory.reset()
            self._tell_model("reloaded")
            if self._state == "active" and self._outputs is not None:
                self._outputs.publish_label_info(loaded.mapping)
            done.set_result(f"loaded {loaded.segmenter.model_name}")
        except Exception as error:  # the old model goes on
            message = f"failed to load model {self.parameters['model']!r}: {error}"
            self.get_logger().error(f"{message}; the model in use stays")
            done.set_result(message)
        finally:
            self._reloading = False

    # --- Input, in the executor -----------------------------------------------------------------

    def _on_image(self, message: Image) -> None:
        self._note_arrival()
        try:
            # Checked before its turn: a bad image must not overtake a good one.
            check_image(message)
        except ImageRejectedError as error:
            self._reject(error)
            return
        self._submit(message)

    def _on_compressed_image(self, message: CompressedImage) -> None:
        self._note_arrival()
        self._submit(message)

    def _note_arrival(self) -> None:
        self._counter.received()
        self._last_image = time.monotonic()

    def _submit(self, message: Image | CompressedImage) -> None:
        assert self._worker is not None
        self._worker.submit((message, time.monotonic()))

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_incompatible_qos(self, event: Any) -> None:
        for subscription in self._subscriptions_in:
            reason = self._explain(subscription)
            if "incompatible" in reason:
                self._warn("incompatible_qos", reason)

    def _explain(self, subscription: Any) -> str:
        kind = subscription.msg_type
        type_name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        return explain_silence(self, subscription.topic_name, type_name, subscription.qos_profile)

    def _on_time_jump(self, jump: Any) -> None:
        self._latencies.clear()
        self.get_logger().info("time jumped back: latencies start again")

    def _reject(self, error: ImageRejectedError) -> None:
        self._counter.rejected(error.reason)
        self._warn(error.reason, f"image rejected: {error}")

    def _warn(self, kind: str, message: str) -> None:
        # rclpy throttles by line of code, which would let one kind of fault hide another.
        now = time.monotonic()
        if now - self._warned.get(kind, -WARNING_PERIOD) >= WARNING_PERIOD:
            self._warned[kind] = now
            self.get_logger().warning(message)

    # --- Inference and output, in the inference thread ------------------------------------------

    def _segment(
        self, frame: tuple[Image | CompressedImage, float], cancelled: Callable[[], bool]
    ) -> None:
        message, arrival = frame
        try:
            is_raw = isinstance(message, Image)
            image = image_to_rgb(message) if is_raw else compressed_to_rgb(message)
            with self._model_lock:
                model = self._model
                assert model is not None
                result = self._infer(model.segmenter, image, message.header, cancelled)
            self._publish(model, image, result, message.header, arrival)
        except ImageRejectedError as error:
            self._reject(error)
        except Exception as error:  # one image must not end the node
            if cancelled():
                self._counter.dropped()
            else:
                self._counter.failed()
                self._warn("failed", f"segmentation failed: {type(error).__name__}: {error}")

    def _infer(
        self,
        segmenter: Segmenter,
        image: np.ndarray,
        header: Header,
        cancelled: Callable[[], bool],
    ) -> Segmentation:
        """Segment; where memory runs out, again with less, until there is nothing left to save."""
        from camss_ros.inference.memory import is_out_of_memory

        assert self._outputs is not None
        height, width = image.shape[:2]
        size = self._outputs.output_size((height, width))
        # Not computed unless somebody listens.
        options: dict[str, Any] = {}
        if self._outputs.is_heard("uncertainty"):
            options["uncertainty"] = True
        if self.parameters["warm_start_time"] and (header.stamp.sec or header.stamp.nanosec):
            options["stamp"] = header.stamp.sec + 1e-9 * header.stamp.nanosec
        while True:
            self._deadline.apply(segmenter)
            if self._memory.level:
                segmenter.sampling = replace(segmenter.sampling, samples=1)
            small = segmenter.input_size if self._memory.level > 1 else size
            try:
                result = segmenter.segment(image, small, cancelled=cancelled, **options)
            except Exception as error:
                if not is_out_of_memory(error) or not self._memory.reduce():
                    raise
            else:
                self._memory.succeeded()
                return result if small == size else enlarge(result, size)
            # Only here, without the exception, is the memory of the failed attempt free.
            segmenter.release_memory()
            self._warn("memory", f"out of memory, from now on: {self._memory.measure}")

    def _publish(
        self,
        model: LoadedModel,
        image: np.ndarray,
        result: Segmentation,
        header: Header,
        arrival: float,
    ) -> None:
        outputs = self._outputs
        assert outputs is not None
        height, width = image.shape[:2]
        labels = outputs.publish(model.mapping, result, header, self._camera_info, (height, width))
        self._counter.segmented()
        stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
        seconds = latency(self.get_clock().now().nanoseconds, stamp, arrival)
        self._latencies.add(seconds)
        self._deadline.observe(time.monotonic() - arrival, result.timings)
        # Backends differ in the stages that they tell apart.
        stages = {**dict.fromkeys(STAGES, 0.0), **result.timings}
        self._used = model.segmenter.sampling
        network_height, network_width = model.segmenter.working_size
        self._publish_status(
            header=header, latency=seconds, warm_start=result.warm, network_height=network_height,
            network_width=network_width, **stages,
        )  # fmt: skip
        if outputs.is_heard("overlay"):
            outputs.publish_overlay(image, labels, model.mapping, header)

    # --- Reports --------------------------------------------------------------------------------

    def _publish_status(self, **news: Any) -> None:
        counts = self._counter.snapshot()
        with self._status_lock:  # both threads publish it
            status = self._status
            for name, value in news.items():
                setattr(status, name, value)
            sampling = self._used or self.parameters.sampling()
            for name in ("steps", "sampler", "samples"):
                setattr(status, name, getattr(sampling, name))
            status.latency_budget = self._deadline.budget
            status.over_budget = self._deadline.exhausted
            for name in ("received", "segmented", "dropped", "failed"):
                setattr(status, name, getattr(counts, name))
            status.rejected = counts.rejected.total()
            if self._outputs is not None:
                self._outputs.publish_status(status)

    def _reset_reports(self) -> None:
        self._reported = self._counter.snapshot()
        self._reported_at = self._last_image = time.monotonic()
        self._latencies.clear()

    def _report(self) -> None:
        counts, now = self._counter.snapshot(), time.monotonic()
        works = self._worker is not None
        found = assess(self._observe(counts, now), self.parameters) if works else []
        state = "disabled" if self._state == "active" and not works else self._state
        status = diagnostic_status(
            self.get_fully_qualified_name(), state, counts, found, self._facts(counts, now)
        )
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), status))
        self._reported, self._reported_at = counts, now
        if self._state == "active":
            self._publish_status()

    def _observe(self, counts: FrameCounts, now: float) -> Observation:
        previous = self._reported
        silence = now - self._last_image
        reason = ""
        if silence >= min(self.parameters["warn_no_image"], self.parameters["error_no_image"]):
            reason = self._explain(self._subscriptions_in[0])
            if self.get_parameter("use_sim_time").value and not self.count_publishers("/clock"):
                reason += "; use_sim_time is set and nobody publishes /clock"
            if self.parameters["warn_no_image"] > 0:
                self._warn("no_image", f"no image for {silence:.1f} s: {reason}")
        return Observation(
            period=max(now - self._reported_at, 1e-3),
            received=counts.received - previous.received,
            segmented=counts.segmented - previous.segmented,
            unusable=counts.rejected.total()
            + counts.failed
            - previous.rejected.total()
            - previous.failed,
            latency=self._latencies.percentile(95),
            silence=silence,
            silence_reason=reason,
            memory_measure=self._memory.measure,
            out_of_memory=self._memory.exhausted,
            over_budget=self._deadline.exhausted,
        )

    def _facts(self, counts: FrameCounts, now: float) -> dict[str, object]:
        period = max(now - self._reported_at, 1e-3)
        used = vars(self._used) if self._used is not None else self.parameters
        facts: dict[str, object] = {
            "input rate (Hz)": f"{(counts.received - self._reported.received) / period:.2f}",
            "output rate (Hz)": f"{(counts.segmented - self._reported.segmented) / period:.2f}",
            "latency p50 (s)": f"{self._latencies.percentile(50):.4f}",
            "latency p95 (s)": f"{self._latencies.percentile(95):.4f}",
            "time without an image (s)": f"{now - self._last_image:.1f}",
            "steps": used["steps"],
            "samples": used["samples"],
            "memory (MB)": resident_bytes() // 10**6,
        }
        if (model := self._model) is not None:
            from camss_ros.inference.memory import memory_in_use

            if self._deadline.budget:
                height, width = model.segmenter.working_size
                facts["latency budget (s)"] = f"{self._deadline.budget:.4f}"
                facts["network input"] = f"{width} x {height}"
            facts["device"] = model.segmenter.device
            facts["model"] = model.segmenter.model_name
            facts["GPU memory (MB)"] = memory_in_use(model.segmenter.device) // 10**6
        if self._subscriptions_in:
            facts["image publishers"] = self._subscriptions_in[0].get_publisher_count()
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
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = SegmenterNode()
    except (ParameterException, ImportError) as error:
        print(f"segmenter: {error}", file=sys.stderr)
        rclpy.shutdown()
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
        node.trigger_shutdown()
        node.destroy_node()
        rclpy.shutdown()

    ending = threading.Thread(target=end, name="shutdown", daemon=True)
    ending.start()
    # It takes longer only while a model loads or a stage of the network runs, which cannot be
    # interrupted. Either way nothing is left to be saved, and Python's own end is skipped: with
    # torch loaded it takes more than a second on a busy machine.
    ending.join(SHUTDOWN_TIME)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(failed.is_set()))


if __name__ == "__main__":
    sys.exit(main())
