"""Writing rosbag2 folders that `ros2 bag play` and Foxglove read, without a ROS installation."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from camss_ros.atomic_files import locked
from camss_ros.bags.bag import BagError
from camss_ros.bags.bag_types import IMAGE, LABEL_INFO, make_header, ros2_types
from camss_ros.images.label_class import LabelClass
from camss_ros.images.message_fields import fill_label_info, image_fields

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, Qos

Storage = Literal["mcap", "sqlite3"]

_INFINITE = (9223372036, 854775807)  # seconds, nanoseconds: RMW_DURATION_INFINITE


class BagWriter:
    """A rosbag2 folder; it appears under its name when it is complete.

        with BagWriter(path) as bag:
            topic = bag.add_topic("/camera/image", IMAGE)
            bag.write(topic, message, log_time)

    Leaving the block with an exception keeps nothing.

    Args:
        path: of the folder, which must not exist.
        storage: "mcap" (chunks compressed with zstd) or "sqlite3".

    Raises:
        BagError: `path` exists.
        OSError: it can't be written, or another process does.
    """

    def __init__(self, path: Path, storage: Storage = "mcap") -> None:
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

        if path.exists():
            raise BagError(f"'{path}' exists already: choose another name or delete it")
        self.path = path
        # The files in a bag are called as its folder.
        self._temporary = path.with_name(f".{path.name}.partial")
        self._open = contextlib.ExitStack()
        self._open.enter_context(locked(self._temporary))
        shutil.rmtree(self._temporary / path.name, ignore_errors=True)  # of a run that was killed
        # Version 8 is the newest that Humble reads.
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        self._writer = Writer(self._temporary / path.name, version=8, storage_plugin=plugin)
        if storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)

    def add_topic(self, name: str, kind: str, latched: bool = False) -> Connection:
        """A topic of a type that `bag_types` knows.

        Args:
            latched: transient local, for messages that late subscribers need too.
        """
        with self._named_errors():
            return self._writer.add_connection(
                name, kind, typestore=ros2_types(), offered_qos_profiles=[make_qos(latched)]
            )

    def add_raw_topic(
        self, name: str, kind: str, definition: str, digest: str, qos: Sequence[Qos]
    ) -> Connection:
        """A topic of any type.

        Args:
            definition: its text.
            digest: its RIHS01 hash (REP-2016).
        """
        with self._named_errors():
            return self._writer.add_connection(
                name, kind, msgdef=definition, rihs01=digest, offered_qos_profiles=qos
            )

    def write(self, topic: Connection, message: Any, log_time: int) -> None:
        """A message with the fields of its definition; `log_time` in ns."""
        self.write_raw(topic, ros2_types().serialize_cdr(message, topic.msgtype), log_time)

    def write_raw(self, topic: Connection, data: bytes | memoryview, log_time: int) -> None:
        """A message serialized as CDR; `log_time` in ns."""
        with self._named_errors():
            self._writer.write(topic, log_time, data)

    def __enter__(self) -> BagWriter:
        with self._named_errors():
            self._writer.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        try:
            with self._named_errors():
                self._writer.__exit__(kind, *rest)
                if kind is None:
                    (self._temporary / self.path.name).replace(self.path)
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._open.close()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """A full disk is an error of its own to SQLite, and names no file to the others."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise OSError(f"can't write the bag '{self.path}': {reason}") from error


def image_message(pixels: np.ndarray, encoding: str, stamp: int, frame_id: str) -> Any:
    """sensor_msgs/Image without padding.

    Args:
        pixels: uint8 [H, W] or [H, W, C]; as 32FC1 float32 [H, W], of depth metres (REP 118).
        stamp: ns.
    """
    data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    header = make_header(stamp, frame_id)
    return ros2_types().types[IMAGE](header=header, data=data, **image_fields(pixels, encoding))


def label_info_message(classes: Sequence[LabelClass], stamp: int, frame_id: str) -> Any:
    """vision_msgs/LabelInfo with every class id and name; `stamp` in ns."""
    types = ros2_types().types
    kinds = types[LABEL_INFO], types["vision_msgs/msg/VisionClass"]
    return fill_label_info(*kinds, classes, make_header(stamp, frame_id))


def make_qos(latched: bool) -> Qos:
    """Reliable, as of a publisher; `latched`: transient local, of the last message."""
    from rosbags import interfaces

    durability = interfaces.QosDurability
    infinite = interfaces.QosTime(*_INFINITE)
    return interfaces.Qos(
        history=interfaces.QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=interfaces.QosReliability.RELIABLE,
        durability=durability.TRANSIENT_LOCAL if latched else durability.VOLATILE,
        deadline=infinite,
        lifespan=infinite,
        liveliness=interfaces.QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=infinite,
        avoid_ros_namespace_conventions=False,
    )
