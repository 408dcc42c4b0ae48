"""The lifecycle node `projector`: masks with depth, lidar or a mount in, clouds and ground out.

Topics: `interfaces.py`. With `cameras: [front, left]` those of a camera are below `front/` and
`left/`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from camss_ros.nodes.managed_node import ManagedNode
from camss_ros.nodes.node_log import SeldomWarnings
from camss_ros.nodes.process import run_until_signal
from camss_ros.nodes.projection.depth_job import DepthJob
from camss_ros.nodes.projection.ground_job import GroundJob
from camss_ros.nodes.projection.job import Job, JobContext
from camss_ros.nodes.projection.label_stream import LabelStream
from camss_ros.nodes.projection.lidar_job import LidarJob
from camss_ros.nodes.projection.parameters import ProjectorParameters
from camss_ros.nodes.projection.reports import Reports
from camss_ros.nodes.projection.transforms import Transforms
from camss_ros.nodes.worker import Worker
from camss_ros.projection.errors import ProjectionRejectedError


class ProjectorNode(ManagedNode):
    """Wires parameters and topics to jobs.

    Inputs are checked and joined in the executor, projected and published in one other thread; of
    what waits for it, the newest set of each job.
    """

    parameters: ProjectorParameters

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("projector", **node_arguments)
        self.parameters = ProjectorParameters(self, lambda: self._state == "unconfigured")
        self.warn_of_unknown_parameters()
        self.reports = Reports(self, SeldomWarnings(self.get_logger()))
        self.jobs: list[Job] = []
        self._streams: list[LabelStream] = []
        self._transforms: Transforms | None = None

    # --- Lifecycle ------------------------------------------------------------------------------

    def _configure(self) -> None:
        """Create the jobs with their outputs."""
        self._transforms = Transforms(self)
        given = JobContext(
            self, self.parameters, self._transforms, self.parameters.classes(), self._submit,
            self.reports.reject,
        )  # fmt: skip
        cameras = self.parameters.cameras()
        of_camera: dict[str, list[Job]] = {camera: [] for camera in cameras}

        def add(job: Job, seen_by: Sequence[str]) -> None:
            self.jobs.append(job)
            for camera in seen_by:
                of_camera[camera].append(job)

        if self.parameters["cloud_from"] == "lidar":
            add(LidarJob(given, cameras), cameras)
        for camera in cameras:
            if self.parameters["cloud_from"] == "depth":
                add(DepthJob(given, camera), [camera])
            add(GroundJob(given, camera, len(cameras)), [camera])
        self._streams = [LabelStream(given, camera, jobs) for camera, jobs in of_camera.items()]

    def _activate(self) -> None:
        """Start to project."""
        self.reports.reset()
        self._worker = Worker(
            self._process,
            lambda job: self.reports.count(job, "dropped"),
            self._failed,
            "projection",
        )
        for stream in self._streams:
            stream.subscribe()
        for job in self.jobs:
            job.subscribe()
        names = ", ".join(job.name for job in self.jobs)
        self.get_logger().info(f"active: {names}, each while somebody listens")

    def _deactivate(self) -> None:
        """Stop listening."""
        for stream in self._streams:
            stream.unsubscribe()
        for job in self.jobs:
            job.unsubscribe()
        self._stop_worker()

    def _release(self) -> None:
        self._deactivate()
        for job in self.jobs:
            job.outputs.destroy()
        self.jobs, self._streams = [], []
        if self._transforms is not None:
            self._transforms.destroy()
            self._transforms = None

    # --- Sets of inputs -------------------------------------------------------------------------

    def _submit(self, job: Job, inputs: Any) -> None:
        """From the executor: a set is complete."""
        assert self._worker is not None
        self.reports.count(job, "sets")
        self._worker.submit(job, inputs)

    def _process(self, sets: dict[Job, Any], cancelled: Callable[[], bool]) -> None:
        for job in list(sets):
            if cancelled():
                return
            try:
                job.process(sets[job])
            except ProjectionRejectedError as error:
                tell = partial(self.reports.reject, job, error.reason, str(error))
            except Exception as error:  # of this job; the others go on
                tell = partial(self.reports.fail, job, error)
            else:
                tell = partial(self.reports.count, job, "projected")
            # Not there: the worker has given up waiting for it, and has counted it.
            if sets.pop(job, None) is not None:
                tell()

    def _failed(self, jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            self.reports.fail(job, error)

    def _report(self) -> None:
        limit = self.parameters["warn_no_input"]
        self.reports.publish(self._state, self.jobs, limit, self._failure)


def main(arguments: list[str] | None = None) -> int:
    """The program `projector`; see `run_until_signal`."""
    return run_until_signal("projector", ProjectorNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
