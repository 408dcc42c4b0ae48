"""The lifecycle node `segmenter`: images in, label images out.

Subscribes (relative names): `image` (sensor_msgs/Image; `image/compressed` with
`image_transport: compressed`) and `camera_info`. Publishes below `segmentation/`: `mask`,
`confidence`, `overlay`, `camera_info`, `label_info`, `status`; and `/diagnostics`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.data.image_encoding import (
    ImageRejectedError,
    check_image,
    compressed_to_rgb,
    image_to_rgb,
)
from camss_ros.nodes.camera_info import scale_camera_info
from camss_ros.nodes.diagnostics import FrameCounter, diagnostic_array, diagnostic_status
from camss_ros.nodes.forward_log import forward_log
from camss_ros.nodes.image_bridge import to_image_message
from camss_ros.nodes.inference_worker import InferenceWorker
from camss_ros.nodes.label_info import label_info_message, label_info_type
from camss_ros.nodes.parameters import NodeParameters
from camss_ros.nodes.qos import LATCHED, PROFILES

if TYPE_CHECKING:
    from camss_ros.inference.segmenter import Segmentation, Segmenter

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
        self._segmenter: Segmenter | None = None
        self.parameters = NodeParameters(self, lambda: self._segmenter is None)
        self._worker: InferenceWorker[Image | CompressedImage] | None = None
        self._outputs: dict[str, Any] = {}
        self._subscriptions_in: list[Any] = []
        self._camera_info: CameraInfo | None = None
        self._status = SegmenterStatus()
        self._status_lock = threading.Lock()
        self._state = "unconfigured"
        self._warned: dict[str, float] = {}
        forward_log("camss_ros", self.get_logger())

        self._counter = FrameCounter()
        self._reported = self._counter.snapshot()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # A steady clock: a paused simulation does not stop the reports.
        self._timer = self.create_timer(
            STATUS_PERIOD, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    # --- Lifecycle ------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and create the outputs."""
        try:
            self._segmenter = self._segmenter_factory(self.parameters)
            self._segmenter.warm_up(*WARM_UP_SIZE)
        except Exception as error:  # whatever it is, the node stays and can be configured again
            self.get_logger().error(f"cannot load model {self.parameters['model']!r}: {error}")
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._create_outputs()
        self._status = self._status_type(
            model=self._segmenter.model_name,
            device=str(self._segmenter.device),
            backend=self._segmenter.backend,
        )
        self._state = "inactive"
        self.get_logger().info(
            f"configured: model {self._status.model} on {self._status.device} "
            f"by {self._status.backend}, "
            f"{len(self._segmenter.classes)} classes"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to segment."""
        result = super().on_activate(state)  # enables the publishers
        self._counter.reset()
        self._reported = self._counter.snapshot()
        assert self._segmenter is not None
        if "label_info" in self._outputs:
            header = Header(stamp=self.get_clock().now().to_msg())
            message = label_info_message(self._segmenter.classes, header)
            self._outputs["label_info"].publish(message)
        self._worker = InferenceWorker(self._segment, self._counter.dropped)
        self._create_subscriptions()
        self._state = "active"
        self._publish_status()
        self.get_logger().info(f"active: segmenting {self._subscriptions_in[0].topic_name}")
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
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self._outputs = {}
        if self._segmenter is not None:
            self._segmenter.close()
            self._segmenter = None
        self._camera_info = None

    def _create_outputs(self) -> None:
        qos = PROFILES[self.parameters["output_qos"]]
        kinds: dict[str, tuple[type, Any]] = {
            "mask": (Image, qos),
            "confidence": (Image, qos),
            "overlay": (Image, qos),
            "camera_info": (CameraInfo, qos),
            "status": (self._status_type, LATCHED),
        }
        label_info = label_info_type()
        if label_info is None:
            self.get_logger().warning("vision_msgs is not installed: no segmentation/label_info")
        else:
            kinds["label_info"] = (label_info, LATCHED)
        for name, (kind, profile) in kinds.items():
            topic = f"segmentation/{name}"
            self._outputs[name] = self.create_lifecycle_publisher(kind, topic, profile)

    def _create_subscriptions(self) -> None:
        qos = PROFILES[self.parameters["image_qos"]]
        if self.parameters["image_transport"] == "compressed":
            image = self.create_subscription(
                CompressedImage, "image/compressed", self._on_compressed_image, qos
            )
        else:
            image = self.create_subscription(Image, "image", self._on_image, qos)
        info = self.create_subscription(CameraInfo, "camera_info", self._on_camera_info, qos)
        self._subscriptions_in = [image, info]

    # --- Input, in the executor -----------------------------------------------------------------

    def _on_image(self, message: Image) -> None:
        self._counter.received()
        try:
            # Checked before its turn: a bad image must not overtake a good one.
            check_image(message)
        except ImageRejectedError as error:
            self._reject(error)
            return
        self._submit(message)

    def _on_compressed_image(self, message: CompressedImage) -> None:
        self._counter.received()
        self._submit(message)

    def _submit(self, message: Image | CompressedImage) -> None:
        assert self._worker is not None
        self._worker.submit(message)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

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

    def _segment(self, message: Image | CompressedImage, cancelled: Callable[[], bool]) -> None:
        try:
            is_raw = isinstance(message, Image)
            image = image_to_rgb(message) if is_raw else compressed_to_rgb(message)
            size = self._mask_size(image)
            assert self._segmenter is not None
            self._segmenter.sampling = self.parameters.sampling()
            result = self._segmenter.segment(image, size, cancelled=cancelled)
            self._publish(image, result, message.header)
        except ImageRejectedError as error:
            self._reject(error)
        except Exception as error:  # one image must not end the node
            if cancelled():
                self._counter.dropped()
            else:
                self._counter.failed()
                self._warn("failed", f"segmentation failed: {type(error).__name__}: {error}")

    def _mask_size(self, image: np.ndarray) -> tuple[int, int]:
        scale = self.parameters["mask_scale"]
        height, width = image.shape[:2]
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _publish(self, image: np.ndarray, result: Segmentation, header: Header) -> None:
        outputs = self._outputs
        outputs["mask"].publish(to_image_message(result.labels, "mono8", header))
        outputs["confidence"].publish(to_image_message(result.confidence, "mono8", header))
        if self._camera_info is not None:
            sizes = image.shape[:2], result.labels.shape
            outputs["camera_info"].publish(scale_camera_info(self._camera_info, *sizes, header))
        self._counter.segmented()
        stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
        latency = (self.get_clock().now().nanoseconds - stamp) / 1e9
        # Backends differ in the stages that they tell apart.
        stages = {**dict.fromkeys(STAGES, 0.0), **result.timings}
        self._publish_status(header=header, latency=latency, **stages)
        if outputs["overlay"].get_subscription_count() > 0:
            from camss_ros.data.drawing import overlay

            assert self._segmenter is not None
            picture = overlay(image, result.labels, self._segmenter.classes)
            outputs["overlay"].publish(to_image_message(picture, "rgb8", header))

    # --- Reports --------------------------------------------------------------------------------

    def _publish_status(self, **news: Any) -> None:
        counts = self._counter.snapshot()
        with self._status_lock:  # both threads publish it
            status = self._status
            for name, value in news.items():
                setattr(status, name, value)
            for name in ("steps", "sampler", "samples"):
                setattr(status, name, self.parameters[name])
            for name in ("received", "segmented", "dropped", "failed"):
                setattr(status, name, getattr(counts, name))
            status.rejected = counts.rejected.total()
            self._outputs["status"].publish(status)

    def _report(self) -> None:
        counts = self._counter.snapshot()
        status = diagnostic_status(
            self.get_fully_qualified_name(), self._state, counts, self._reported
        )
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), status))
        self._reported = counts
        if self._state == "active":
            self._publish_status()


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
