"""`camss-ros replay`: a bag through the running node over DDS, against the offline evaluation."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_files import images, labels, write_bag
from ros_peer import RosPeer, wait_until
from rosgraph_msgs.msg import Clock
from scripted_node import CLASSES
from sensor_msgs.msg import Image
from typer.testing import CliRunner

from camss_ros.bags.bag import Bag, BagError
from camss_ros.bags.bag_frames import BagFrames, BagSelection
from camss_ros.bags.bag_types import IMAGE
from camss_ros.bags.recording import Counts
from camss_ros.cli import app
from camss_ros.evaluation.replay import ReplayRecorder
from camss_ros.evaluation.result_folder import begin_results
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.checkpoint import weights_hash
from camss_ros.nodes.harness import bag_player
from camss_ros.nodes.harness.bag_player import (
    NoSegmenterError,
    OtherClassesError,
    Played,
    play_bag,
    ros_message,
)
from camss_ros.nodes.harness.child_process import ChildProcess
from camss_ros.nodes.harness.segmenter_listener import SegmenterListener, WrongArgumentsError
from camss_ros.nodes.qos import LATCHED
from camss_ros.termination import DeferredSignals

CAMVID = load_label_set("camvid11")
VALUES = CAMVID.from_file_values()
COUNT = 6


def replay(domain_id: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "camss_ros.cli", "replay", *map(str, arguments)],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_node_gives_the_masks_of_the_offline_run(
    tmp_path: Path, small_model: Path, domain_id: int
) -> None:
    frames = images(COUNT)
    bag = write_bag(tmp_path / "bag", frames, labels(COUNT))
    parameters: dict[str, str | int | float | bool] = {
        "model": str(small_model),
        "device": "cpu",
        "backend": "torch",
    }
    environment = {"ROS_DOMAIN_ID": str(domain_id)}
    log = tmp_path / "segmenter.log"
    with ChildProcess("camss_ros.run_segmenter", parameters, environment, log) as segmenter:
        wait_until(lambda: "active: segmenting" in log.read_text(), "the segmenter")
        output = tmp_path / "out"
        done = replay(
            domain_id, bag, "--image", "/cam/image", "--labels", "/cam/label", "--model",
            small_model, "--rate", 0.5, "--clock", "--remap", "image:=/image", "--output", output,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        segmenter.check()
    metrics = json.loads((output / "metrics.json").read_text())
    live = metrics["live"]
    assert live["images sent"] == COUNT
    answered = live["masks received"]
    assert answered + live["lost on the way"] + live["dropped by the node"] == COUNT
    assert metrics["frames"] == answered > 0
    offline = Segmenter(small_model, device="cpu")
    masks = sorted((output / "masks").iterdir())
    assert len(masks) == answered
    for mask in masks:
        expected = offline.segment(frames[int(mask.name[:6])]).labels
        np.testing.assert_array_equal(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), expected)
    report = json.loads((output / "report.json").read_text())
    assert report["total"]["latency_ms"]["p50"] > report["total"]["stages_ms"]["total"]["p50"] * 0.5
    assert report["total"]["scores"]["miou"] == metrics["scores"]["miou"] is not None
    assert report["model"]["name"] == "small"
    assert report["model"]["backend"] == "torch"
    assert report["model"]["network_size"] == list(offline.input_size)
    assert report["model"]["sha256 of source"] == weights_hash(small_model)
    assert "network" not in report["total"]["stages_ms"]  # torch tells its four stages instead
    assert (output / "report.html").exists()

    # The offline run on the frames that came back.
    command = [
        "evaluate-bag", bag, "--image", "/cam/image", "--labels", "/cam/label", "--model",
        small_model, "--device", "cpu", "--backend", "torch", "--frames", output / "frames.jsonl",
        "--output", tmp_path / "offline",
    ]  # fmt: skip
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    again = json.loads((tmp_path / "offline/metrics.json").read_text())
    assert (again["scores"], again["counts"]) == (metrics["scores"], metrics["counts"])


def recorded(tmp_path: Path, answered: dict[int, np.ndarray]) -> dict:
    """A replay of four frames in which some come back, 0.1 s later."""
    with Bag(tmp_path / "bag") as bag:
        frames = BagFrames(bag, BagSelection("/cam/image", "/cam/label"), VALUES)
        with closing(ReplayRecorder(tmp_path / "out", frames, {"rate": 1.0})) as recorder:
            recorder.begin()
            for number, stamp, _ in frames.messages():
                recorder.on_sent(number, stamp, 10**9 * number)
                assert recorder.knows(stamp)
                if number in answered:
                    recorder.on_mask(stamp, answered[number], 10**9 * number + 10**8)
                    recorder.on_confidence(stamp, np.full_like(answered[number], 255))
                    for _ in range(2):  # the status is repeated
                        recorder.on_timings(stamp, {"total": 0.05})
            recorder.on_mask(5, np.zeros((2, 2), np.uint8), 0)
        return recorder.finish(Counts(3, 2, 1), {}, CAMVID.classes, "small", None)


def test_drops_are_counted_and_what_came_back_is_scored(tmp_path: Path) -> None:
    truths = labels(4)
    write_bag(tmp_path / "bag", images(4), truths)
    half = truths[2][::2, ::2]  # a node with an output_size of half the image
    for _ in range(2):  # a second replay begins anew
        metrics = recorded(tmp_path, {0: truths[0], 2: half})
        assert metrics["live"]["lost on the way"] == 1
        assert metrics["live"]["dropped by the node"] == 1
        assert metrics["live"]["masks of other images"] == 1
        assert (metrics["frames"], metrics["labelled_frames"]) == (2, 2)
        listed = [
            json.loads(line) for line in (tmp_path / "out/frames.jsonl").read_text().splitlines()
        ]
        assert listed[0]["pixel_accuracy"] == 1
        assert 0 < listed[1]["pixel_accuracy"] < 1
        timings = (tmp_path / "out/timings.jsonl").read_text().splitlines()
        assert len(timings) == 4
        assert json.loads(timings[0])["latency"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="not one mask came back for 4 images"):
        recorded(tmp_path, {})


def test_masks_in_other_classes_are_refused(
    tmp_path: Path, start: Callable[..., Any], domain_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    swapped = tmp_path / "swapped.yaml"
    swapped.write_text(
        "classes:\n- {id: 0, name: road, color: [1, 0, 0]}\n"
        "- {id: 1, name: sky, color: [0, 0, 1]}\n"
    )
    node = start(label_set=str(swapped))
    node.connect(node.peer.publisher(Image, "image"), node.peer.listen(Image, "segmentation/mask"))
    node.peer.listen(Clock, "/clock")
    with Bag(write_bag(tmp_path / "bag", images(3))) as bag:
        frames = BagFrames(bag, BagSelection("/cam/image"), VALUES)

        def play(model: str, classes: Sequence[LabelClass]) -> Played:
            with closing(ReplayRecorder(tmp_path / "out", frames, {})) as recorder:
                return play_bag(
                    frames, IMAGE, recorder, model=model, classes=classes, rate=0.5, clock=True
                )

        begin_results(tmp_path / "out/metrics.json", {}, ["masks"])
        mask = tmp_path / "out/masks/earlier.png"
        mask.touch()
        with pytest.raises(OtherClassesError, match=r"runs the model 'scripted'.*'camss-tiny'"):
            play("camss-tiny", CLASSES)
        with pytest.raises(OtherClassesError, match=r"in the label set '.*swapped.yaml'"):
            play("scripted", CLASSES)
        assert mask.exists()  # nothing was sent yet
        played = play("scripted", CLASSES[::-1])
        assert 1 <= played.counts.received <= 3
        assert not mask.exists()
    # three images, 0.1 s of the bag and 0.2 s here from one to the next
    assert 0 < played.rate <= 0.51
    times = [each.clock.sec + each.clock.nanosec / 1e9 for each in node.peer.received["/clock"]]
    assert times == sorted(times)
    assert (times[0], times[-1]) == pytest.approx((100.0, 100.2), abs=0.1)
    assert times[-1] <= 100.2


def test_a_second_segmenter_is_told(
    tmp_path: Path, start: Callable[..., Any], domain_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    start().peer.publisher(Image, "segmentation/mask")

    def wait_for_both(player: Any) -> None:
        find = player.node.get_publishers_info_by_topic
        names = {"segmenter", "peer"}
        wait_until(lambda: names == {it.node_name for it in find("segmentation/mask")}, "both")

    monkeypatch.setattr(bag_player._Player, "wait_for_segmenter", wait_for_both)
    with Bag(write_bag(tmp_path / "bag", images(1))) as bag:
        frames = BagFrames(bag, BagSelection("/cam/image"), VALUES)
        recorder: Any = None  # before anything is recorded
        with pytest.raises(
            NoSegmenterError, match=r"2 nodes publish /segmentation/mask \(/.*/peer"
        ):
            play_bag(frames, IMAGE, recorder, model="scripted", classes=CLASSES)


def test_counts_go_on_where_the_segmenter_begins_again(
    domain_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from camss_ros.msg import SegmenterStatus

    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    with (
        DeferredSignals() as signals,
        closing(RosPeer(domain_id)) as peer,
        closing(SegmenterListener("listener", signals)) as listener,
    ):
        publisher = peer.publisher(SegmenterStatus, "segmentation/status", LATCHED)
        ended = time.monotonic() - 0.5
        # one was in work when the process was killed
        for received, segmented, so_far in (
            (3, 2, Counts(3, 2)),
            (0, 0, Counts(3, 2)),
            (3, 2, Counts(6, 4)),
            (3, 3, Counts(6, 5)),
        ):
            publisher.publish(SegmenterStatus(received=received, segmented=segmented))
            wanted = (received, segmented)
            while (status := listener.status) is None or (
                (status.received, status.segmented) != wanted
            ):
                listener.spin()
            assert listener.counts == so_far
            settled = listener.settled(ended, so_far.segmented, so_far.segmented)
            assert settled is (received == segmented)
        assert not listener.settled(None, 5, 5)  # more images are to come
        assert not listener.settled(ended, 4, 5)  # a mask is on its way
        assert not listener.settled(time.monotonic(), 5, 5)  # and here a status


def test_the_command_line_is_none_of_the_node(
    domain_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.setattr(sys, "argv", ["camss-ros", "replay", "--remap", "image:=/front"])
    with DeferredSignals() as signals, closing(SegmenterListener("listener", signals)) as listener:
        assert listener.node.resolve_topic_name("image") == "/image"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"namespace": "/front.cam"}, "must not contain characters other than alphanumerics"),
        ({"remaps": ["image=foo"]}, "Expected NAME:=NAME"),
    ],
)
def test_names_that_ros_does_not_take_are_refused(
    tmp_path: Path, domain_id: int, monkeypatch: pytest.MonkeyPatch, given: Any, said: str
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    with Bag(write_bag(tmp_path / "bag", images(1))) as bag:
        frames = BagFrames(bag, BagSelection("/cam/image"), VALUES)
        recorder: Any = None  # before anything is recorded
        with pytest.raises(WrongArgumentsError, match=said):
            play_bag(frames, IMAGE, recorder, model="scripted", classes=CLASSES, **given)


def test_a_span_without_images_is_told_before_a_segmenter_is_looked_for(tmp_path: Path) -> None:
    bag, output = write_bag(tmp_path / "bag", images(1)), tmp_path / "out"
    command = ["replay", bag, "--image", "/cam/image", "--output", output, "--start", 100]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 1
    assert "topic /cam/image has no message in that span" in result.output
    assert not output.exists()


def test_times_that_no_message_can_hold_are_refused(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", images(1))) as bag:
        (message,) = bag.messages()
        sent = ros_message(bag, message, 2**31 * 10**9 - 1)
        assert (sent.header.stamp.sec, sent.header.stamp.nanosec) == (2**31 - 1, 999_999_999)
        with pytest.raises(BagError, match="end in 2038"):
            ros_message(bag, message, 2**31 * 10**9)
