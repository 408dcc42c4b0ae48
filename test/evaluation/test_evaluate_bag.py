"""`camss-ros evaluate-bag`: the files it leaves, damage, and that a killed run goes on."""

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_files import PERIOD, images, labels, stamps, two_types, write_bag, write_ros1_bag
from rosbags.rosbag2 import CompressionMode
from small_model import save_small_model
from typer.testing import CliRunner, Result

from camss_ros.atomic_files import locked
from camss_ros.bags.bag import Bag, BagError
from camss_ros.bags.bag_frames import BagSelection, decode_labels, read_stamps
from camss_ros.bags.bag_types import IMAGE, LABEL_INFO, header_stamp
from camss_ros.bags.bag_writer import BagWriter, image_message
from camss_ros.cli import app
from camss_ros.evaluation.evaluate_bag import evaluate_bag, label_values
from camss_ros.evaluation.result_folder import OutputMismatchError
from camss_ros.images.frames import open_frames
from camss_ros.images.label_sets import load_label_set, save_label_set
from camss_ros.inference.segmenter import Segmentation, Segmenter

pytestmark = pytest.mark.usefixtures("only_pytorch")

CAMVID = load_label_set("camvid11")
ROOT = Path(__file__).resolve().parents[2]


class RedSegmenter:
    """Class of a pixel: its red value by eleven, so that any frame has its own labels."""

    classes, model_name = CAMVID.classes, "small"

    def segment(self, image: np.ndarray) -> Segmentation:
        labels = image[..., 0] % np.uint8(11)
        return Segmentation(labels, np.full_like(labels, 255), {"total": 0.5}, 1)


class Quiet:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.read = self.done = self.expected = 0

    def reading(self) -> None:
        self.read += 1

    def expecting(self, frames: int) -> None:
        self.expected = frames

    def segmented(self) -> None:
        self.done += 1


def evaluated(path: Path, output: Path, progress: Quiet | None = None, **selection: object) -> dict:
    chosen = BagSelection("/cam/image", **selection)  # type: ignore[arg-type]
    settings, told = {"seed": 0, **selection}, progress or Quiet()
    with Bag(path) as bag:
        evaluate_bag(RedSegmenter(), bag, output, chosen, settings, told, CAMVID)
    return json.loads((output / "metrics.json").read_text())


def red(image: np.ndarray) -> np.ndarray:
    return image[..., 0] % 11


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_bag_leaves_masks_a_video_and_scores(tmp_path: Path) -> None:
    frames, truths = images(5), labels(5)
    progress = Quiet()
    path = write_bag(tmp_path / "bag", frames, truths)
    metrics = evaluated(path, tmp_path / "out", progress, labels="/cam/label")
    assert (progress.read, progress.expected, progress.done) == (10, 5, 5)
    names = [f"{i:06d}_{100 + i // 10}.{i % 10}00000000" for i in range(5)]
    assert sorted(p.stem for p in (tmp_path / "out/masks").iterdir()) == names
    correct = known = 0
    for name, frame, truth in zip(names, frames, truths, strict=True):
        mask = cv2.imread(str(tmp_path / f"out/masks/{name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, red(frame))
        correct += int((mask == truth).sum())
        known += int((truth != 255).sum())
    assert metrics["complete"] is True
    assert (metrics["frames"], metrics["labelled_frames"]) == (5, 5)
    assert metrics["scores"]["pixel_accuracy"] == pytest.approx(correct / known)
    lines = [json.loads(line) for line in (tmp_path / "out/frames.jsonl").read_text().splitlines()]
    assert [line["stamp"] for line in lines] == stamps(5)
    assert [line["name"] for line in lines] == names
    assert len((tmp_path / "out/timings.jsonl").read_text().splitlines()) == 5
    video = cv2.VideoCapture(str(tmp_path / "out/overlay.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 5


def test_every_format_gives_the_same_scores(tmp_path: Path) -> None:
    frames, truths = images(4), labels(4)
    bags = [
        write_bag(tmp_path / "mcap", frames, truths),
        write_bag(tmp_path / "sqlite", frames, truths, "sqlite3"),
        write_bag(tmp_path / "png", frames, truths, compressed=True),
        write_ros1_bag(tmp_path / "one.bag", frames, truths),
    ]
    results = [evaluated(p, tmp_path / f"out_{p.name}", labels="/cam/label") for p in bags]
    assert results[0]["labelled_frames"] == 4
    assert all(result == results[0] for result in results)


def test_selection_and_tolerance(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", images(9), labels(9), label_shift=PERIOD // 5)
    exact = evaluated(path, tmp_path / "exact", labels="/cam/label")
    assert (exact["labelled_frames"], exact["scores"]) == (0, None)
    assert exact["labels_without_image"] == 9
    near = evaluated(
        path, tmp_path / "near", labels="/cam/label", tolerance=0.03, every=2, start=0.2,
        duration=0.5,
    )  # fmt: skip
    assert (near["frames"], near["labelled_frames"]) == (3, 3)
    lines = [json.loads(line) for line in (tmp_path / "near/frames.jsonl").read_text().splitlines()]
    assert [line["stamp"] for line in lines] == stamps(9)[2:7:2]
    assert [line["label_stamp"] for line in lines] == [s + PERIOD // 5 for s in stamps(9)[2:7:2]]
    for wrong in ({"every": 0}, {"tolerance": -1.0}, {"start": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            BagSelection("/cam/image", **wrong)  # type: ignore[arg-type]
    with pytest.raises(BagError, match="no message in that span"):
        evaluated(path, tmp_path / "late", start=100.0)


def test_undecodable_frames_and_labels_are_counted_and_the_others_kept(tmp_path: Path) -> None:
    truths = labels(6)
    truths[4] = np.full_like(truths[4], 77)
    cut = {1: 3, 2: 40, 3: 700}  # bytes that are left: no header, no fields, too few pixels
    path = write_bag(
        tmp_path / "bag", images(6), truths,
        change=lambda number, data: data[: cut.get(number, len(data))],
    )  # fmt: skip
    metrics = evaluated(path, tmp_path / "out", labels="/cam/label", tolerance=0.01)
    assert (metrics["frames"], metrics["labelled_frames"]) == (3, 2)
    passed_over = metrics["passed_over"]
    assert passed_over["frames"] == 3
    assert sum(passed_over["by_reason"].values()) == 4
    assert passed_over["by_reason"]["/cam/label: values"] == 1
    first = "\n".join(passed_over["first"])
    assert "/cam/image, message 2, stamp 100.200000000" in first
    assert "the values 77" in first
    path = write_bag(tmp_path / "none", images(2), change=lambda number, data: data[:30])
    with pytest.raises(BagError, match="not one of the 2 images") as refused:
        evaluated(path, tmp_path / "none_out")
    assert "/cam/image, message 0" in str(refused.value)


def test_no_flicker_is_counted_across_a_frame_that_is_passed_over(tmp_path: Path) -> None:
    def counted(name: str, damaged: int | None) -> int:
        path = write_bag(
            tmp_path / name, images(4), labels(1) * 4,
            change=lambda number, data: data[:60] if number == damaged else data,
        )  # fmt: skip
        metrics = evaluated(path, tmp_path / f"{name} out", labels="/cam/label")
        return metrics["counts"]["flicker"][0]

    pairs = {damaged: counted(str(damaged), damaged) for damaged in (None, 1, 3)}
    assert pairs[None] > 0
    assert (pairs[1], pairs[3]) == (pairs[None] // 3, pairs[None] // 3 * 2)


def test_the_known_encodings_are_listed_once(tmp_path: Path) -> None:
    path = write_bag(
        tmp_path / "bag", images(4),
        change=lambda number, data: data.replace(b"rgb8", b"rgb9") if number else data,
    )  # fmt: skip
    first = evaluated(path, tmp_path / "out")["passed_over"]["first"]
    assert len(first) == 3
    assert all("encoding 'rgb9' is not supported" in text for text in first)
    assert ["use one of rgb8, " in text for text in first] == [True, False, False]


def test_a_cut_bag_keeps_the_results_of_its_readable_part(tmp_path: Path) -> None:
    file = write_bag(tmp_path / "bag", images(600)) / "bag.mcap"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    metrics = evaluated(tmp_path / "bag", tmp_path / "out")
    assert 100 < metrics["frames"] < 600
    assert any("ends" in warning for warning in metrics["warnings"])


def test_labels_that_are_numbered_otherwise_are_told(tmp_path: Path) -> None:
    path, other = tmp_path / "bag", load_label_set("cityscapes19")
    run("make-bag", "synthetic", "--frames", 1, "--namespace", "/cam", "--output", path)
    with Bag(path) as bag:
        label_values(bag, "/cam/label", CAMVID.classes, None)
        label_values(bag, "/cam/label", other.classes, CAMVID)
        assert bag.warnings == []
        with pytest.raises(BagError, match=r"are of sky, building, .*: give --label-set"):
            label_values(bag, "/cam/label", other.classes, None)
        label_values(bag, "/cam/label", CAMVID.classes, other)
        (warning,) = bag.warnings
        assert "by /cam/label_info the labels on /cam/label are of sky, building" in warning
        assert "other classes than those of label set cityscapes19" in warning


def test_masks_come_back_in_a_bag(tmp_path: Path, small_model: Path) -> None:
    frames, truths = images(4), labels(4)
    segmenter = Segmenter(small_model, device="cpu")
    for path in (
        write_bag(tmp_path / "bag", frames, truths),
        write_ros1_bag(tmp_path / "one.bag", frames, truths),
    ):
        output = tmp_path / f"out_{path.name}"
        result = run("evaluate-bag", path, "--image", "/cam/image", "--model", small_model,
                     "--device", "cpu", "--every", 2, "--write-bag", "--output",
                     output)  # fmt: skip
        assert result.exit_code == 0, result.output
        with Bag(output / "bag") as bag:
            counts = {(topic.name, topic.type): topic.messages for topic in bag.topics}
            assert counts == {
                ("/cam/image", IMAGE): 4,
                ("/cam/label", IMAGE): 4,
                ("/cam/segmentation/mask", IMAGE): 2,
                ("/cam/segmentation/label_info", LABEL_INFO): 1,
            }
            masks = bag.messages(["/cam/segmentation/mask"])
            for message, number in zip(masks, (0, 2), strict=True):
                assert message.log_time == stamps(4)[number]
                assert header_stamp(message.data, ros1=False) == stamps(4)[number]
                assert bag.decode(message).header.frame_id == "camera"
                expected = segmenter.segment(frames[number]).labels
                np.testing.assert_array_equal(decode_labels(bag, message), expected)
            copied = [bag.decode(m).data for m in bag.messages(["/cam/image"])]
            np.testing.assert_array_equal(copied, [frame.reshape(-1) for frame in frames])


def test_a_topic_of_two_types_is_read_and_copied(tmp_path: Path, small_model: Path) -> None:
    strange = "sensor_msgs/msg/Range"
    path = two_types(tmp_path / "bag", "mcap", strange, 3)
    output = tmp_path / "out"
    result = run("evaluate-bag", path, "--image", "/cam/image", "--model", small_model,
                 "--device", "cpu", "--every", 2, "--write-bag", "--output", output)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"{strange} (3 messages): {IMAGE} is taken" in result.output
    segmenter = Segmenter(small_model, device="cpu")
    with Bag(output / "bag") as bag:
        counts = {(topic.name, topic.type): topic.messages for topic in bag.topics}
        assert (counts["/cam/image", IMAGE], counts["/cam/image", strange]) == (6, 3)
        masks = list(bag.messages(["/cam/segmentation/mask"]))
        for mask, frame in zip(masks, images(6)[::2], strict=True):
            expected = segmenter.segment(frame).labels
            np.testing.assert_array_equal(decode_labels(bag, mask), expected)


def test_log_times_after_2038_are_kept(tmp_path: Path, small_model: Path) -> None:
    path, late = tmp_path / "bag", 2**31 * 10**9 + 5
    with BagWriter(path) as writer:
        topic = writer.add_topic("/cam/image", IMAGE)
        for number, frame in enumerate(images(2)):
            writer.write(topic, image_message(frame, "rgb8", 0, "camera"), late + number)
    output = tmp_path / "out"
    result = run("evaluate-bag", path, "--image", "/cam/image", "--model", small_model,
                 "--device", "cpu", "--write-bag", "--output", output)  # fmt: skip
    assert result.exit_code == 0, result.output
    with Bag(output / "bag") as bag:
        times = read_stamps(bag, ["/cam/segmentation/mask", "/cam/segmentation/label_info"])
        assert times["/cam/segmentation/mask"].tolist() == [late, late + 1]
        assert times["/cam/segmentation/label_info"].tolist() == [late]


def test_a_bag_scores_exactly_as_its_folder(tmp_path: Path, small_model: Path) -> None:
    for folder, pictures in (("images", images(3)), ("labels", labels(3))):
        (tmp_path / "data/val" / folder).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            picture = picture[..., ::-1] if picture.ndim == 3 else np.minimum(picture, 11)
            cv2.imwrite(str(tmp_path / f"data/val/{folder}/{number}.png"), picture)
    options = ["--model", small_model, "--device", "cpu", "--steps", 2, "--seed", 3,
               "--network-size", "64x32"]  # fmt: skip
    result = run("evaluate", "--data", "camvid", "--root", tmp_path / "data", "--json",
                 tmp_path / "scores.json", "--report", tmp_path / "folder.html", "--clip",
                 *options)  # fmt: skip
    assert result.exit_code == 0, result.output
    result = run("make-bag", tmp_path / "data/val", "--output", tmp_path / "bag",
                 "--label-set", "camvid11")  # fmt: skip
    assert result.exit_code == 0, result.output
    result = run("evaluate-bag", tmp_path / "bag", "--image", "/camera/image", "--labels",
                 "/camera/label", "--label-set", "camvid11", "--output", tmp_path / "out",
                 *options)  # fmt: skip
    assert result.exit_code == 0, result.output
    of_folder = json.loads((tmp_path / "scores.json").read_text())
    of_bag = json.loads((tmp_path / "out/metrics.json").read_text())["scores"]
    assert of_bag["miou"] is not None
    assert of_bag["flicker"] is not None
    reports = [json.loads((tmp_path / n).read_text()) for n in ("folder.json", "out/report.json")]
    assert [report["model"]["network_size"] for report in reports] == [[32, 64], [32, 64]]
    assert of_bag == {key: of_folder[key] for key in of_bag}
    for number in ("frames", "labelled_frames", "class_share", "scores", "confusion"):
        assert reports[0]["total"][number] == reports[1]["total"][number], number


def test_labels_of_other_classes_than_the_models_are_not_taken_for_them(tmp_path: Path) -> None:
    fine = load_label_set("cityscapes19").classes
    model = save_small_model(tmp_path / "model", label_set=fine)
    bag = tmp_path / "bag"
    assert run("make-bag", "synthetic", "--frames", 2, "--output", bag).exit_code == 0
    arguments = ["evaluate-bag", bag, "--image", "/camera/image", "--labels", "/camera/label",
                 "--model", model, "--device", "cpu", "--output", tmp_path / "out"]  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 1
    assert "sky, building, pole" in result.output
    assert "--label-set" in result.output
    result = run(*arguments, "--label-set", "camvid11")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert list(metrics["class_share"]) == [one.name for one in CAMVID.classes]
    assert metrics["labelled_frames"] == 2


def test_only_the_listed_frames_are_taken(tmp_path: Path, small_model: Path) -> None:
    bag = write_bag(tmp_path / "bag", images(6), labels(6))
    arguments = ["evaluate-bag", bag, "--image", "/cam/image", "--labels", "/cam/label",
                 "--model", small_model, "--device", "cpu", "--steps", 1]  # fmt: skip
    assert run(*arguments, "--output", tmp_path / "all").exit_code == 0
    lines = (tmp_path / "all/frames.jsonl").read_text().splitlines(keepends=True)
    chosen = [lines[n] for n in (1, 2, 4)]
    listed = tmp_path / "frames.jsonl"
    listed.write_text("".join(chosen))
    some = [*arguments, "--frames", listed, "--output", tmp_path / "some"]
    result = run(*some)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "some/frames.jsonl").read_text() == "".join(chosen)
    whole, part = (
        json.loads((tmp_path / f"{n}/metrics.json").read_text()) for n in ("all", "some")
    )
    assert part["frames"] == part["labelled_frames"] == 3
    assert part["passed_over"]["frames"] == 0
    # One pair of frames that follow each other, of five.
    assert 0 < part["counts"]["flicker"][0] < whole["counts"]["flicker"][0] / 3
    listed.write_text(chosen[0])  # another list is another setting
    refused = run(*some)
    assert refused.exit_code == 1
    assert "other settings" in refused.output
    listed.write_text('{"stamp": 5}\n')
    elsewhere = [*some[:-1], tmp_path / "none"]
    assert "has one of the stamps" in run(*elsewhere).output
    for content in ("[]", "nothing", '{"name": "000001"}'):
        listed.write_text(content)
        refused = run(*elsewhere)
        assert refused.exit_code == 1
        assert f"{listed}', line 1" in refused.output.replace("\n", "")


KILLED = """
import os, signal
from pathlib import Path
from camss_ros.cli import main

replace, masks = os.replace, []

def replace_and_end(source, target):
    replace(source, target)
    masks.extend([target] * (Path(target).parent.name == "masks"))
    if len(masks) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace_and_end
main()
"""


def test_a_killed_run_goes_on_to_the_same_result(tmp_path: Path, small_model: Path) -> None:
    bag = write_bag(tmp_path / "bag", images(120), labels(120))
    arguments = ["evaluate-bag", bag, "--image", "/cam/image", "--labels", "/cam/label",
                 "--model", small_model, "--device", "cpu", "--backend", "torch"]  # fmt: skip
    masks = tmp_path / "killed/masks"
    command = [sys.executable, "-c", KILLED, *arguments, "--output", tmp_path / "killed"]
    killed = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = {path: path.stat().st_mtime_ns for path in masks.glob("0*.png")}
    assert len(before) == 3
    assert json.loads((tmp_path / "killed/metrics.json").read_text())["complete"] is False

    for output in ("killed", "whole"):
        result = run(*arguments, "--output", tmp_path / output)
        assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    measured = ("timings.jsonl", "overlay.mp4", "report.html", "report.json")
    files = sorted(
        path.relative_to(tmp_path / "whole")
        for path in (tmp_path / "whole").rglob("*")
        if path.is_file() and path.name not in measured
    )
    assert len([f for f in files if f.parts[0] in ("masks", "confidence")]) == 240
    assert {str(f) for f in files} >= {"metrics.json", "frames.jsonl", "strips/index.json"}
    for file in files:
        killed, whole = tmp_path / "killed" / file, tmp_path / "whole" / file
        assert killed.read_bytes() == whole.read_bytes(), file
    # x264 does not always encode the same frames to the same bytes, but no other frame is as near.
    killed_video, whole_video = (
        np.array([f.image for f in open_frames(tmp_path / output / "overlay.mp4")], np.int16)
        for output in ("killed", "whole")
    )
    nearest = [np.abs(whole_video - frame).mean(axis=(1, 2, 3)).argmin() for frame in killed_video]
    assert nearest == list(range(120))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_leaves_no_temporary_files(
    tmp_path: Path, small_model: Path, number: signal.Signals
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("nohup, which the run would inherit")
    # so many that the run lasts until it is told
    bag = write_bag(tmp_path / "bag", images(1000), compression=CompressionMode.FILE)
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "camss_ros.cli", "evaluate-bag", bag, "--image", "/cam/image",
         "--model", small_model, "--device", "cpu", "--backend", "torch",
         "--output", tmp_path / "out"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not list((tmp_path / "out/masks").glob("0*.png")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert list((tmp_path / "tmp").glob("camss_ros-bag-*/*/*.mcap"))
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert not list((tmp_path / "tmp").glob("camss_ros-*"))


def test_one_run_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    bag, output = write_bag(tmp_path / "bag", images(2)), tmp_path / "out"
    with locked(output), pytest.raises(OSError, match=r"another process is writing to '.*/out'"):
        evaluated(bag, output)
    assert evaluated(bag, output)["frames"] == 2


def test_a_run_that_came_to_nothing_does_not_occupy_its_folder(tmp_path: Path) -> None:
    damaged = write_bag(
        tmp_path / "bag", images(3), change=lambda n, data: data[: 30 if n else None]
    )
    output = tmp_path / "out"
    with pytest.raises(BagError, match="not one of the 1 images"):
        evaluated(damaged, output, start=0.15)
    assert evaluated(damaged, output)["frames"] == 1
    with pytest.raises(OutputMismatchError):
        evaluated(damaged, output, start=0.15)


def test_results_of_what_has_changed_meanwhile_are_not_taken_for_done(
    tmp_path: Path, small_model: Path
) -> None:
    bag = write_bag(tmp_path / "bag", images(2), labels(2), "sqlite3")
    classes = tmp_path / "classes.yaml"
    save_label_set(CAMVID, classes)
    arguments = ["evaluate-bag", bag, "--image", "/cam/image", "--labels", "/cam/label",
                 "--model", small_model, "--device", "cpu", "--label-set", classes,
                 "--output", bag / "out"]  # fmt: skip
    for _ in range(2):  # its own results in the bag's folder change nothing
        assert run(*arguments).exit_code == 0
    classes.write_text(classes.read_text().replace("file_values: [255]", "file_values: [255, 100]"))
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "label_set_sha256" in refused.output.replace("\n", "")
    save_label_set(CAMVID, classes)
    assert run(*arguments).exit_code == 0
    other = write_bag(tmp_path / "other", images(2, seed=9), labels(2, seed=9), "sqlite3")
    files = [next(folder.glob("*.db3")) for folder in (bag, other)]
    assert files[0].stat().st_size == files[1].stat().st_size
    files[1].replace(files[0])
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "bag_fingerprint" in refused.output.replace("\n", "")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_memory_does_not_grow_with_the_bag(tmp_path: Path, storage: str) -> None:
    def peak(count: int) -> int:
        frames = [np.full((200, 300, 3), i % 256, np.uint8) for i in range(count)]
        truths = [frame[..., 0] % 11 for frame in frames]
        path = write_bag(tmp_path / f"bag{count}", frames, truths, storage)
        del frames, truths
        tracemalloc.start()
        evaluated(path, tmp_path / f"out{count}", labels="/cam/label")
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return traced

    peak(2)  # what is imported late
    assert peak(150) < 1.2 * peak(15)


def test_what_cannot_be_done_is_said(tmp_path: Path, small_model: Path) -> None:
    bag = write_bag(tmp_path / "bag", images(2), labels(2))
    (tmp_path / "broken.mcap").write_bytes(b"no bag")
    good = (bag, "--image", "/cam/image")
    cases = [
        ((bag, "--image", "/front/image"), "/cam/image  sensor_msgs/msg/Image  2 messages"),
        ((*good, "--labels", "/truth"), "topic /truth is not there"),
        ((tmp_path / "broken.mcap", "--image", "/cam/image"), "broken.mcap"),
        ((tmp_path / "nowhere", "--image", "/cam/image"), "nowhere"),
        ((*good, "--label-set", "cityscapes19"), "cityscapes19"),
        ((*good, "--label-set", "mars"), "mars"),
        ((*good, "--sampler", "magic"), "magic"),
        ((*good, "--backend", "magic"), "magic"),
    ]
    for arguments, message in cases:
        result = run(
            "evaluate-bag", *arguments, "--model", small_model, "--output", tmp_path / "out"
        )
        assert result.exit_code == 1, arguments
        assert message in result.output
        assert "Traceback" not in result.output
    assert (
        run("evaluate-bag", *good, "--model", small_model, "--output", tmp_path / "out").exit_code
        == 0
    )
    other = run(
        "evaluate-bag", *good, "--model", small_model, "--steps", 2, "--output", tmp_path / "out"
    )
    assert other.exit_code == 1
    assert "other settings" in other.output
