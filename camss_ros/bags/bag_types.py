"""The messages that bags of images hold, and their wire formats, without a ROS installation.

The definitions are the standard ones, not those a bag may carry: an unrelated topic with a broken
definition then harms nobody, and older bags carry none.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.typesys.store import Typestore

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
TF_MESSAGE = "tf2_msgs/msg/TFMessage"
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)

# rosbags has no definitions of vision_msgs (here 4.1), nor of tf2_msgs of ROS 1.
_VISION_CLASS_MSG = "uint16 class_id\nstring class_name\n"
_TF_MESSAGE_MSG = "geometry_msgs/TransformStamped[] transforms\n"
_LABEL_INFO_MSG = "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"


@cache
def ros2_types() -> Typestore:
    """Message types of ROS 2 (Humble, whose image messages later ones share) and LabelInfo."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg(_VISION_CLASS_MSG, "vision_msgs/msg/VisionClass"))
    store.register(get_types_from_msg(_LABEL_INFO_MSG, LABEL_INFO))
    return store


@cache
def ros1_types() -> Typestore:
    """Message types of ROS 1 (Noetic) and TFMessage."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg(_TF_MESSAGE_MSG, TF_MESSAGE))
    return store


def beside(topic: str, name: str) -> str:
    """The topic of that name beside an image topic, as image_transport has its camera_info:
    /camera/camera_info for /camera/image and for /camera/image/compressed."""
    image = topic.removesuffix("/compressed")
    return image[: image.rfind("/") + 1] + name


def is_ros1(connection: Connection) -> bool:
    """Whether its messages are serialized as in ROS 1."""
    from rosbags.interfaces import ConnectionExtRosbag1

    return isinstance(connection.ext, ConnectionExtRosbag1)


def header_stamp(data: bytes, ros1: bool) -> int | None:
    """The header stamp, in ns, of a serialized message that begins with a std_msgs/Header.

    None where the message is too short for one, or the stamp was never set (zero).
    """
    try:
        if ros1:
            _, seconds, nanoseconds = struct.unpack_from("<III", data)
        else:  # CDR: the second byte of its four-byte header says the byte order
            order = "<" if data[1:2] != b"\x00" else ">"
            seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    except struct.error:
        return None
    return (seconds * 10**9 + nanoseconds) or None


def fits_header(stamp: int) -> bool:
    """Whether a header can hold a stamp, in ns: its seconds have 31 bits, until 2038."""
    return 0 <= stamp < 2**31 * 10**9


def make_header(stamp: int, frame_id: str) -> Any:
    """std_msgs/Header; `stamp` in ns, see `fits_header`."""
    types = ros2_types().types
    seconds, nanoseconds = divmod(stamp, 10**9)
    return types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds),
        frame_id=frame_id,
    )
