"""Pictures of label images, and the video file they end up in."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.images.drawing import colorize, contact_sheet, legend, overlay, sample_evenly
from camss_ros.images.frames import open_frames
from camss_ros.images.video_writer import VideoWriter


@dataclass(frozen=True)
class Class:
    id: int
    name: str
    color: tuple[int, int, int]


CLASSES = (Class(0, "road", (128, 64, 128)), Class(1, "sky", (70, 130, 180)))


def test_each_class_gets_its_colour_and_void_is_black() -> None:
    labels = np.array([[0, 1, 255]], np.uint8)
    assert colorize(labels, CLASSES).tolist() == [[[128, 64, 128], [70, 130, 180], [0, 0, 0]]]


def test_an_overlay_blends_classes_and_leaves_void_alone() -> None:
    image = np.full((1, 2, 3), 100, np.uint8)
    blended = overlay(image, np.array([[0, 255]], np.uint8), CLASSES, alpha=0.5)
    assert blended[0, 0].tolist() == [114, 82, 114]
    assert blended[0, 1].tolist() == [100, 100, 100]
    opaque = overlay(image, np.array([[0, 1]], np.uint8), CLASSES, alpha=1.0)
    assert opaque[0, 1].tolist() == [70, 130, 180]


def test_a_smaller_mask_is_scaled_to_the_image() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    colors = overlay(image, np.array([[0, 1]], np.uint8), CLASSES, alpha=1.0)
    assert colors.shape == (4, 4, 3)
    assert np.all(colors[:, :2] == CLASSES[0].color)
    assert np.all(colors[:, 2:] == CLASSES[1].color)


@pytest.mark.parametrize("width", [10, 120, 900])
def test_the_legend_shows_every_colour_at_any_width(width: int) -> None:
    strip = legend(CLASSES, width)
    assert strip.shape[1] == width
    for label_class in CLASSES:
        if width > 60:
            assert np.any(np.all(strip == label_class.color, axis=-1))


@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_contact_sheet_holds_every_picture(count: int) -> None:
    tiles = [(np.full((30, 40, 3), 60 + 30 * i, np.uint8), f"picture {i}") for i in range(count)]
    sheet = contact_sheet(tiles, CLASSES, columns=2, tile_width=80)
    for image, _ in tiles:
        found = np.all(sheet == image[0, 0], axis=-1).sum()
        assert found >= 80 * 60, "each picture is shown whole, at its own proportions"


def test_a_caption_may_be_a_file_name_that_is_no_utf8() -> None:
    picture = np.full((4, 80, 3), 200, np.uint8)
    sheets = [
        contact_sheet([(picture, name)], CLASSES, tile_width=80)
        for name in (os.fsdecode(b"stra\xdfe"), "stra?e")
    ]
    np.testing.assert_array_equal(*sheets)


def test_a_contact_sheet_without_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], CLASSES)


@given(count=st.integers(0, 500), wanted=st.integers(1, 40))
def test_sampling_is_even_and_holds_both_ends(count: int, wanted: int) -> None:
    indices = sample_evenly(count, wanted)
    assert len(indices) == min(count, wanted)
    assert indices == sorted(set(indices))
    if wanted > 1 and count:
        assert (indices[0], indices[-1]) == (0, count - 1)
        gaps = np.diff(indices)
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_a_written_video_reads_back(tmp_path: Path, size: tuple[int, int]) -> None:
    colors = [(250, 10, 10), (10, 250, 10), (10, 10, 250)]
    with VideoWriter(tmp_path / "out.mp4", fps=7.5) as video:
        for color in colors:
            video.write(np.full((*size, 3), color, np.uint8))
        assert not (tmp_path / "out.mp4").exists(), "an unfinished file must not look finished"
    source = open_frames(tmp_path / "out.mp4")
    assert source.fps == pytest.approx(7.5)
    assert source.size == (size[0] // 2 * 2, size[1] // 2 * 2)
    for frame, color in zip(source, colors, strict=True):
        assert np.abs(frame.image.mean(axis=(0, 1)) - color).max() < 25
    assert list(tmp_path.iterdir()) == [tmp_path / "out.mp4"]


def test_a_video_is_written_with_its_stamps_and_to_a_relative_name_with_a_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    times = [0, 0.1, 0.2, 7, 7.1]
    Path("2024-05-01T12:30:00").mkdir()
    with VideoWriter(Path("2024-05-01T12:30:00/12:30.mp4"), fps=10) as video:
        for time in times:
            video.write(np.full((48, 64, 3), 128, np.uint8), time)
    source = open_frames("2024-05-01T12:30:00/12:30.mp4")
    assert [frame.time for frame in source] == pytest.approx(times)


def test_a_video_has_room_for_frames_at_once_and_for_days_without_one(tmp_path: Path) -> None:
    day = 24 * 3600.0
    with VideoWriter(tmp_path / "out.mp4", fps=10) as video:
        for time in (0, 1e-6, 0.1, day, 2 * day, 2 * day + 0.1, 3 * day):
            video.write(np.full((48, 64, 3), 128, np.uint8), time)
    stamps = [0, 0, 0.1, 600.1, 1200.1, 1200.2, 1800.2]
    read = [frame.time for frame in open_frames(tmp_path / "out.mp4")]
    assert read == pytest.approx(stamps, abs=1e-4)


def test_frames_of_other_sizes_are_scaled_to_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", fps=5) as video:
        for size in ((48, 64), (20, 30), (96, 128)):
            video.write(np.full((*size, 3), 128, np.uint8))
    assert [frame.image.shape for frame in open_frames(tmp_path / "out.mp4")] == [(48, 64, 3)] * 3


def write_and_fail(path: Path) -> None:
    with VideoWriter(path, fps=5) as video:
        video.write(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError("stop")


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        write_and_fail(tmp_path / "out.mp4")
    with VideoWriter(tmp_path / "empty.mp4", fps=5):
        pass
    assert list(tmp_path.iterdir()) == []
