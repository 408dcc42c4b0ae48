"""Several cameras, and several bags over worker processes and Ray."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from bag_files import images, labels, stamps, write_bag
from rosbags.rosbag2 import CompressionMode
from typer.testing import CliRunner, Result

from camss_ros.bags.bag import Bag
from camss_ros.bags.bag_frames import BagSelection
from camss_ros.bags.bag_types import IMAGE
from camss_ros.bags.bag_writer import BagWriter, image_message
from camss_ros.cli import app
from camss_ros.evaluation import bag_batch
from camss_ros.evaluation.bag_batch import Outcome, run_batch
from camss_ros.evaluation.bag_run import BagTask, run_bag
from camss_ros.images.label_sets import load_label_set, save_label_set
from camss_ros.inference.segmenter_group import SegmenterGroup
from camss_ros.inference.spec import SegmenterSpec
from camss_ros.model.schedule import SamplingOptions

CAMVID = load_label_set("camvid11")


def command(bags: list[Path], model: Path, output: Path, *arguments: object) -> list[str]:
    words = ["evaluate-bag", *bags, "--model", model, "--device", "cpu", "--backend", "torch",
             "--steps", 1, "--output", output, *arguments]  # fmt: skip
    return list(map(str, words))


def run(bags: list[Path], model: Path, output: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, command(bags, model, output, *arguments))


# As users start it: what the workers import again is this script.
SCRIPT = Path(__file__).resolve().parents[2] / "scripts/camss-ros"
ONE = ("--image", "/cam/image", "--labels", "/cam/label")


def two_cameras(path: Path) -> Path:
    """/front/image and /left/image with five frames each, /front/label."""
    with BagWriter(path) as bag:
        topics = {
            n: bag.add_topic(n, IMAGE) for n in ("/front/image", "/left/image", "/front/label")
        }
        pictures = zip(stamps(5), images(5, 1), images(5, 2), labels(5), strict=True)
        for stamp, front, left, truth in pictures:
            for name, pixels in (
                ("/front/image", front),
                ("/left/image", left),
                ("/front/label", truth),
            ):
                encoding = "rgb8" if pixels.ndim == 3 else "mono8"
                bag.write(topics[name], image_message(pixels, encoding, stamp, "c"), stamp)
    return path


def test_several_cameras_have_a_folder_each_and_one_report(
    tmp_path: Path, small_model: Path
) -> None:
    bag, output = two_cameras(tmp_path / "bag"), tmp_path / "out"
    result = run([bag], small_model, output, "--image", "/front/image", "--image", "/left/image",
                 "--labels", "/front/label", "--labels", "-", "--write-bag")  # fmt: skip
    assert result.exit_code == 0, result.output
    front = json.loads((output / "front__image/metrics.json").read_text())
    left = json.loads((output / "left__image/metrics.json").read_text())
    assert (front["labelled_frames"], left["labelled_frames"]) == (5, 0)
    report = json.loads((output / "report.json").read_text())
    assert [part["name"] for part in report["parts"]] == ["/front/image", "/left/image"]
    assert report["total"]["frames"] == 10
    assert report["total"]["scores"] == front["scores"]
    page = (output / "report.html").read_text()
    assert page.count("/left/image") > 1
    with Bag(output / "bag") as written:
        counts = {topic.name: topic.messages for topic in written.topics}
        assert counts["/front/segmentation/mask"] == counts["/left/segmentation/mask"] == 5
    # What one camera gives does not depend on the other.
    alone = tmp_path / "alone"
    assert run([bag], small_model, alone, "--image", "/left/image").exit_code == 0
    for mask in (output / "left__image/masks").iterdir():
        assert mask.read_bytes() == (alone / "masks" / mask.name).read_bytes()


def test_a_camera_without_images_is_said_before_the_others_are_segmented(
    tmp_path: Path, small_model: Path
) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/left/image", IMAGE)
        topic = bag.add_topic("/front/image", IMAGE)
        bag.write(topic, image_message(images(1)[0], "rgb8", stamps(1)[0], "front"), stamps(1)[0])
    cameras = ("--image", "/front/image", "--image", "/left/image")
    result = run([tmp_path / "bag"], small_model, tmp_path / "out", *cameras)
    assert result.exit_code == 1
    assert "topic /left/image has no message at all" in result.output
    assert not (tmp_path / "out").exists()


def test_labels_go_with_their_cameras(tmp_path: Path, small_model: Path) -> None:
    bag = two_cameras(tmp_path / "bag")
    for arguments, message in (
        (("--image", "/front/image", "--image", "/left/image", "--labels", "/front/label"),
         "expected one for each"),
        (("--image", "/front/image", "--image", "/front/image"), "named twice"),
    ):  # fmt: skip
        result = run([bag], small_model, tmp_path / "out", *arguments)
        assert result.exit_code == 1
        assert message in result.output


def shelf(folder: Path) -> Path:
    write_bag(folder / "one", images(4, 1), labels(4))
    write_bag(folder / "two", images(3, 2), labels(3))
    (folder / "torn.mcap").write_bytes(b"these are not the bytes of a bag")
    return folder


def check_batch(output: Path, code: int, said: str) -> dict[Path, int]:
    """The merged report is of the two whole bags; returns when their masks were written."""
    assert code == 1, said
    assert "torn.mcap" in said
    report = json.loads((output / "report.json").read_text())
    assert (report["bags"], len(report["failed"])) == (2, 1)
    assert "torn.mcap" in report["failed"][0]["reason"]
    assert report["total"]["frames"] == 7
    confusions = [
        np.array(json.loads((output / f"{name}/metrics.json").read_text())["counts"]["confusion"])
        for name in ("one", "two")
    ]
    np.testing.assert_array_equal(report["total"]["confusion"], sum(confusions))
    assert "torn.mcap" in (output / "report.html").read_text()
    files = [path for path in output.rglob("*") if path.parent != output and path.is_file()]
    assert len(files) > 14
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_batch_of_bags_over_workers_keeps_what_it_can_and_does_nothing_twice(
    tmp_path: Path, small_model: Path
) -> None:
    bags, output = shelf(tmp_path / "bags"), tmp_path / "out"
    done = subprocess.run(
        [sys.executable, SCRIPT, *command([bags], small_model, output, *ONE, "--workers", 2)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    first = check_batch(output, done.returncode, done.stdout + done.stderr)
    result = run([bags], small_model, output, *ONE, "--workers", 1)
    assert check_batch(output, result.exit_code, result.output) == first


@dataclass(frozen=True)
class DeadlyNetwork(SegmenterSpec):
    """Ends its process where others load."""

    def open(self, *_: object, **__: object) -> NoReturn:
        os._exit(9)


def test_a_worker_that_dies_takes_only_its_own_bag_along(tmp_path: Path, small_model: Path) -> None:
    network = SegmenterSpec(str(small_model), SamplingOptions(steps=1), device="cpu")
    deadly = DeadlyNetwork(str(small_model), SamplingOptions(steps=1), device="cpu")
    bag = write_bag(tmp_path / "bag", images(2))
    tasks = [
        BagTask(bag, tmp_path / str(i), (BagSelection("/cam/image"),), None, chosen)
        for i, chosen in enumerate((deadly, network))
    ]
    outcomes: dict[int, Outcome] = {}
    run_batch(tasks, 1, outcomes.__setitem__)
    assert outcomes[1] == (None, [])
    assert "died" in str(outcomes[0])
    assert (tmp_path / "1/report.html").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_command_and_leave_no_temporary_files(
    tmp_path: Path, small_model: Path, number: signal.Signals
) -> None:
    shelf, output, temporary = tmp_path / "bags", tmp_path / "out", tmp_path / "tmp"
    # so many that they are at work until they are told
    write_bag(shelf / "one", images(1000), compression=CompressionMode.FILE)
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *command([shelf], small_model, output, "--image", "/cam/image")],
        env={**os.environ, "TMPDIR": str(temporary)}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not list(temporary.glob("camss_ros-bag-*/*/*.mcap")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    if number == signal.SIGINT:  # Ctrl-C goes to all that run in a terminal
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.communicate(timeout=60)  # until the workers have closed the pipe, too
    assert not list(temporary.glob("camss_ros-bag-*"))


def test_what_is_finished_is_not_loaded_again(tmp_path: Path, small_model: Path) -> None:
    network = SegmenterSpec(str(small_model), SamplingOptions(steps=1), device="cpu")
    bag = write_bag(tmp_path / "bag", images(2))
    task = BagTask(bag, tmp_path / "out", (BagSelection("/cam/image"),), None, network)
    loaded: list[SegmenterSpec] = []

    def load(choice: SegmenterSpec) -> AbstractContextManager[SegmenterGroup]:
        loaded.append(choice)
        return closing(SegmenterGroup(choice))

    for _ in range(2):
        run_bag(task, load)
    assert len(loaded) == 1
    (tmp_path / "out/report.html").unlink()  # killed before it was written
    run_bag(task, load)
    assert (tmp_path / "out/report.html").exists()


def test_a_batch_of_bags_over_ray(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the optional package ray is not installed")
    # Its default, 15, starves the workers where others keep the machine busy.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    bags, output = shelf(tmp_path / "bags"), tmp_path / "out"
    result = run([bags], small_model, output, *ONE, "--ray", "local")
    check_batch(output, result.exit_code, result.output)


def test_a_worker_elsewhere_finds_model_and_label_set_of_relative_paths(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bag(tmp_path / "bag", images(2), labels(2))
    save_label_set(CAMVID, tmp_path / "classes.yaml")
    (tmp_path / "mine").symlink_to(small_model)
    monkeypatch.chdir(tmp_path)
    camera = BagSelection("/cam/image", "/cam/label")
    spec = SegmenterSpec("mine", device="cpu")
    task = BagTask(Path("bag"), Path("out"), (camera,), "classes.yaml", spec)
    sent = bag_batch._with_absolute_paths(task)
    (tmp_path / "worker").mkdir()
    monkeypatch.chdir(tmp_path / "worker")
    assert bag_batch.attempt(sent) == (None, [])
    assert (tmp_path / "out/report.html").exists()


def test_one_bag_goes_to_ray_too(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def run_on_ray(tasks: list[BagTask], address: str, on_done: Callable[..., None]) -> None:
        asked.extend((task.bag.name, address) for task in tasks)
        on_done(0, bag_batch.attempt(tasks[0]))

    monkeypatch.setattr(bag_batch, "run_batch_on_ray", run_on_ray)
    bag = tmp_path / "bag"
    with BagWriter(bag) as writer:
        for name in ("/cam/image", "/cam/segmentation/mask"):
            image = image_message(images(1)[0], "rgb8", 1, "camera")
            writer.write(writer.add_topic(name, IMAGE), image, 1)
    result = run([bag], small_model, tmp_path / "out", "--image", "/cam/image", "--ray", "host:1",
                 "--write-bag")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "bag': /cam/segmentation/mask is replaced" in result.output
    assert asked == [("bag", "host:1")]
    assert (tmp_path / "out/bag/report.html").exists()
    assert (tmp_path / "out/report.html").exists()
