"""Frame sources: what is read, in which order, and what happens with what can't be read."""

import logging
import os
import struct
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_png import write_png

from camss_ros.datasets.labeled_images import LabeledImages
from camss_ros.datasets.layouts import Listing, Sample
from camss_ros.extras import MissingPackageError
from camss_ros.images.ffmpeg import av, file_url
from camss_ros.images.frames import UnreadableInputError, open_frames, open_frames_of_model
from camss_ros.images.image_files import DataError
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_mapping import mapping_onto_labels
from camss_ros.images.label_sets import LabelSetError, load_label_set, save_label_set

CAMVID = load_label_set("camvid11")
LABEL = np.arange(24 * 32).reshape(24, 32) % 12


def solid(value: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def write_video(path: Path, values: list[int], fps: float = 12.5) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (32, 24))
    for value in values:
        writer.write(solid(value))
    writer.release()


def test_a_video_without_pyav_is_refused_by_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "drive.mp4", [0])
    for name in ("ffmpeg", "video_frames"):
        monkeypatch.delitem(sys.modules, f"camss_ros.images.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match="pip install av"):
        open_frames(tmp_path / "drive.mp4")


def test_a_video_gives_its_frames_each_time_it_is_iterated(tmp_path: Path) -> None:
    write_video(tmp_path / "drive.mp4", [0, 80, 160, 240])
    source = open_frames(tmp_path / "drive.mp4")
    assert source.fps == pytest.approx(12.5)
    assert (source.size, source.length, source.endless) == ((24, 32), 4, False)
    for _ in range(2):
        frames = list(source)
        levels = [frame.image.mean() for frame in frames]
        assert levels == pytest.approx([0, 80, 160, 240], abs=8)
        assert [frame.name for frame in frames] == [f"frame_{i:06d}" for i in range(4)]
        assert all(frame.label is None for frame in frames)


def write_clip(path: Path, times: list[float], codec: str = "libx264", seconds: float = 0) -> None:
    """A drifting picture at `times`, in s, with so many `seconds` of silence."""
    texture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    texture = cv2.GaussianBlur(texture, (9, 9), 0)
    options = {"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    with av.open(file_url(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = 128, 96
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = 12
        stream.codec_context.thread_count = 2  # of which the bytes depend
        if codec == "libx264":
            stream.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("aac", rate=8000) if seconds else None
        for index, time in enumerate(times):
            shifted = np.ascontiguousarray(np.roll(texture, 3 * index, 1))
            frame = av.VideoFrame.from_ndarray(shifted, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio is not None:
            for index in range(round(seconds * 8000 / 1024)):
                silence = np.zeros((1, 1024), np.float32)
                part = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = 8000, index * 1024, Fraction(1, 8000)
                container.mux(audio.encode(part))
            container.mux(audio.encode())


STEADY = [index / 10 for index in range(40)]
CODECS = {".mp4": "libx264", ".mkv": "libx264", ".avi": "mjpeg", ".webm": "libvpx", ".mov": "mjpeg"}


@pytest.mark.parametrize("suffix", CODECS)
def test_a_video_is_read_past_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    path = tmp_path / f"drive{suffix}"
    write_clip(path, STEADY, CODECS[suffix])
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 300] = np.random.default_rng(1).bytes(300)
    path.write_bytes(whole)
    source = open_frames(path)
    with caplog.at_level(logging.WARNING):
        times = [frame.time for frame in source]
        assert [frame.time for frame in source] == times
    assert 30 <= len(times) <= 40
    assert times[-1] == pytest.approx(3.9), "the stamps stay those of the file"
    assert len(times) + source.missing == 40
    if len(times) < 40:
        (sentence,) = source.damage
        assert str(path) in sentence
        assert f"{source.missing} picture" in sentence
    assert len(caplog.records) == len(source.damage), "looping must not repeat the warning"


@pytest.mark.parametrize("suffix", CODECS)
def test_of_a_video_that_is_cut_off_everything_before_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    path = tmp_path / f"drive{suffix}"
    write_clip(path, STEADY, CODECS[suffix])
    whole = path.read_bytes()
    if suffix == ".mov":  # its index is at the end
        path.write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(UnreadableInputError, match="cut off"):
            open_frames(path)
        return
    path.write_bytes(whole[: len(whole) * 2 // 3])
    source = open_frames(path)
    with caplog.at_level(logging.WARNING):
        count = len(list(source))
    assert 15 < count < 39
    assert source.missing == 40 - count
    assert "it ends at" in caplog.text
    assert f"{source.missing} pictures missing" in caplog.text


def test_a_whole_video_with_sound_and_a_long_pause_is_read_with_its_stamps(tmp_path: Path) -> None:
    times = [0, 0.1, 0.2, 0.3, 300, 300.1, 300.4, 300.5, 301, 301.1]
    write_clip(tmp_path / "drive.mp4", times, seconds=301)
    source = open_frames(tmp_path / "drive.mp4")
    assert [frame.time for frame in source] == pytest.approx(times, abs=1e-3)
    assert (source.missing, list(source.damage)) == (0, [])


def test_sound_that_is_longer_than_the_pictures_is_no_damage(tmp_path: Path) -> None:
    for name in ("drive.mp4", "drive.mkv"):
        path = tmp_path / name
        write_clip(path, STEADY[:6], seconds=3)
        source = open_frames(path)
        assert len(list(source)) == 6
        assert not source.damage


def test_recordings_one_after_the_other_have_stamps_that_grow(tmp_path: Path) -> None:
    write_clip(tmp_path / "one.ts", STEADY[:10])
    once = (tmp_path / "one.ts").read_bytes()
    (tmp_path / "drive.ts").write_bytes(once + once)
    times = [frame.time for frame in open_frames(tmp_path / "drive.ts")]
    assert len(times) > 15
    assert np.diff(times) == pytest.approx(0.1, abs=1e-3)


def test_a_video_of_a_phone_held_upright_is_upright(tmp_path: Path) -> None:
    path = tmp_path / "drive.mp4"
    write_clip(path, STEADY[:2])
    plain = next(iter(open_frames(path))).image
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    assert struct.unpack_from(">9i", data, matrix)[0] == 1 << 16
    one = 1 << 16
    struct.pack_into(">9i", data, matrix, 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    source = open_frames(path)
    assert source.size == (128, 96)
    assert np.array_equal(next(iter(source)).image, np.rot90(plain, -1))


@pytest.mark.parametrize(
    ("matrix", "red"),
    [("bt709", (63, 102, 240)), ("smpte170m", (81, 90, 240)), ("undef", (81, 90, 240))],
)
def test_colours_are_by_the_matrix_that_the_video_names(
    tmp_path: Path, matrix: str, red: tuple[int, int, int]
) -> None:
    """Red as ITU-R BT.709 and BT.601 have it."""
    planes = np.repeat(np.array(red, np.uint8), [96 * 128, 96 * 32, 96 * 32]).reshape(144, 128)
    with av.open(str(tmp_path / "drive.mp4"), "w") as container:
        options = {"x264-params": f"colormatrix={matrix}"}
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())
    image = next(iter(open_frames(tmp_path / "drive.mp4"))).image
    assert image.reshape(-1, 3).mean(axis=0) == pytest.approx((255, 0, 0), abs=3)


def test_relative_names_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("12:30:00.mp4"), STEADY[:3])
    Path("2024-05-01T12:30:00").mkdir()
    cv2.imwrite("2024-05-01T12:30:00/a.png", solid(3))
    assert len(list(open_frames("12:30:00.mp4"))) == 3
    assert len(list(open_frames("2024-05-01T12:30:00"))) == 1


def test_a_video_whose_name_is_no_utf8_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "drive.mp4", [0])
    path = (tmp_path / "drive.mp4").rename(tmp_path / os.fsdecode(b"stra\xdfe.mp4"))
    with pytest.raises(UnreadableInputError, match="no UTF-8: rename it"):
        open_frames(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        samples = np.zeros((1, 800), np.int16)
        part = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        part.sample_rate = 8000
        container.mux(stream.encode(part))
        container.mux(stream.encode())
    with pytest.raises(UnreadableInputError, match=r"a\.wav.* holds no video"):
        open_frames(tmp_path / "a.wav")


def test_images_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((24, 32, 3), np.uint8)
    red[..., 2] = 255  # OpenCV's order is BGR
    cv2.imwrite(str(tmp_path / "red.png"), red)
    (frame,) = open_frames(tmp_path / "red.png")
    assert frame.image.dtype == np.uint8
    assert frame.image[0, 0].tolist() == [255, 0, 0]
    assert frame.name == "red"


@pytest.mark.parametrize("kind", ["grey", "alpha", "sixteen bit"])
def test_other_pixel_formats_become_three_channels_of_8_bit(tmp_path: Path, kind: str) -> None:
    image = {
        "grey": np.full((24, 32), 128, np.uint8),
        "alpha": np.full((24, 32, 4), 128, np.uint8),
        "sixteen bit": np.full((24, 32), 128 * 257, np.uint16),
    }[kind]
    cv2.imwrite(str(tmp_path / "image.png"), image)
    (frame,) = open_frames(tmp_path / "image.png")
    assert frame.image.shape == (24, 32, 3)
    assert frame.image.dtype == np.uint8
    assert np.all(frame.image == 128)


def test_a_folder_is_in_natural_order_and_ignores_other_files(tmp_path: Path) -> None:
    for name in ("img10.png", "img9.png", "img1.png"):
        cv2.imwrite(str(tmp_path / name), solid(1))
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_frames(tmp_path)
    assert source.length == 3
    assert [frame.name for frame in source] == ["img1", "img9", "img10"]


def test_names_stay_unique_when_only_the_suffix_differs(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "a.png.bmp", "b.png"):
        cv2.imwrite(str(tmp_path / name), solid(1))
    names = [frame.name for frame in open_frames(tmp_path)]
    assert names == ["a.bmp", "a.png", "a.png.bmp", "b"]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two images; the first has a label of the values 0 to 10, and 11, which is void in CamVid."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), solid(1))
    write_png(tmp_path / "labels" / "a.png", LABEL, 8)
    return tmp_path


def test_labels_come_with_their_images_and_void_is_255(labelled: Path) -> None:
    first, second = open_frames(labelled, CAMVID, with_labels=True)
    assert first.label is not None
    assert np.array_equal(first.label, np.where(LABEL == 11, 255, LABEL))
    assert second.label is None
    # Who has no use of labels is not bothered by what is wrong with them.
    (labelled / "labels" / "a.png").rename(labelled / "labels" / "c.png")
    assert [frame.label for frame in open_frames(labelled)] == [None, None]


@pytest.mark.parametrize(
    ("bits", "indexed"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (1, 1), (2, 1), (4, 1), (8, 1)]
)
def test_label_files_of_any_depth_hold_ids(labelled: Path, bits: int, indexed: int) -> None:
    label = LABEL % min(2**bits, 11)
    palette = [(200, 9, 0)] * 2**bits if indexed else None
    write_png(labelled / "labels" / "a.png", label, bits, palette)
    first, _ = open_frames(labelled, CAMVID, with_labels=True)
    assert np.array_equal(first.label, label)


@pytest.mark.parametrize("largest", [11, 255, 256, 1000, 65535])
def test_label_files_of_pgm_hold_ids_whatever_their_largest_value(
    labelled: Path, largest: int
) -> None:
    (labelled / "labels" / "a.png").unlink()
    kind = ">u1" if largest < 256 else ">u2"
    header = f"P5 {LABEL.shape[1]} {LABEL.shape[0]} {largest}\n".encode()
    (labelled / "labels" / "a.pgm").write_bytes(header + LABEL.astype(kind).tobytes())
    first, _ = open_frames(labelled, CAMVID, with_labels=True)
    assert np.array_equal(first.label, np.where(LABEL == 11, 255, LABEL))


def test_a_folder_says_by_itself_what_its_labels_are(labelled: Path) -> None:
    with pytest.raises(LabelSetError, match=r"labels' has label images.*label_set\.yaml"):
        open_frames(labelled, with_labels=True)
    own = labelled / "label_set.yaml"
    own.write_text(
        "classes: [{id: 0, name: way, color: [9, 9, 9]}, {id: 1, name: rest, color: [0, 0, 1]}]\n"
        "mappings: {camvid11: {way: road, rest: null}}\n"
    )
    write_png(labelled / "labels" / "a.png", LABEL % 2, 1)
    source = open_frames(labelled, with_labels=True)
    assert np.array_equal(next(iter(source)).label, LABEL % 2)
    assert [one.name for one in source.label_set.classes] == ["way", "rest"]
    mapped = next(iter(open_frames(labelled, CAMVID, with_labels=True))).label
    assert np.array_equal(mapped, np.where(LABEL % 2, 255, 3))
    # The colours of the classes, as annotation tools write them.
    own.write_text(own.read_text() + "label_files: colors\n")
    write_png(labelled / "labels" / "a.png", LABEL % 2, 2, [(9, 9, 9), (0, 0, 1)])
    assert np.array_equal(next(iter(source := open_frames(labelled, None, True))).label, LABEL % 2)
    cv2.imwrite(str(labelled / "labels" / "a.png"), solid(9))
    assert (next(iter(source)).label == 0).all()


def test_a_split_is_numbered_as_its_data_set_says(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (labelled / "val").mkdir()
    for part in ("images", "labels"):
        (labelled / part).rename(labelled / "val" / part)
    write_png(labelled / "val" / "labels" / "a.png", LABEL % 11, 8)
    save_label_set(CAMVID, labelled / "label_set.yaml")
    monkeypatch.chdir(labelled / "val")
    cityscapes = load_label_set("cityscapes19").classes  # which has classes of these numbers, too
    for folder in (labelled / "val", Path()):
        source = open_frames_of_model(folder, cityscapes, "tiny")
        assert source.label_set.classes == CAMVID.classes
        assert np.array_equal(next(iter(source)).label, LABEL % 11)


def test_labels_that_have_no_mapping_onto_the_model_are_left_out(
    labelled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = (LabelClass(0, "one", (0, 0, 0)),)
    (labelled / "label_set.yaml").write_text("classes: [{id: 0, name: two, color: [1, 1, 1]}]")
    for spec in (labelled, "synthetic"):
        with caplog.at_level(logging.WARNING):
            assert next(iter(open_frames_of_model(spec, other, "small"))).label is None
        assert f"the labels of '{spec}'" in caplog.text
    # The same classes under another name need no mapping.
    (labelled / "label_set.yaml").write_text("classes: [{id: 0, name: one, color: [1, 1, 1]}]")
    write_png(labelled / "labels" / "a.png", 0 * LABEL, 8)
    assert (next(iter(open_frames_of_model(labelled, other, "small"))).label == 0).all()


def test_labels_that_are_coarser_than_the_model_stay_as_they_are(labelled: Path) -> None:
    fine = load_label_set("cityscapes19")
    (labelled / "label_set.yaml").write_text(
        "classes: [{id: 0, name: way, color: [9, 9, 9]}, {id: 1, name: rest, color: [0, 0, 1]}]\n"
        "sources: {cityscapes19: {road: way, building: rest, car: rest}}\n"
    )
    write_png(labelled / "labels" / "a.png", LABEL % 2, 8)
    source = open_frames_of_model(labelled, fine.classes, "small")
    assert np.array_equal(next(iter(source)).label, LABEL % 2)
    mapping = mapping_onto_labels(fine.classes, "small", source.label_set)
    assert [one.name for one in mapping.classes] == ["way", "rest"]
    assert mapping.apply(np.array([0, 13, 1, 255], np.uint8)).tolist() == [0, 1, 255, 255]
    # One with classes of its own is known by its name.
    (labelled / "label_set.yaml").write_text(
        "classes: [{id: 0, name: way, color: [9, 9, 9]}, {id: 1, name: rest, color: [0, 0, 1]}]\n"
        "sources: {own: {path: way, lawn: rest, bush: rest}}\n"
    )
    own = [LabelClass(i, name, (0, 0, 0)) for i, name in enumerate(("path", "lawn", "bush"))]
    source = open_frames_of_model(labelled, own, "own")
    assert np.array_equal(next(iter(source)).label, LABEL % 2)
    # A class that no class of the model becomes would count as never found.
    (labelled / "label_set.yaml").write_text(
        "classes: [{id: 0, name: way, color: [9, 9, 9]}, {id: 1, name: rest, color: [0, 0, 1]}]\n"
        "mappings: {cityscapes19: {way: road, rest: null}}\n"
        "sources: {cityscapes19: {road: way}}\n"
    )
    source = open_frames_of_model(labelled, fine.classes, "small")
    assert np.array_equal(next(iter(source)).label, np.where(LABEL % 2, 255, 0))
    assert source.label_set == fine
    assert open_frames_of_model("synthetic", fine.classes, "small").label_set == CAMVID


@pytest.mark.parametrize(
    ("bits", "values", "message"),
    [(8, LABEL + 66, "66, 67"), (4, LABEL % 2 + 12, "12, 13"), (16, LABEL * 257, "257, 514")],
)
def test_label_values_that_are_no_class_are_errors(
    labelled: Path, bits: int, values: np.ndarray, message: str
) -> None:
    write_png(labelled / "labels" / "a.png", values, bits)
    with pytest.raises(DataError, match=rf"labels/a\.png has the values {message}"):
        list(open_frames(labelled, CAMVID, with_labels=True))


def test_label_files_that_cannot_be_of_their_image_are_errors(labelled: Path) -> None:
    label = labelled / "labels" / "a.png"
    cv2.imwrite(str(label), np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match=r"32 x 24.*a\.png is 5 x 5"):
        list(open_frames(labelled, CAMVID, with_labels=True))
    cv2.imwrite(str(label), solid(1))
    with pytest.raises(DataError, match=r"a\.png has pixels of mode RGB.*label_files: colors"):
        list(open_frames(labelled, CAMVID, with_labels=True))
    label.unlink()
    cv2.imwrite(str(label.with_suffix(".jpg")), np.zeros((24, 32), np.uint8))
    with pytest.raises(DataError, match=r"a\.jpg is a JPEG"):
        list(open_frames(labelled, CAMVID, with_labels=True))


def test_label_files_of_other_names_are_errors(
    labelled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for suffix in (".png", ".tif"):
        cv2.imwrite(str(labelled / "labels" / f"b{suffix}"), np.zeros((24, 32), np.uint8))
    with pytest.raises(UnreadableInputError, match=r"two labels of one name.*b\.png.*b\.tif"):
        open_frames(labelled, CAMVID, with_labels=True)
    (labelled / "labels" / "b.tif").unlink()
    (labelled / "labels" / "a.png").rename(labelled / "labels" / "a_label.png")
    with caplog.at_level(logging.WARNING):
        open_frames(labelled, CAMVID, with_labels=True)
    assert "1 of 2 labels have no image" in caplog.text
    (labelled / "labels" / "b.png").unlink()
    with pytest.raises(UnreadableInputError, match=r"no label for any of 2.*a\.png.*a_label\.png"):
        open_frames(labelled, CAMVID, with_labels=True)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_a_damaged_file_in_a_folder_is_skipped_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    texture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    for name in ("a", "b", "c"):
        cv2.imwrite(str(tmp_path / f"{name}{suffix}"), texture)
    damaged = tmp_path / f"b{suffix}"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    source = open_frames(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert [frame.name for frame in source] == ["a", "c"]
        assert [frame.name for frame in source] == ["a", "c"]
    assert source.skipped == [damaged]
    assert len(caplog.records) == 1, "looping must not repeat the warning"
    assert str(damaged) in caplog.text


def photo_with_thumbnail() -> bytes:
    """A JPEG with a smaller one, whole, in its EXIF segment."""
    texture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    photo, thumbnail = (
        cv2.imencode(".jpg", image)[1].tobytes() for image in (texture, texture[:24, :32])
    )
    segment = b"Exif\0\0" + thumbnail
    return photo[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + photo[2:]


def test_a_cut_photo_is_not_taken_for_whole_by_its_thumbnail(tmp_path: Path) -> None:
    whole = photo_with_thumbnail()
    (tmp_path / "whole.jpg").write_bytes(whole + b"\0 what cameras append")
    for length in (len(whole) - 2, len(whole) * 2 // 3, 1200, 300, 3):
        (tmp_path / f"cut{length}.jpg").write_bytes(whole[:length])
    source = open_frames(tmp_path)
    assert [frame.name for frame in source] == ["whole"]
    assert len(source.skipped) == 5


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "a.png"), solid(1)[..., 0])
        (tmp_path / part / "._a.png").write_bytes(b"\0\5\x16\7 of macOS")
    source = open_frames(tmp_path)
    assert [frame.name for frame in source] == ["a"]
    assert source.skipped == []


def test_what_is_missing_or_holds_no_frames_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_frames(tmp_path / "nowhere.mp4")
    with pytest.raises(FileNotFoundError, match="no ''"):
        open_frames("")
    with pytest.raises(UnreadableInputError, match="no images in"):
        open_frames(tmp_path)
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(UnreadableInputError, match=r"text\.mp4"):
        open_frames(tmp_path / "text.mp4")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(UnreadableInputError, match=r"broken\.png"):
        open_frames(tmp_path / "broken.png")
    with pytest.raises(UnreadableInputError, match="synthetic:fog"):
        open_frames("synthetic:snow")


def test_what_may_not_be_read_is_not_called_damaged(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, image = labelled / "images", labelled / "images" / "a.png"
    (labelled / "drive.mp4").touch()

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # the user of a test may be root
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with caplog.at_level(logging.WARNING):
        assert list(open_frames(folder)) == []
    assert f"can't read {image}: Permission denied" in caplog.text
    for path in (image, labelled / "drive.mp4"):
        with pytest.raises(UnreadableInputError, match="Permission denied"):
            open_frames(path)
    pairs = LabeledImages(Listing((Sample("a", image, image),)), [CAMVID])
    with pytest.raises(DataError, match="Permission denied"):
        pairs[0]
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UnreadableInputError, match="images': Permission denied"):
        open_frames(folder)


def test_a_folder_of_damaged_files_says_so_when_asked_for_its_size(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    source = open_frames(tmp_path)
    assert list(source) == []
    with pytest.raises(UnreadableInputError, match="none of the 1"):
        _ = source.size


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.binary(max_size=200),
    header=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF", b"BM", b"II*\0"]
    ),
)
def test_no_bytes_in_a_file_break_the_folder(tmp_path: Path, data: bytes, header: bytes) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), solid(3))
    (tmp_path / "other.png").write_bytes(header + data)
    names = [frame.name for frame in open_frames(tmp_path)]
    assert "good" in names


@settings(max_examples=100, deadline=None)
@given(spec=st.text(max_size=400))
def test_any_text_that_names_no_file_is_refused(spec: str) -> None:
    with pytest.raises((FileNotFoundError, UnreadableInputError)):
        open_frames(f"/nonexistent/{spec}")


@settings(max_examples=200)
@given(names=st.lists(st.text(alphabet="a1٣²9_", min_size=1, max_size=6), unique=True, max_size=6))
def test_natural_order_copes_with_any_name(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    for name in names:
        cv2.imwrite(str(folder / f"{name}.bmp"), solid(0, 2, 2))
    if names:
        assert sorted(frame.name for frame in open_frames(folder)) == sorted(names)


def test_the_synthetic_street_is_endless_and_labelled() -> None:
    for spec in ("synthetic", "synthetic:dusk", "synthetic:fog"):
        source = open_frames(spec, with_labels=True)
        assert source.label_set == CAMVID
        assert source.endless
        frame = next(iter(source))
        assert frame.image.shape == (*source.size, 3)
        assert frame.label is not None
        assert frame.label.shape == source.size
