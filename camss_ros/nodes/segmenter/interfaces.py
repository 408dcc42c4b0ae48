"""Every topic and service of the node (`interfaces.yaml`): name, type, quality of service, and when
there is one.

The node makes them where it uses them; the tests compare a running node with this list. The
topics reference is written from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def _read_endpoints() -> Iterator[tuple[Endpoint, ...]]:
    table = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    for rows in table.values():
        yield tuple(Endpoint(name, **row) for name, row in rows.items())


SUBSCRIBED, PUBLISHED, SERVICES, ROS_SUBSCRIBED, ROS_PUBLISHED, ROS_SERVICES = _read_endpoints()
