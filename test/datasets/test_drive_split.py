"""Splitting frames by drive."""

import pytest

from camss_ros.datasets.exchange.drive_split import FrameOfDrive, split_by_drive
from camss_ros.images.image_files import DataError

SECOND = 10**9


def drive(name: str, count: int, period: float | None = 1.0) -> list[FrameOfDrive]:
    return [
        FrameOfDrive(f"{name}{n:03d}", name, None if period is None else round(n * period * SECOND))
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ({"a": 50, "b": 30, "c": 20}, "c"),
        ({"a": 10, "b": 10}, "a"),
        ({"a": 60, "b": 20, "c": 12, "d": 8}, "b"),
        ({"a": 80, "b": 1, "c": 1}, "bc"),
    ],
)
def test_about_a_fifth_in_whole_drives(sizes: dict[str, int], chosen: str) -> None:
    frames = [frame for name, count in sizes.items() for frame in drive(name, count)]
    split = split_by_drive(frames)
    assert {name[0] for name in split.val} == set(chosen)
    assert {name[0] for name in split.train} == sizes.keys() - set(chosen)
    assert len(split.train) + len(split.val) == len(frames)


def test_drives_that_are_named() -> None:
    frames = drive("a", 5) + drive("b", 5) + drive("c", 5)
    split = split_by_drive(frames, ["b", "c"])
    assert {name[0] for name in split.val} == {"b", "c"}
    with pytest.raises(DataError, match="no drive 'd': there are a, b, c"):
        split_by_drive(frames, ["d"])
    with pytest.raises(DataError, match="all drives"):
        split_by_drive(frames, ["a", "b", "c"])


def test_one_drive_is_cut_where_no_frames_are_neighbours() -> None:
    split = split_by_drive(drive("a", 100, 5.0))
    assert split.val[0] == "a080"
    assert split.train[-1] == "a078"  # 10 s before
    assert split.left_out == ("a079",)
    short = split_by_drive(drive("a", 21, 0.5))
    assert short.val[0] == "a017"
    assert short.train[-1] == "a015"  # a tenth of 10 s before


def test_one_drive_without_stamps_leaves_out_the_frame_between() -> None:
    split = split_by_drive(drive("a", 10, None))
    assert split.left_out == ("a007",)
    assert split.val == ("a008", "a009")
    named = [FrameOfDrive(f"a{n}", "a", None) for n in (11, 2, 5, 8, 10, 1, 4, 7, 3, 6, 9)]
    split = split_by_drive(named)
    assert (split.left_out, split.val) == (("a9",), ("a10", "a11"))
    with pytest.raises(DataError, match="can't be split"):
        split_by_drive(drive("a", 2, None))
