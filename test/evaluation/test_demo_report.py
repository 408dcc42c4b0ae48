"""The demo's report, from a run made up by hand."""

import io
import json
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from camss_ros.bags.recording import Counts, ReceivedMask, Recording, SentFrame
from camss_ros.evaluation.demo_report import report_table, write_report
from camss_ros.images.frames import open_frames, save_frames
from camss_ros.images.label_sets import load_label_set

CAMVID = load_label_set("camvid11")
CLASSES = CAMVID.classes
SECOND = 10**9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six frames of the synthetic street with labels."""
    save_frames(open_frames("synthetic", with_labels=True), tmp_path / "input", 6)
    return tmp_path / "input"


@pytest.fixture
def recording(folder: Path) -> Recording:
    """All but two frames came back: the true labels, 100, 110, ... ms later, at 2 Hz."""
    recording = Recording(model="made up", device="cpu", sampling={"steps": 4, "sampler": "ddim"})
    for index, frame in enumerate(open_frames(folder, CAMVID, with_labels=True)):
        stamp = 100 * SECOND + index * SECOND // 2
        recording.sent.append(SentFrame(stamp, frame.name))
        if index in (1, 4):
            continue
        assert frame.label is not None
        labels = np.where(frame.label == 255, 0, frame.label)
        arrival = stamp + (100 + 10 * index) * 10**6
        recording.masks[stamp] = ReceivedMask(labels, arrival)
        recording.timings[stamp] = {"decode": 0.02, "total": 0.05}
    recording.counts = Counts(received=5, segmented=4, dropped=1)
    return recording


def test_frames_times_and_scores_add_up(folder: Path, recording: Recording, tmp_path: Path) -> None:
    source = open_frames(folder, CAMVID, with_labels=True)
    report = write_report(recording, source, CLASSES, tmp_path, {"input": "folder"})
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["input"] == "folder"
    assert report["frames"] == {
        "sent": 6,
        "lost_on_the_way": 1,
        "received": 5,
        "segmented": 4,
        "dropped": 1,
        "rejected": 0,
        "failed": 0,
        "masks_matched": 4,
        "masks_unmatched": 0,
    }
    assert report["rate_hz"]["sent"] == pytest.approx(2.0)
    assert report["rate_hz"]["masks"] == pytest.approx(3 / 2.5)
    assert report["latency_ms"]["p50"] == pytest.approx(np.median([100, 120, 130, 150]))
    assert report["stages_ms"]["decode"]["mean"] == pytest.approx(20)
    assert sum(report["class_share"].values()) == pytest.approx(1)
    assert report["scores"]["frames"] == 4
    assert report["scores"]["miou"] == pytest.approx(1)

    overlay = open_frames(tmp_path / "overlay.mp4")
    assert len(list(overlay)) == 4
    assert overlay.fps == pytest.approx(1.2, rel=0.01)
    sheet = cv2.imread(str(tmp_path / "contact_sheet.png"))
    assert sheet.shape[1] > 4 * 300

    screen = io.StringIO()
    Console(file=screen, width=100).print(report_table(report))
    for text in ("frames sent", "latency", "decode", "road", "mIoU", "lost on the way"):
        assert text in screen.getvalue()


def test_a_model_of_finer_classes_is_scored_in_those_of_the_labels(
    folder: Path, recording: Recording, tmp_path: Path
) -> None:
    fine = load_label_set("cityscapes19")
    ids = {one.name: one.id for one in fine.classes}
    names = ["sky", "wall", "pole", "road", "sidewalk", "terrain", "traffic light", "fence", "bus",
             "person", "rider"]  # fmt: skip
    table = np.array([ids[name] for name in names], np.uint8)
    for stamp, mask in recording.masks.items():
        recording.masks[stamp] = ReceivedMask(table[mask.labels], mask.arrival)
    source = open_frames(folder, CAMVID, with_labels=True)
    report = write_report(recording, source, fine.classes, tmp_path, {})
    assert report["label_set"] == "camvid11"
    assert list(report["class_share"]) == [one.name for one in CLASSES]
    assert sum(report["class_share"].values()) == pytest.approx(1)
    assert report["scores"]["miou"] == pytest.approx(1)
    assert report["scores"]["per_class_iou"]["car"] == pytest.approx(1)


def test_labels_that_are_all_void_give_no_scores(
    folder: Path, recording: Recording, tmp_path: Path
) -> None:
    for label in (folder / "labels").iterdir():
        cv2.imwrite(str(label), np.full_like(cv2.imread(str(label), cv2.IMREAD_GRAYSCALE), 255))
    source = open_frames(folder, CAMVID, with_labels=True)
    report = write_report(recording, source, CLASSES, tmp_path, {})
    assert report["scores"]["miou"] is None
    assert report_table(report).row_count > 0


def test_masks_of_unknown_stamps_are_told_apart(
    folder: Path, recording: Recording, tmp_path: Path
) -> None:
    source = open_frames(folder)
    recording.masks[1] = next(iter(recording.masks.values()))
    report = write_report(recording, source, CLASSES, tmp_path, {})
    assert report["frames"]["masks_matched"] == 4
    assert report["frames"]["masks_unmatched"] == 1
    recording.masks = {1: recording.masks[1]}
    with pytest.raises(ValueError, match="stamp"):
        write_report(recording, source, CLASSES, tmp_path, {})


def test_a_single_mask_is_enough(folder: Path, recording: Recording, tmp_path: Path) -> None:
    stamp, mask = next(iter(recording.masks.items()))
    recording.masks = {stamp: mask}
    report = write_report(recording, open_frames(folder), CLASSES, tmp_path, {})
    assert report["rate_hz"]["masks"] is None
    assert report_table(report).row_count > 0


def test_the_masks_of_a_long_run_fit_into_memory() -> None:
    labels = np.repeat(np.arange(1080, dtype=np.uint8)[:, None] // 100, 1920, axis=1)
    tracemalloc.start()
    masks = [ReceivedMask(labels, number) for number in range(10)]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < labels.nbytes
    np.testing.assert_array_equal(masks[-1].labels, labels)
