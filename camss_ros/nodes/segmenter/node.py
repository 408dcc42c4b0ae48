"""The lifecycle node `segmenter`: images in, label images out.

Topics and services: `interfaces.py`. With `cameras: [front, left]` those of a camera are below
`front/` and `left/`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import ClockChange, JumpThreshold
from rclpy.duration import Duration
from std_srvs.srv import SetBool, Trigger

from camss_ros.extras import require_node
from camss_ros.nodes.managed_node import CANCEL_TIME, ManagedNode
from camss_ros.nodes.node_log import SeldomWarnings, forward_log, readable
from camss_ros.nodes.segmenter.backend_measurement import BackendMeasurement
from camss_ros.nodes.segmenter.camera import CameraChannel
from camss_ros.nodes.segmenter.deadline import Deadline
from camss_ros.nodes.segmenter.frame import Arrival
from camss_ros.nodes.segmenter.frame_processor import FrameProcessor
from camss_ros.nodes.segmenter.image_conversion import start_conversion
from camss_ros.nodes.segmenter.memory_guard import MemoryGuard
from camss_ros.nodes.segmenter.model_reloader import LoadedModel, ModelReloader, SupersededError
from camss_ros.nodes.segmenter.parameters import NodeParameters, ParameterValues
from camss_ros.nodes.segmenter.reports import Reports
from camss_ros.nodes.worker import Worker

if TYPE_CHECKING:
    from camss_ros.inference.segmenter import Segmenter

# The network runs at its own size; the first frame of any other size is not slower.
WARM_UP_SIZE = (480, 640)


class SegmenterNode(ManagedNode):
    """Wires parameters, topics and the inference thread to a `Segmenter`.

    Images are checked in the executor and segmented in one inference thread, which also publishes;
    the newest image of each camera wins, and those that wait are segmented together.

    Args:
        segmenter_factory: makes the segmenter of the parameters when the node is configured.
        check_guard: raises where a segmenter falls below a guard, the file of the parameter.
        node_arguments: of `rclpy.lifecycle.Node`.
    """

    parameters: NodeParameters

    def __init__(
        self,
        *,
        segmenter_factory: Callable[[ParameterValues], Segmenter],
        check_guard: Callable[[str, Segmenter], None],
        **node_arguments: Any,
    ) -> None:
        super().__init__("segmenter", **node_arguments)
        # Generated code, imported late: in a checkout it lies in another directory than this file.
        require_node()
        from camss_ros.msg import SegmenterStatus

        log = self.get_logger()
        forward_log("camss_ros", log)
        self._segmenter_factory, self._check_guard = segmenter_factory, check_guard
        self._models = ModelReloader()
        self.parameters = NodeParameters(self, lambda: self._models.current is None)
        self.warn_of_unknown_parameters()
        self._enabled = True

        warn = SeldomWarnings(log)
        self._deadline = Deadline(self.parameters, log.info, log.warning)
        self._memory = MemoryGuard()
        self._processor = FrameProcessor(self._models, self._deadline, self._memory, warn)
        self._measurement = BackendMeasurement(
            self._models,
            lambda model: self._load(model.parameters),
            lambda model: self._take_over(model, "backend auto"),
            self._memory.reset,
            log,
        )
        self.cameras = tuple(
            CameraChannel(self, name, self.parameters, SegmenterStatus, self._submit, warn)
            for name in self.parameters.cameras() or ("",)
        )
        self._reports = Reports(
            self, self.cameras, self.parameters, self._models, self._processor,
            self._deadline, self._memory, self._measurement,
        )  # fmt: skip
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        # A group of its own: images go on while a model loads, and the next call waits for it.
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

    def _configure(self) -> None:
        """Load the model and create the outputs."""
        parameters = self.parameters.snapshot()
        converter = start_conversion(parameters["image_conversion"], self.get_logger().warning)
        try:
            model = self._models.replace(
                self._models.begin(), lambda: self._load(parameters), lambda _: None
            )
        except Exception as error:
            raise RuntimeError(f"cannot load model {parameters['model']!r}: {error}") from error
        self._processor.converter = converter.result()
        for camera in self.cameras:
            camera.configure()
        self._reports.publish_model(model, "configured")

    def _activate(self) -> None:
        """Start to segment."""
        self._processor.reset()
        for camera in self.cameras:
            camera.counter.reset()
            camera.reset_reports()  # disabled, it does not subscribe
        with self._models.lock:  # a reload tells its classes before or after, not in between
            assert self._models.current is not None
            self._reports.publish_label_info(self._models.current)
        if self._enabled:
            self._start_inference()
        self._reports.publish_status()
        self._measurement.start()

    def _deactivate(self) -> None:
        """Stop inference; the model stays loaded."""
        self._measurement.stop()
        self._stop_inference()
        self._reports.publish_status()

    def _start_inference(self) -> None:
        self._worker = Worker(
            self._processor.process,
            lambda camera: camera.counter.count("dropped"),
            self._processor.failed,
            # those that arrive while a key frame is in work: each takes little time
            waiting=max(1, self.parameters["keyframe_interval"] - 1),
        )
        topics = [camera.subscribe() for camera in self.cameras]
        self.get_logger().info(f"active: segmenting {', '.join(topics)}")

    def _stop_inference(self) -> None:
        for camera in self.cameras:
            camera.unsubscribe()
        if not self._stop_worker():
            self.get_logger().warning(
                f"the device has not ended the image in work within {CANCEL_TIME:g} s: it is given "
                "up, and its result will not be used"
            )

    def _release(self) -> None:
        self._measurement.stop()
        self._stop_inference()
        for camera in self.cameras:
            camera.release()
        self._models.release()

    def _load(self, parameters: ParameterValues) -> LoadedModel:
        return LoadedModel.load(self._segmenter_factory, parameters, self._prepare)

    def _prepare(self, segmenter: Segmenter, parameters: ParameterValues) -> None:
        segmenter.warm_up(*WARM_UP_SIZE, batch=len(self.cameras))
        if guard := parameters["guard"]:
            self._check_guard(guard, segmenter)
            segmenter.forget_last_frames()
        self._deadline.prepare(segmenter)

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
        if self._models.current is None:
            response.message = "not configured"
            return response
        self._measurement.stop()
        done: rclpy.Future = rclpy.Future(executor=self.executor)
        threading.Thread(
            target=self._reload_model,
            args=[self._models.begin(), self.parameters.snapshot(), done],
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
            message = readable(f"failed to load model {parameters['model']!r}: {error}")
            self.get_logger().error(f"{message}; the model in use stays")
        done.set_result(message)

    def _take_over(self, model: LoadedModel, what: str) -> None:
        """Between two frames: tell of the model before its first one."""
        self._processor.reset()
        self._reports.publish_model(model, what)
        if self._state == "active":
            self._reports.publish_label_info(model)

    # --- Input, in the executor -----------------------------------------------------------------

    def _submit(self, camera: CameraChannel, arrival: Arrival) -> None:
        assert self._worker is not None
        self._worker.submit(camera, arrival)

    def _on_time_jump(self, jump: Any) -> None:
        for camera in self.cameras:
            camera.latencies.clear()
        changed = (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED)
        what = "use_sim_time changed" if jump.clock_change in changed else "time jumped back"
        self.get_logger().info(f"{what}: latencies start again")

    def _report(self) -> None:
        worker = self._worker
        time_in_work = None if worker is None else worker.time_in_work()
        self._reports.publish(self._state, time_in_work, self._failure)
