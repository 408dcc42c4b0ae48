"""What the node reports of itself: its model, `segmentation/status` and `/diagnostics`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode

from camss_ros.nodes.messages import diagnostic_array
from camss_ros.nodes.segmenter.backend_measurement import BackendMeasurement
from camss_ros.nodes.segmenter.camera import CameraChannel
from camss_ros.nodes.segmenter.deadline import Deadline
from camss_ros.nodes.segmenter.diagnostics import MEASURING, PROCESS
from camss_ros.nodes.segmenter.frame_processor import FrameProcessor
from camss_ros.nodes.segmenter.memory_guard import MemoryGuard
from camss_ros.nodes.segmenter.model_reloader import LoadedModel, ModelReloader
from camss_ros.nodes.segmenter.parameters import ParameterValues
from camss_ros.resident_memory import resident_bytes


class Reports:
    """Collects what is the same for every camera, and has each publish it with its own."""

    def __init__(
        self,
        node: LifecycleNode,
        cameras: Sequence[CameraChannel],
        parameters: ParameterValues,
        models: ModelReloader,
        processor: FrameProcessor,
        deadline: Deadline,
        memory: MemoryGuard,
        measurement: BackendMeasurement,
    ) -> None:
        self._node, self._cameras, self._parameters = node, cameras, parameters
        self._models, self._processor = models, processor
        self._deadline, self._memory, self._measurement = deadline, memory, measurement
        self._published_threshold = 0.0  # of label_info
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def publish_model(self, model: LoadedModel, what: str) -> None:
        """Log a model that has just been loaded, and have the next status name it."""
        segmenter = model.segmenter
        for camera in self._cameras:
            camera.forget_drift()
            camera.update_status(
                model=segmenter.model_name,
                device=str(segmenter.device),
                backend=segmenter.backend,
                token_distance=0.0,
                unsure_share=0.0,
            )
        self._node.get_logger().info(
            f"{what}: model {segmenter.model_name} on {segmenter.device} by {segmenter.backend}, "
            f"{len(model.mapping.classes)} classes; image conversion: {self._processor.converter}"
        )

    def publish_label_info(self, model: LoadedModel) -> None:
        """The names of its classes, and the threshold of confidence."""
        self._published_threshold = self._parameters["ignore_below_confidence"]
        for camera in self._cameras:
            if camera.outputs is not None:
                camera.outputs.publish_label_info(model.mapping)

    def publish_status(self) -> None:
        """The counts of every camera, and the settings."""
        for camera in self._cameras:
            camera.publish_status(**self._processor.status())

    def publish(self, state: str, time_in_work: float | None, failure: str) -> None:
        """What happened since the last call.

        Args:
            state: of the node's lifecycle.
            time_in_work: s since the images in work were taken; None while none are expected.
            failure: why the node could not be configured, or empty.
        """
        values = self._values()
        shared = None
        if time_in_work is not None:
            shared = {
                "memory_measure": self._memory.measure,
                "out_of_memory": self._memory.exhausted,
                "over_budget": self._deadline.exhausted,
                "time_in_work": time_in_work,
            }
        reported_state = "disabled" if state == "active" and time_in_work is None else state
        statuses = [
            camera.report(reported_state, values, shared, failure) for camera in self._cameras
        ]
        now = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostic_array(now, statuses))
        if state == "active":
            self.publish_status()
            if self._published_threshold != self._parameters["ignore_below_confidence"]:
                with self._models.lock:
                    assert self._models.current is not None
                    self.publish_label_info(self._models.current)

    def _values(self) -> dict[str, object]:
        status = self._processor.status()
        values: dict[str, object] = {
            "steps": status["steps"],
            "samples": status["samples"],
            PROCESS: os.getpid(),
            "memory (MB)": resident_bytes() // 10**6,
            "image conversion": self._processor.converter.name,
        }
        if (model := self._models.current) is not None:
            from camss_ros.inference.memory import memory_in_use

            segmenter, used = model.segmenter, self._processor.used
            if self._deadline.budget:
                height, width = used.size if used is not None else segmenter.input_size
                values["latency budget (s)"] = f"{self._deadline.budget:.4f}"
                values["network input"] = f"{width} x {height}"
            values["device"] = segmenter.device
            values["model"] = segmenter.model_name
            values["backend"] = segmenter.backend
            values[MEASURING] = self._measurement.running
            values["GPU memory (MB)"] = memory_in_use(segmenter.device) // 10**6
        return values
