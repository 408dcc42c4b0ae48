"""Small bags for the tests."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from camss_ros.bags.bag_types import (
    COMPRESSED_IMAGE,
    IMAGE,
    make_header,
    ros1_types,
    ros2_types,
)
from camss_ros.bags.bag_writer import image_message
from camss_ros.images.message_fields import image_fields

SECOND = 10**9
PERIOD = SECOND // 10
SIZE = (32, 48)


def images(count: int, seed: int = 0) -> list[np.ndarray]:
    """uint8 [32, 48, 3] each."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(count)]


def labels(count: int, classes: int = 11, seed: int = 1) -> list[np.ndarray]:
    """uint8 [32, 48] each, with some void."""
    rng = np.random.default_rng(seed)
    made = [rng.integers(0, classes, SIZE, np.uint8) for _ in range(count)]
    for label in made:
        label[:4] = 255
    return made


def compressed_message(pixels: np.ndarray, stamp: int, suffix: str = ".png") -> object:
    """CompressedImage of uint8 [H, W, 3] RGB or [H, W]."""
    ok, data = cv2.imencode(suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    assert ok
    return ros2_types().types[COMPRESSED_IMAGE](
        header=make_header(stamp, "camera"), format=suffix[1:], data=data.reshape(-1)
    )


def serialized(pixels: np.ndarray, stamp: int, compressed: bool = False) -> bytes:
    """CDR of an Image, or of a CompressedImage, of uint8 [H, W, 3] RGB or [H, W]."""
    if compressed:
        message, kind = compressed_message(pixels, stamp), COMPRESSED_IMAGE
    else:
        encoding = "mono8" if pixels.ndim == 2 else "rgb8"
        message, kind = image_message(pixels, encoding, stamp, "camera"), IMAGE
    return bytes(ros2_types().serialize_cdr(message, kind))


def serialized_ros1(pixels: np.ndarray, stamp: int) -> bytes:
    """An Image of ROS 1 of uint8 [H, W, 3] RGB or [H, W]."""
    store = ros1_types()
    types = store.types
    seconds, nanoseconds = divmod(stamp, SECOND)
    header = types["std_msgs/msg/Header"](
        seq=1,
        stamp=types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds),
        frame_id="camera",
    )
    fields = image_fields(pixels, "mono8" if pixels.ndim == 2 else "rgb8")
    message = types[IMAGE](header=header, data=pixels.reshape(-1), **fields)
    return bytes(store.serialize_ros1(message, IMAGE))


def stamps(count: int) -> list[int]:
    return [100 * SECOND + i * PERIOD for i in range(count)]


def write_bag(
    path: Path,
    frames: Sequence[np.ndarray],
    truths: Sequence[np.ndarray] = (),
    storage: str = "mcap",
    compression: CompressionMode = CompressionMode.NONE,
    label_shift: int = 0,
    compressed: bool = False,
    change: Callable[[int, bytes], bytes] = lambda number, data: data,
) -> Path:
    """Topics /cam/image and, with `truths`, /cam/label, 10 Hz from 100 s on.

    `label_shift`: ns by which the labels' stamps and log times are later. `change`: of the
    serialized images.
    """
    store = ros2_types()
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    writer = Writer(path, version=8, storage_plugin=plugin)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    kind = COMPRESSED_IMAGE if compressed else IMAGE
    with writer:
        image_topic = writer.add_connection("/cam/image", kind, typestore=store)
        label_topic = writer.add_connection("/cam/label", kind, typestore=store) if truths else None
        for number, (frame, stamp) in enumerate(zip(frames, stamps(len(frames)), strict=True)):
            writer.write(image_topic, stamp, change(number, serialized(frame, stamp, compressed)))
            if number < len(truths):
                late = stamp + label_shift
                writer.write(label_topic, late, serialized(truths[number], late, compressed))
    return path


def write_ros1_bag(path: Path, frames: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> Path:
    """The same topics as a ROS 1 bag, in lz4 chunks."""
    writer = Writer1(path)
    writer.set_compression(Writer1.CompressionFormat.LZ4)
    with writer:
        topics = {
            name: writer.add_connection(name, IMAGE, typestore=ros1_types())
            for name in ("/cam/image", "/cam/label")
        }
        for frame, truth, stamp in zip(frames, truths, stamps(len(frames)), strict=True):
            for name, pixels in (("/cam/image", frame), ("/cam/label", truth)):
                writer.write(topics[name], stamp, serialized_ros1(pixels, stamp))
    return path


def two_types(path: Path, storage: str, other: str, count: int) -> Path:
    """Six images on /cam/image, and `count` messages of the type `other` between them."""
    store = ros2_types()
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        topic = writer.add_connection("/cam/image", IMAGE, typestore=store)
        strange = writer.add_connection("/cam/image", other, typestore=store)
        for number, (frame, stamp) in enumerate(zip(images(6), stamps(6), strict=True)):
            writer.write(topic, stamp, serialized(frame, stamp))
            if number < count:
                writer.write(strange, stamp + 1, serialized(frame, stamp, compressed=True))
    return path


def split_bag(path: Path, parts: Sequence[Path]) -> Path:
    """One rosbag2 folder, without metadata.yaml, of the storage files of several."""
    path.mkdir()
    for number, part in enumerate(parts):
        (file,) = (p for p in part.iterdir() if p.suffix in (".mcap", ".db3"))
        (path / f"{path.name}_{number}{file.suffix}").write_bytes(file.read_bytes())
    return path
