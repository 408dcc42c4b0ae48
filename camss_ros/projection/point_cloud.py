"""sensor_msgs/PointCloud2 of any layout as numpy arrays, and clouds with further fields.

Fields may lie in any order and of any number type, with padding between points and rows, in either
byte order. What is added comes behind what is there, whose bytes stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from camss_ros.projection.errors import ProjectionRejectedError

# sensor_msgs/PointField
INT8, UINT8, INT16, UINT16, INT32, UINT32, FLOAT32, FLOAT64 = range(1, 9)
_TYPES = {
    INT8: "i1", UINT8: "u1", INT16: "i2", UINT16: "u2", INT32: "i4", UINT32: "u4",
    FLOAT32: "f4", FLOAT64: "f8",
}  # fmt: skip
_ALIGNMENT = 4  # bytes that the length of a point with added fields is a multiple of


class CloudMessage(Protocol):
    """The fields of sensor_msgs/PointCloud2; `data` is a buffer of bytes."""

    height: int
    width: int
    fields: Sequence[Any]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: Any
    is_dense: bool


@dataclass(frozen=True)
class Field:
    """A field of the points of a cloud, as sensor_msgs/PointField."""

    name: str
    offset: int
    datatype: int
    count: int = 1


@dataclass(frozen=True)
class Cloud:
    """Points and where their fields lie, as sensor_msgs/PointCloud2 has them.

    Attributes:
        data: uint8 [H, W, point_step], contiguous; H = 1 for an unorganised cloud.
    """

    fields: tuple[Field, ...]
    data: np.ndarray
    is_bigendian: bool = False
    is_dense: bool = True

    @classmethod
    def from_message(cls, message: CloudMessage) -> Cloud:
        """A view of the message's data, where its rows are not padded.

        Raises:
            ProjectionRejectedError: fewer bytes than the header claims, or rows shorter than their
                points.
        """
        height, width, step = message.height, message.width, message.point_step
        fields = tuple(Field(f.name, f.offset, f.datatype, f.count) for f in message.fields)
        if height * width == 0:
            empty = np.zeros((height, width, step if step < 2**16 else 0), np.uint8)
            return cls(fields, empty, bool(message.is_bigendian), True)
        if step == 0 or (height > 1 and message.row_step < width * step):
            raise ProjectionRejectedError(
                "cloud",
                f"rows of {message.row_step} bytes do not hold {width} points of {step} bytes",
            )
        row = message.row_step if height > 1 else width * step
        needed = row * (height - 1) + width * step
        if len(message.data) < needed:
            raise ProjectionRejectedError(
                "cloud",
                f"the data are cut off: {len(message.data)} bytes instead of {needed} for {width} "
                f"x {height} points of {step} bytes",
            )
        buffer = np.frombuffer(message.data, np.uint8, count=needed)
        data = np.lib.stride_tricks.as_strided(
            buffer, (height, width, step), (row, step, 1), writeable=False
        )
        data = np.ascontiguousarray(data)  # a copy of padded rows only
        return cls(fields, data, bool(message.is_bigendian), bool(message.is_dense))

    def values(self, name: str) -> np.ndarray:
        """[H, W] values of a field, in place.

        Raises:
            ProjectionRejectedError: there is none of that name, or it is of no known type or ends
                behind its point.
        """
        field = next((each for each in self.fields if each.name == name), None)
        if field is None:
            there = ", ".join(each.name for each in self.fields) or "none"
            raise ProjectionRejectedError("cloud", f"it has no field {name!r}; fields: {there}")
        code = _TYPES.get(field.datatype)
        if code is None:
            raise ProjectionRejectedError(
                "cloud", f"field {name!r} is of the unknown type {field.datatype}"
            )
        kind = np.dtype(code).newbyteorder(">" if self.is_bigendian else "<")
        height, width, step = self.data.shape
        if height * width == 0:
            return np.zeros((height, width), kind)
        if field.offset + kind.itemsize > step:
            raise ProjectionRejectedError(
                "cloud",
                f"field {name!r} at byte {field.offset} ends behind its point of {step} bytes",
            )
        return np.ndarray((height, width), kind, self.data, field.offset, (width * step, step))

    def points(self) -> np.ndarray:
        """[3, N] x, y, z in reading order, copied: float64 where the cloud has that, float32
        otherwise.

        Raises:
            ProjectionRejectedError: as of `values`.
        """
        axes = [self.values(name) for name in ("x", "y", "z")]
        kind = np.float64 if any(a.dtype.itemsize == 8 for a in axes) else np.float32
        height, width = axes[0].shape
        points = np.empty((3, height, width), kind)
        with np.errstate(invalid="ignore", over="ignore"):
            for place, values in zip(points, axes, strict=True):
                place[...] = values
        return points.reshape(3, -1)

    def extended(self, added: Mapping[str, tuple[int, np.ndarray]]) -> Cloud:
        """The cloud with further fields, each a datatype and its values [N] in reading order.

        They follow what is there, whose bytes stay as they are. A field that has the name already
        loses it to the new one.
        """
        height, width, step = self.data.shape
        fields = [each for each in self.fields if each.name not in added]
        end = step
        for name, (datatype, _) in added.items():
            fields.append(Field(name, end, datatype))
            end += np.dtype(_TYPES[datatype]).itemsize
        length = -(-end // _ALIGNMENT) * _ALIGNMENT
        data = np.empty((height, width, length), np.uint8)
        data[..., :step] = self.data
        data[..., end:] = 0
        cloud = Cloud(tuple(fields), data, self.is_bigendian, self.is_dense)
        for name, (_, values) in added.items():
            cloud.values(name)[...] = values.reshape(height, width)
        return cloud

    def selected(self, chosen: np.ndarray) -> Cloud:
        """The chosen points alone, bool [N] in reading order, as an unorganised cloud."""
        points = self.data.reshape(-1, self.data.shape[2])[chosen]
        return Cloud(self.fields, points[None], self.is_bigendian, self.is_dense)

    def message_fields(self) -> dict[str, Any]:
        """Those of sensor_msgs/PointCloud2 but header, `fields` and data."""
        height, width, step = self.data.shape
        return {
            "height": height,
            "width": width,
            "is_bigendian": self.is_bigendian,
            "point_step": step,
            "row_step": width * step,
            "is_dense": self.is_dense,
        }


def packed_rgb(palette: np.ndarray) -> np.ndarray:
    """uint8 [256, 3] RGB -> float32 [256] with the colour in its bits, as PCL and RViz read `rgb`:
    0x00RRGGBB."""
    padded = np.zeros((256, 4), np.uint8)
    padded[:, :3] = palette[:, ::-1]
    return padded.view("<u4")[:, 0].astype(np.uint32).view(np.float32)
