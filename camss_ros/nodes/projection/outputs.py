"""The publishers of the projector, and the messages they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import LaserScan, PointCloud2, PointField
from std_msgs.msg import Header

from camss_ros.nodes.messages import to_array
from camss_ros.nodes.qos import PROFILES
from camss_ros.projection.ground import GridLayout
from camss_ros.projection.point_cloud import Cloud

TYPES = {
    "labeled_cloud": PointCloud2,
    "filtered_cloud": PointCloud2,
    "drivable_grid": OccupancyGrid,
    "obstacle_points": PointCloud2,
    "obstacle_scan": LaserScan,
}


class Outputs:
    """Publishers of some of `TYPES`, below `prefix`."""

    def __init__(
        self, node: LifecycleNode, names: tuple[str, ...], qos: str, prefix: str = ""
    ) -> None:
        self._node = node
        self._publishers: dict[str, Any] = {}
        create = node.create_lifecycle_publisher
        try:
            for name in names:
                self._publishers[name] = create(TYPES[name], prefix + name, PROFILES[qos])
        except Exception:
            self.destroy()
            raise

    def is_heard(self, name: str = "") -> bool:
        """Whether anybody listens to an output; to any, without a name."""
        names = (name,) if name else self._publishers
        return any(self._publishers[each].get_subscription_count() > 0 for each in names)

    def publish(self, name: str, message: Any) -> None:
        """Publish on an output, by its name without the prefix."""
        self._publishers[name].publish(message)

    def destroy(self) -> None:
        """Leave the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)


def to_cloud_message(cloud: Cloud, header: Header) -> PointCloud2:
    """sensor_msgs/PointCloud2 of a cloud."""
    data = to_array(np.ascontiguousarray(cloud.data).reshape(-1).data)
    fields = [
        PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count)
        for f in cloud.fields
    ]
    return PointCloud2(header=header, fields=fields, data=data, **cloud.message_fields())


def to_grid_message(grid: np.ndarray, layout: GridLayout, header: Header) -> OccupancyGrid:
    """nav_msgs/OccupancyGrid of int8 [rows along y, columns along x]."""
    message = OccupancyGrid(header=header)
    message.info.map_load_time = header.stamp
    message.info.resolution = float(layout.resolution)
    message.info.height, message.info.width = grid.shape
    message.info.origin.position.x = float(layout.x_min)
    message.info.origin.position.y = float(layout.y_min)
    message.info.origin.orientation.w = 1.0
    message.data = to_array(np.ascontiguousarray(grid).reshape(-1).view(np.uint8).data, "b")
    return message
