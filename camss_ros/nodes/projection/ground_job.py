"""Drivable ground and where it ends, from the masks of one camera."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Header

from camss_ros.images.image_files import read_image
from camss_ros.images.nearest import resize_nearest
from camss_ros.nodes.messages import nanoseconds, to_array
from camss_ros.nodes.projection.job import Input, Job, JobContext, Labels
from camss_ros.nodes.projection.outputs import to_cloud_message, to_grid_message
from camss_ros.nodes.projection.parameters import ProjectorParameters
from camss_ros.projection.depth_cloud import POINT, dense_cloud
from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.grid_memory import GridMemory
from camss_ros.projection.ground import GridLayout, GroundProjector, GroundView, ranges
from camss_ros.projection.odometry import OdometryTrack, yaw_of
from camss_ros.projection.transforms import Mount

_OUTPUTS = ("drivable_grid", "obstacle_points", "obstacle_scan")
# m above the ground: an obstacle layer with a lowest height of 0 keeps them, tilted frames too.
_HEIGHT_OF_OBSTACLES = 0.3
_RAYS = 720
_INCREMENT = 2 * math.pi / _RAYS
_MOST_CELLS = 10_000_000  # of a grid: each takes 160 bytes while it is laid into the camera's view


class GroundJob(Job):
    """`drivable_grid`, `obstacle_points` and `obstacle_scan` of one camera.

    Raises:
        ValueError: an image of the own vehicle that cannot be read, a grid of too many cells, or
            `mount` for several cameras.
    """

    def __init__(self, given: JobContext, camera: str, cameras: int) -> None:
        parameters = given.parameters
        self._cameras = cameras
        self._mount(parameters)
        self._layout = _layout(parameters)
        self._ego = _ego_mask(parameters["ego_mask"])
        self._projector: GroundProjector | None = None
        self._key: Any = None
        self._memory = GridMemory(self._layout) if parameters["grid_memory"] else None
        self._track = OdometryTrack()
        self._has_jumped = False  # set by the executor, taken back by the worker
        super().__init__(given, _OUTPUTS, camera)

    def _inputs(self) -> Iterator[Input]:
        if self._memory is not None:
            yield Odometry, "odometry", self._on_odometry

    def take(self, camera: str, labels: Labels) -> None:
        """See `Job`."""
        self._given.submit(self, labels)

    def _on_odometry(self, message: Odometry) -> None:
        place, turn = message.pose.pose.position, message.pose.pose.orientation
        yaw = yaw_of(turn.x, turn.y, turn.z, turn.w)
        try:
            goes_on = self._track.add(nanoseconds(message.header.stamp), place.x, place.y, yaw)
        except ProjectionRejectedError as error:
            self._given.reject(self, error.reason, f"odometry: {error}")
            return
        self._has_jumped |= not goes_on

    def process(self, inputs: Labels) -> None:
        """See `Job`."""
        parameters = self._given.parameters
        header = Header(stamp=inputs.header.stamp, frame_id=parameters["vehicle_frame"])
        view = self._projector_for(inputs).look(inputs.labels, inputs.confidence)
        if self.outputs.is_heard("obstacle_points"):
            cloud = to_cloud_message(dense_cloud(self._obstacles(view)), header)
            self.outputs.publish("obstacle_points", cloud)
        if self.outputs.is_heard("obstacle_scan"):
            self.outputs.publish("obstacle_scan", self._scan(view, header))
        # Last: without odometry it cannot be made, and the others can.
        if self.outputs.is_heard("drivable_grid"):
            grid = view.grid
            if self._memory is not None:
                place = self._track.at(nanoseconds(header.stamp))
                if self._has_jumped:
                    self._has_jumped = False
                    self._memory.clear()
                grid = self._memory.update(grid, *place)
            message = to_grid_message(grid, self._layout, header)
            self.outputs.publish("drivable_grid", message)

    def _projector_for(self, inputs: Labels) -> GroundProjector:
        matrix = self._vehicle_to_camera(inputs.header)
        key = (inputs.camera, matrix.round(5).tobytes())
        if self._projector is None or key != self._key:
            ego = None
            if self._ego is not None:
                size = (inputs.camera.height, inputs.camera.width)
                ego = resize_nearest(self._ego.astype(np.uint8), size).astype(bool)
            self._projector = GroundProjector(
                inputs.camera, matrix, self._layout, self._given.classes.ground, ego
            )
            self._key = key
        return self._projector

    def _vehicle_to_camera(self, header: Header) -> np.ndarray:
        mount = self._mount(self._given.parameters)
        if mount is not None:
            return mount.vehicle_to_camera()
        return self._given.transforms.lookup(
            (header.frame_id, header.stamp),
            (self._given.parameters["vehicle_frame"], header.stamp),
            timeout=self._given.parameters["tf_timeout"],
        )

    def _mount(self, parameters: ProjectorParameters) -> Mount | None:
        """As the parameter has it, which may change; None where TF is asked."""
        height, pitch, roll = parameters["mount"]
        if not height:
            return None
        if self._cameras > 1:
            raise ProjectionRejectedError(
                "mount",
                f"mount is that of one camera, not of {self._cameras}: publish TF for them",
            )
        return Mount(height, math.radians(pitch), math.radians(roll))

    def _obstacles(self, view: GroundView) -> np.ndarray:
        points = np.zeros((1, len(view.obstacles)), POINT)
        points["x"], points["y"] = view.obstacles.T
        points["z"] = _HEIGHT_OF_OBSTACLES
        points["label"], points["confidence"] = view.obstacle_labels, view.obstacle_confidence
        points["rgb"] = self._given.classes.colors[view.obstacle_labels]
        return points

    def _scan(self, view: GroundView, header: Header) -> LaserScan:
        scan = LaserScan(
            header=header, angle_min=-(_RAYS - 1) / 2 * _INCREMENT,
            angle_max=(_RAYS - 1) / 2 * _INCREMENT, angle_increment=_INCREMENT,
            range_min=0.0, range_max=self._layout.radius,
        )  # fmt: skip
        scan.ranges = to_array(ranges(view, _RAYS, _INCREMENT).view(np.uint8).data, "f")
        return scan


def _layout(parameters: ProjectorParameters) -> GridLayout:
    """Of the grid. Raises ValueError where it has too many cells."""
    x_min, x_max, y_min, y_max = area = list(parameters["grid_area"])
    resolution = parameters["grid_resolution"]
    layout = GridLayout(x_min, x_max, y_min, y_max, resolution)
    rows, columns = layout.shape
    if rows * columns > _MOST_CELLS:
        raise ValueError(
            f"grid_area {area} in cells of grid_resolution {resolution:g} m has {rows} x {columns} "
            f"of them: expected at most {_MOST_CELLS:,} cells: take a smaller area or larger ones"
        )
    return layout


def _ego_mask(path: str) -> np.ndarray | None:
    """bool [H, W], True for the own vehicle; None without a file. Raises ValueError."""
    if not path:
        return None
    image = read_image(Path(path))
    if image is None:
        raise ValueError(f"ego_mask: '{path}' is not there, or no image that can be read")
    return image.max(axis=2) > 0
