"""Clouds of every layout are read, extended without a change of their bytes, and refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from cameras import cloud_message
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.projection.errors import ProjectionRejectedError
from camss_ros.projection.point_cloud import FLOAT32, UINT8, Cloud, packed_rgb

VALUES = np.arange(1, 25, dtype=np.float64).reshape(3, 8) / 4
LAYOUTS = {
    "packed": {"names": ["x", "y", "z"], "formats": ["<f4"] * 3},
    "padded, unordered": {
        "names": ["z", "intensity", "x", "y"],
        "formats": ["<f4", "u1", "<f4", "<f4"],
        "offsets": [16, 0, 1, 9],
        "itemsize": 26,
    },
    "big-endian": {
        "names": ["x", "y", "z", "ring"],
        "formats": [">f4", ">f4", ">f4", ">u2"],
        "offsets": [0, 4, 8, 16],
        "itemsize": 32,
    },
    "double": {"names": ["y", "x", "z"], "formats": ["<f8"] * 3},
    "mixed": {"names": ["x", "y", "z"], "formats": ["<f8", "<f4", "<i2"]},
}


def cloud_of(layout: str) -> np.ndarray:
    points = np.zeros(8, np.dtype(LAYOUTS[layout]))
    for name, values in zip("xyz", VALUES, strict=True):
        points[name] = np.trunc(values) if points.dtype[name].kind == "i" else values
    for name in set(points.dtype.names or ()) - set("xyz"):
        points[name] = np.arange(8)
    return points


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("organised", [False, True])
def test_points_are_read_from_every_layout(layout: str, organised: bool) -> None:
    points = cloud_of(layout)
    message = cloud_message(points.reshape(2, 4) if organised else points)
    if not organised:
        message.row_step = 0  # of one row it says nothing
    cloud = Cloud.from_message(message)
    again = SimpleNamespace(
        **cloud.message_fields(), fields=cloud.fields, data=cloud.data.tobytes()
    )
    for found in (cloud.points(), Cloud.from_message(again).points()):
        assert found.dtype == (np.float64 if layout in ("double", "mixed") else np.float32)
        np.testing.assert_array_equal(found, [points[name] for name in "xyz"])


def test_rows_may_be_padded() -> None:
    points = cloud_of("packed").reshape(2, 4)
    rows = b"".join(row.tobytes() + b"pad" for row in points)
    cloud = Cloud.from_message(cloud_message(points, row_step=51, data=rows[:-3]))
    np.testing.assert_array_equal(cloud.points(), VALUES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_added_fields_leave_the_bytes_as_they_are(layout: str) -> None:
    points = cloud_of(layout)
    step = points.dtype.itemsize
    labels = np.arange(8, dtype=np.uint8)
    rgb = packed_rgb(np.full((256, 3), (1, 2, 3), np.uint8))[labels]
    cloud = Cloud.from_message(cloud_message(points)).extended(
        {"rgb": (FLOAT32, rgb), "label": (UINT8, labels), "confidence": (UINT8, 255 - labels)}
    )
    assert cloud.data[0, :, :step].tobytes() == points.tobytes()
    assert cloud.data.shape[2] % 4 == 0
    sent = SimpleNamespace(**cloud.message_fields(), fields=cloud.fields, data=cloud.data.tobytes())
    back = Cloud.from_message(sent)
    np.testing.assert_array_equal(back.points(), [points[name] for name in "xyz"])
    np.testing.assert_array_equal(back.values("label")[0], labels)
    np.testing.assert_array_equal(back.values("confidence")[0], 255 - labels)
    order = ">u4" if cloud.is_bigendian else "<u4"
    bits = np.ascontiguousarray(back.values("rgb")).view(order)
    assert (bits == 0x010203).all()


def test_a_field_of_the_name_is_superseded() -> None:
    points = np.zeros(3, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("label", "<i4")])
    points["label"] = 7
    cloud = Cloud.from_message(cloud_message(points))
    cloud = cloud.extended({"label": (UINT8, np.arange(3, dtype=np.uint8))})
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "label"]
    assert cloud.values("label").tolist() == [[0, 1, 2]]
    assert cloud.data[0, :, 12].tolist() == [7, 7, 7]


def test_chosen_points_keep_their_layout() -> None:
    points = cloud_of("padded, unordered").reshape(2, 4)
    cloud = Cloud.from_message(cloud_message(points)).selected(np.arange(8) % 2 == 1)
    assert cloud.data.tobytes() == points.reshape(-1)[1::2].tobytes()
    assert cloud.data.shape == (1, 4, 26)


@pytest.mark.parametrize("size", [(0, 0), (1, 0), (0, 5)])
def test_a_cloud_may_be_empty(size: tuple[int, int]) -> None:
    message = cloud_message(cloud_of("packed"), height=size[0], width=size[1], data=b"")
    cloud = Cloud.from_message(message)
    assert cloud.points().shape == (3, 0)
    none = np.zeros(0, np.uint8)
    assert cloud.extended({"label": (UINT8, none)}).data.size == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": b"123"}, "cut off: 3 bytes instead of 96"),
        ({"point_step": 0}, "do not hold"),
        ({"height": 2, "width": 4, "row_step": 40}, "do not hold"),
        ({"width": 2**31, "height": 2**31, "row_step": 2**32}, "do not hold"),
        ({"fields": []}, "no field 'x'; fields: none"),
        (
            {"fields": [SimpleNamespace(name="x", offset=9, datatype=7, count=1)]},
            "behind its point",
        ),
        ({"fields": [SimpleNamespace(name="x", offset=0, datatype=9, count=1)]}, "unknown type 9"),
    ],
)
def test_what_is_no_cloud_is_said(changed: dict, said: str) -> None:
    with pytest.raises(ProjectionRejectedError, match=said):
        Cloud.from_message(cloud_message(cloud_of("packed"), **changed)).points()


fields = st.builds(
    SimpleNamespace,
    name=st.sampled_from(["x", "y", "z", "rgb", "label", ""]),
    offset=st.integers(0, 40) | st.just(2**32 - 1),
    datatype=st.integers(0, 255),
    count=st.integers(0, 9),
)
messages = st.builds(
    SimpleNamespace,
    height=st.integers(0, 4) | st.just(2**32 - 1),
    width=st.integers(0, 9) | st.just(2**32 - 1),
    fields=st.lists(fields, max_size=8),
    is_bigendian=st.booleans(),
    point_step=st.integers(0, 40) | st.just(2**32 - 1),
    row_step=st.integers(0, 300),
    data=st.binary(max_size=600),
    is_dense=st.booleans(),
)


@given(message=messages)
def test_any_message_is_read_or_refused(message: SimpleNamespace) -> None:
    try:
        cloud = Cloud.from_message(message)
        points = cloud.points()
    except ProjectionRejectedError:
        return
    assert points.shape == (3, message.height * message.width)
    labels = np.zeros(points.shape[1], np.uint8)
    assert cloud.extended({"label": (UINT8, labels)}).values("label").size == labels.size
