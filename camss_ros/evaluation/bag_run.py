"""One bag, one or several cameras: evaluated into a folder with a report, here or in a worker.

With one camera its results are the folder's own; with several, each has a folder in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camss_ros.bags.bag import Bag, BagError
from camss_ros.bags.bag_frames import BagSelection
from camss_ros.bags.masks_bag import write_masks_bag
from camss_ros.evaluation.bag_points import PointSelection, point_sources
from camss_ros.evaluation.evaluate_bag import (
    METRICS_FILE,
    RunProgress,
    evaluate_bag,
    read_stamps_of,
)
from camss_ros.evaluation.part_results import PartResults, read_part
from camss_ros.evaluation.report import RunMetadata, write_report
from camss_ros.evaluation.result_folder import fingerprint
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter_group import SegmenterGroup
from camss_ros.inference.spec import SegmenterSpec
from camss_ros.street.calibration_scenes import CalibrationScenes

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class BagTask:
    """What is to be done with a bag; can be sent to another process.

    Attributes:
        bag, output: the bag and the folder of its results.
        cameras: of one and the same span.
        label_set: of the labels, a name or YAML file; None: the model's.
        spec: of what segments.
        write_bag: also write the bag with the masks.
        command: the command line, for the report.
        frames: a frames.jsonl; only the frames with its stamps are taken.
        points: by image topic, what is scored in the world too.
    """

    bag: Path
    output: Path
    cameras: tuple[BagSelection, ...]
    label_set: str | None
    spec: SegmenterSpec
    write_bag: bool = False
    command: str = ""
    frames: Path | None = None
    points: Mapping[str, PointSelection] = field(default_factory=dict)

    def folders(self) -> dict[str, Path]:
        """The folder of each camera, by its image topic."""
        if len(self.cameras) == 1:
            return {self.cameras[0].image: self.output}
        topics = [camera.image for camera in self.cameras]
        # names in ROS 2 have no double underscore, so that two topics get two names
        return {topic: self.output / topic.strip("/").replace("/", "__") for topic in topics}


def open_segmenters(spec: SegmenterSpec) -> SegmenterGroup:
    """Calibrated, in int8, on the synthetic scenes. Raises as `SegmenterSpec.open`."""
    return SegmenterGroup(spec, CalibrationScenes())


def open_until_done(spec: SegmenterSpec) -> AbstractContextManager[SegmenterGroup]:
    """As `open_segmenters`; closed at the end of the block."""
    return closing(open_segmenters(spec))


def run_bag(
    task: BagTask,
    load: Callable[[SegmenterSpec], AbstractContextManager[SegmenterGroup]] = open_until_done,
    progress: RunProgress = RunProgress(),
) -> list[str]:
    """Evaluate every camera, write report and bag; what is finished is not done again.

    Args:
        load: opens what segments, if anything is left to do.
        progress: told how far it is.

    Returns:
        What could not be copied into the written bag, a sentence each.

    Raises:
        OSError, ValueError (BagError among them), ModelError: the message names what is wrong.
    """
    label_set = load_label_set(task.label_set) if task.label_set else None
    described = task.spec.describe()
    only = read_stamps_of(task.frames) if task.frames else None
    stamps = None if only is None else json.dumps(sorted(only)).encode()
    notes: list[str] = []
    folders = task.folders()
    with Bag(task.bag) as bag:
        for camera in task.cameras:
            for topic in filter(None, (camera.image, camera.labels)):
                bag.require(topic)
            if not bag.require(camera.image).messages:  # said before the others are segmented
                raise BagError(f"'{bag.path}': topic {camera.image} has no message at all")
        written = task.output / "bag"
        settings = {
            camera.image: {
                "bag": str(task.bag.resolve()),
                "bag_fingerprint": fingerprint(bag.files),
                "selection": dataclasses.asdict(camera),
                "label_set": task.label_set,
                "label_set_sha256": label_set and label_set.sha256,
                "frames": stamps and hashlib.sha256(stamps).hexdigest(),
                **(
                    {"points": dataclasses.asdict(task.points[camera.image])}
                    if camera.image in task.points
                    else {}
                ),
                **described,
            }
            for camera in task.cameras
        }
        done = all(_finished(folders[topic], wanted) for topic, wanted in settings.items())
        reported = (task.output / REPORT_FILE).exists()
        if done and reported and (written.exists() or not task.write_bag):
            return notes
        # what is wrong with them is said before any camera is segmented
        points = {image: point_sources(bag, chosen) for image, chosen in task.points.items()}
        masks = []
        with load(task.spec) as segmenters:
            for camera in task.cameras:
                progress.camera(camera.image)
                mask_of = evaluate_bag(
                    segmenters, bag, folders[camera.image], camera, settings[camera.image],
                    progress, label_set, only, points.get(camera.image), segmenters.at_a_time,
                )  # fmt: skip
                masks.append((camera, mask_of))
            if task.write_bag:
                shutil.rmtree(written, ignore_errors=True)
                notes = write_masks_bag(bag, written, masks, segmenters.classes, progress.writing)
    metadata = RunMetadata(
        title=f"{task.bag.name}: {' '.join(folders)}",
        command=task.command,
        model={**described["model"], "device": str(segmenters.device)},
        sampling=described["sampling"],
    )
    write_report(task.output / REPORT_FILE, read_parts(task), metadata)
    return notes


def read_parts(task: BagTask, prefix: str = "") -> list[PartResults]:
    """The results of a task that is done, one part a camera. Raises OSError or ValueError."""
    several = len(task.cameras) > 1
    return [
        read_part(folder, f"{prefix} {topic}".strip() if several or not prefix else prefix)
        for topic, folder in task.folders().items()
    ]


def _finished(folder: Path, settings: dict[str, Any]) -> bool:
    try:
        found = json.loads((folder / METRICS_FILE).read_text())
        return bool(found["complete"] and found["settings"] == json.loads(json.dumps(settings)))
    except (OSError, ValueError, KeyError, TypeError):
        return False
