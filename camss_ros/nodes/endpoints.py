"""How topics and services are described, and those that ROS 2 gives every lifecycle node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Endpoint:
    """A topic or service.

    Attributes:
        name: as in the code: relative, `~/` below the node's name, or absolute.
        type: such as sensor_msgs/msg/Image.
        description: what it carries, and when.
        qos: the parameter that chooses it, or `latched` (reliable, transient local, depth 1),
            `reliable` (volatile, depth 10) or `ros` (what ROS gives the topic); empty for services.
        only_with: parameter of the node, and its values with which it exists.
        needs: package without which it does not exist.
    """

    name: str
    type: str
    description: str
    qos: str = ""
    only_with: tuple[str, Sequence[str]] | None = None
    needs: str = ""

    def resolved(self, node: str = "segmenter", namespace: str = "") -> str:
        """The full name in a namespace such as `/front` (empty: the root), before remapping."""
        if self.name.startswith("/"):
            return self.name
        if self.name.startswith("~/"):
            return f"{namespace}/{node}/{self.name[2:]}"
        return f"{namespace}/{self.name}"


def node_of(info: Any) -> str:
    """Full name of the node that has an endpoint, of what rclpy tells of a topic's endpoints."""
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def read_endpoints(path: Path) -> Iterator[tuple[Endpoint, ...]]:
    """Those below each heading of a YAML file."""
    for rows in yaml.safe_load(path.read_text(encoding="utf-8")).values():
        yield tuple(Endpoint(name, **row) for name, row in rows.items())


ROS_SUBSCRIBED, ROS_PUBLISHED, ROS_SERVICES = read_endpoints(Path(__file__).with_suffix(".yaml"))
