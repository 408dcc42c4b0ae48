"""`evaluate-bag --depth --lidar`: the share of points with the right label."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from point_bag import (
    BASE_TO_CAMERA,
    BEHIND,
    LIDAR_TO_BASE,
    SIZE,
    Scene,
    street_scene,
    write_points_bag,
)
from typer.testing import CliRunner, Result

from camss_ros.bags.bag import Bag
from camss_ros.bags.bag_frames import BagSelection
from camss_ros.cli import app
from camss_ros.evaluation.bag_points import PointSelection, point_sources
from camss_ros.evaluation.bag_run import BagTask, read_parts, run_bag
from camss_ros.evaluation.evaluate_bag import RunProgress, evaluate_bag
from camss_ros.evaluation.report import RunMetadata, report_numbers
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmentation
from camss_ros.inference.spec import SegmenterSpec

pytestmark = pytest.mark.usefixtures("only_pytorch")

CAMVID = load_label_set("camvid11")
ROAD, CAR = 3, 8
BOTH = PointSelection("/front/camera_info", "/front/depth", "/points")
OPTIONS = ("--image", "/front/image", "--labels", "/front/label")


class Oracle:
    """Knows the label image of every frame, or what it is told in its place."""

    classes, model_name = CAMVID.classes, "small"
    device = "cpu"
    at_a_time = 1

    def __init__(self, scene: Scene, labels: Sequence[np.ndarray]) -> None:
        self._known = {
            image.tobytes(): label for image, label in zip(scene.images, labels, strict=True)
        }

    def segment(self, image: np.ndarray) -> Segmentation:
        labels = self._known[image.tobytes()]
        return Segmentation(labels, np.full_like(labels, 255), {"total": 0.1}, 1)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return street_scene()


@pytest.fixture(scope="module")
def bag(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_points_bag(tmp_path_factory.mktemp("points") / "bag", scene)


def metrics_of(
    bag: Path, output: Path, segmenter: Any, points: PointSelection = BOTH, tolerance: float = 0.0,
    progress: RunProgress = RunProgress(), labels: str | None = "/front/label",
) -> dict[str, Any]:  # fmt: skip
    selection = BagSelection("/front/image", labels, tolerance)
    with Bag(bag) as opened:
        sources = point_sources(opened, points)
        evaluate_bag(segmenter, opened, output, selection, {}, progress, CAMVID, points=sources)
    return json.loads((output / "metrics.json").read_text())


def run(bag: Path, model: Path, output: Path, *options: object) -> Result:
    words = ("evaluate-bag", bag, "--model", model, "--device", "cpu", "--backend", "torch",
             "--output", output, *options)  # fmt: skip
    return CliRunner().invoke(app, list(map(str, words)))


def mistaken(scene: Scene) -> list[np.ndarray]:
    """Labels that are wrong for every car, and in part for the road, and void in a corner."""
    found = []
    for label in scene.labels:
        wrong = label.copy()
        wrong[label == CAR] = ROAD
        wrong[100:110][label[100:110] == ROAD] = CAR
        wrong[-5:, -30:] = 255
        found.append(wrong)
    return found


def test_true_masks_give_every_point_its_label(bag: Path, scene: Scene, tmp_path: Path) -> None:
    points = metrics_of(bag, tmp_path / "out", Oracle(scene, scene.labels))["points"]
    known = sum(int((~np.isnan(depth)).sum()) for depth in scene.depths)
    assert points["depth"]["points"] == points["depth"]["seen"] == known
    assert points["lidar"]["points"] == 3 * (900 + BEHIND)
    assert points["lidar"]["seen"] == 3 * 900
    for found in points.values():
        assert (found["clouds"], found["clouds_without_image"]) == (3, 0)
        assert 0 < found["without_label"] < found["seen"] / 5
        assert found["void"] == 0
        assert found["right"] == found["miou"] == found["per_class_right"]["road"] == 1.0
        assert sum(map(sum, found["confusion"])) == found["seen"] - found["without_label"]


def test_points_of_frames_without_labels_are_seen_and_not_judged(
    bag: Path, scene: Scene, tmp_path: Path
) -> None:
    points = metrics_of(bag, tmp_path / "out", Oracle(scene, scene.labels), labels=None)["points"]
    for found in points.values():
        assert found["clouds"] == 3
        assert found["without_label"] == found["seen"] > 0
        assert found["right"] is None


def test_wrong_masks_give_the_share_that_is_right(bag: Path, scene: Scene, tmp_path: Path) -> None:
    wrong = mistaken(scene)
    points = metrics_of(bag, tmp_path / "out", Oracle(scene, wrong))["points"]
    pixels = {
        "depth": [np.flatnonzero(~np.isnan(depth)) for depth in scene.depths],
        "lidar": scene.lidar,
    }
    for kind, places in pixels.items():
        truth, said = (
            np.concatenate([one.reshape(-1)[at] for one, at in zip(of, places, strict=True)])
            for of in (scene.labels, wrong)
        )
        truth, said = truth[truth != 255], said[truth != 255]
        found = points[kind]
        assert found["right"] == pytest.approx((truth == said).mean())
        assert 0.5 < found["right"] < 0.99
        assert found["void"] == (said == 255).sum() > 0
        assert found["per_class_right"]["car"] == 0.0
        road = truth == ROAD
        assert found["per_class_right"]["road"] == pytest.approx((said[road] == ROAD).mean())
        union = (road | (said == ROAD)).sum()
        assert found["per_class_iou"]["road"] == pytest.approx(
            (road & (said == ROAD)).sum() / union
        )


def lidar_to_camera() -> tuple[float, ...]:
    """By hand, from the two transforms of the bag: x of the base is z of the camera, y is -x, z is
    -y."""
    (x1, y1, z1, w1), (x2, y2, z2, w2) = BASE_TO_CAMERA[1], LIDAR_TO_BASE[1]
    turn = (
        w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
        w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
        w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
    )
    (x, y, z), (right, down, forward) = LIDAR_TO_BASE[0], BASE_TO_CAMERA[0]
    return (right - y, down - z, forward + x, *turn)


def test_lidar_to_camera_in_place_of_tf(scene: Scene, tmp_path: Path) -> None:
    """And depth in mm, of half the size, with the calibration beside it."""

    def half(i: int, message: Any) -> Any:
        small = cv2.resize(
            scene.depths[i], (SIZE[1] // 2, SIZE[0] // 2), interpolation=cv2.INTER_NEAREST
        )
        millimetres = np.nan_to_num(np.minimum(small, 65.0) * 1000).astype("<u2")
        message.height, message.width = small.shape
        message.encoding, message.step = "16UC1", 2 * small.shape[1]
        message.data = millimetres.view(np.uint8).reshape(-1)
        return message

    bag = write_points_bag(tmp_path / "bag", scene, with_tf=False, depth=half)
    chosen = PointSelection("/front/camera_info", "/front/depth", "/points", lidar_to_camera())
    points = metrics_of(bag, tmp_path / "out", Oracle(scene, scene.labels), chosen)["points"]
    assert points["lidar"]["seen"] == 3 * 900
    assert points["lidar"]["right"] == points["depth"]["right"] == 1.0
    known = np.mean([(~np.isnan(depth)).mean() for depth in scene.depths])
    assert points["depth"]["seen"] / 3 / SIZE[0] / SIZE[1] == pytest.approx(known, abs=0.02)
    alone = write_points_bag(tmp_path / "alone", scene, depth=half, depth_topic="/range/image")
    chosen = PointSelection("/front/camera_info", "/range/image")
    passed_over = metrics_of(alone, tmp_path / "alone_out", Oracle(scene, scene.labels), chosen)[
        "passed_over"
    ]
    assert passed_over["by_reason"] == {"/range/image: depth size": 3}
    assert "of 80 x 60 pixels, the image of 160 x 120" in passed_over["first"][0]


def test_what_cannot_be_used_is_counted_and_the_others_are_scored(
    scene: Scene, tmp_path: Path
) -> None:
    def strange_depth(i: int, message: Any) -> Any:
        if i == 0:
            message.encoding = "rgb8"
        return message

    def strange_cloud(i: int, message: Any) -> Any:
        if i == 0:
            message.data = message.data[:100]
        elif i == 1:
            message.fields = message.fields[:2]
        return message

    bag = write_points_bag(
        tmp_path / "bag", scene, depth=strange_depth, cloud=strange_cloud
    )  # fmt: skip
    metrics = metrics_of(bag, tmp_path / "out", Oracle(scene, scene.labels))
    assert metrics["frames"] == metrics["labelled_frames"] == 3
    assert metrics["passed_over"]["by_reason"] == {"/front/depth: depth": 1, "/points: cloud": 2}
    assert "message 0, stamp 100.000000000: encoding 'rgb8'" in metrics["passed_over"]["first"][0]
    assert metrics["points"]["depth"]["clouds"] == 2
    assert metrics["points"]["lidar"]["clouds"] == 1
    assert metrics["points"]["lidar"]["right"] == 1.0
    other = write_points_bag(tmp_path / "frames", scene, depth_frame="depth_frame")
    metrics = metrics_of(other, tmp_path / "frames_out", Oracle(scene, scene.labels))
    assert metrics["passed_over"]["by_reason"] == {"/front/depth: frame": 3}
    assert metrics["points"]["depth"]["right"] is None


def test_clouds_of_other_stamps(scene: Scene, tmp_path: Path) -> None:
    bag = write_points_bag(tmp_path / "bag", scene, lidar_late=30_000_000)
    metrics = metrics_of(bag, tmp_path / "exact", Oracle(scene, scene.labels))
    found = metrics["points"]["lidar"]
    assert (found["clouds"], found["clouds_without_image"], found["right"]) == (0, 3, None)
    assert any("the nearest is 0.030 s away (--tolerance)" in each for each in metrics["warnings"])
    near = metrics_of(bag, tmp_path / "near", Oracle(scene, scene.labels), tolerance=0.05)
    assert near["points"]["lidar"]["clouds"] == 3
    assert near["warnings"] == []


def test_a_stopped_run_ends_with_the_same_scores(bag: Path, scene: Scene, tmp_path: Path) -> None:
    class Stops(RunProgress):
        def segmented(self) -> None:
            raise KeyboardInterrupt

    oracle = Oracle(scene, mistaken(scene))
    whole = metrics_of(bag, tmp_path / "whole", oracle)
    with pytest.raises(KeyboardInterrupt):
        metrics_of(bag, tmp_path / "stopped", oracle, progress=Stops())
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "stopped/masks").iterdir()}
    assert kept
    assert metrics_of(bag, tmp_path / "stopped", oracle) == whole
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_the_report_adds_cameras_up(
    bag: Path, scene: Scene, small_model: Path, tmp_path: Path
) -> None:
    spec = SegmenterSpec(str(small_model), device="cpu")
    selection = BagSelection("/front/image", "/front/label")
    task = BagTask(bag, tmp_path / "out", (selection,), None, spec, points={"/front/image": BOTH})
    oracle: Any = Oracle(scene, mistaken(scene))
    run_bag(task, lambda _: nullcontext(oracle))
    one = json.loads((tmp_path / "out/metrics.json").read_text())["points"]
    assert json.loads((tmp_path / "out/report.json").read_text())["total"]["points"] == one
    page = (tmp_path / "out/report.html").read_text()
    assert f"{one['lidar']['points']:,} points in 3 clouds" in page
    assert f"<b>{100 * one['depth']['right']:.1f}</b>" in page
    parts = read_parts(task)
    two = report_numbers(parts * 2, RunMetadata("two", "", {}, {}))["total"]["points"]
    for kind, found in two.items():
        assert found["points"] == 2 * one[kind]["points"]
        assert found["without_label"] == 2 * one[kind]["without_label"]
        assert found["per_class_iou"] == one[kind]["per_class_iou"]


def test_the_command_prints_the_points(bag: Path, small_model: Path, tmp_path: Path) -> None:
    words = (*OPTIONS, "--depth", "/front/depth", "--lidar", "/points", "--lidar-to-camera",
             str(list(lidar_to_camera())), "--every", 3)  # fmt: skip
    result = run(bag, small_model, tmp_path / "out", *words)
    assert result.exit_code == 0, result.output
    assert "points of lidar, clouds: 1" in result.output
    assert re.search(r"seen\W+900\b", result.output)
    result = run(bag, small_model, tmp_path / "out", *words[:-4], "--every", 3)
    assert result.exit_code == 1
    assert "other settings (points" in result.output.replace("\n", " ")


def test_what_cannot_be_done_is_said_before_anything_is_segmented(
    scene: Scene, bag: Path, small_model: Path, tmp_path: Path
) -> None:
    bare = write_points_bag(tmp_path / "bare", scene, with_info=False, with_tf=False)
    no_tf = write_points_bag(tmp_path / "no_tf", scene, with_tf=False)
    elsewhere = write_points_bag(tmp_path / "elsewhere", scene, cloud_frame="velodyne")
    lidar, depth = ("--lidar", "/points"), ("--depth", "/front/depth")
    second = ("--image", "/front/label", "--labels", "/front/label")
    cases: list[tuple[Path, Sequence[object], str]] = [
        (bag, (*OPTIONS, "--depth", "/depth"), "topic /depth is not there"),
        (bag, (*OPTIONS, "--lidar", "/cloud"), "topic /cloud is not there"),
        (bag, (*OPTIONS, "--lidar", "/front/depth"), "expected sensor_msgs/msg/PointCloud2"),
        (bag, (*OPTIONS, "--depth", "/points"), "expected sensor_msgs/msg/Image"),
        (bare, (*OPTIONS, *depth), "topic /front/camera_info is not there"),
        (bag, (*OPTIONS, *depth, "--camera-info", "/front/label"), "sensor_msgs/msg/CameraInfo"),
        (no_tf, (*OPTIONS, *lidar), "no way from 'lidar' to 'camera'; frames: none"),
        (elsewhere, (*OPTIONS, *lidar), "frames: base, camera, lidar: give --lidar-to-camera"),
        (bag, ("--image", "/front/image", *lidar), "give --labels"),
        (bag, (*OPTIONS, *second[:2], "--labels", "-", *depth, *depth), "give --labels"),
        (bag, (*OPTIONS, *depth, *depth), "2 --depth for 1 --image"),
        (bag, (*OPTIONS, *lidar, "--lidar-to-camera", "1,2,3"), "seven numbers"),
        (bag, (*OPTIONS, *lidar, "--lidar-to-camera", "0,0,0,0,0,0,0"), "no rotation"),
        (bag, (*OPTIONS, "--rectified"), "--rectified need"),
        (bag, (*OPTIONS, *depth, "--lidar-to-camera", "0,0,0,0,0,0,1"), "needs --lidar"),
        (no_tf, (*OPTIONS, *second, *lidar, "--lidar-to-camera", "0,0,0,0,0,0,1",
                 "--lidar-to-camera", "-"), "no way from 'lidar' to 'camera'"),
    ]  # fmt: skip
    for path, options, message in cases:
        result = run(path, small_model, tmp_path / "out", *options)
        assert result.exit_code == 1, options
        assert message in result.output.replace("\n", " "), (options, result.output)
        assert "Traceback" not in result.output
    assert not list((tmp_path / "out").glob("**/masks/*"))
