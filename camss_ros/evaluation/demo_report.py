"""The report on a run over DDS: overlay video, contact sheet, numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from camss_ros.bags.recording import ReceivedMask, Recording
from camss_ros.evaluation.formats import number
from camss_ros.evaluation.result_folder import write_image, write_json
from camss_ros.evaluation.statistics import FrameStatistics, mean_rate, milliseconds
from camss_ros.evaluation.street_camera import camera_of, mount_of
from camss_ros.evaluation.world_picture import world_picture
from camss_ros.images.drawing import contact_sheet, overlay, sample_evenly
from camss_ros.images.frames import Frame, FrameSource
from camss_ros.images.label_class import LabelClass
from camss_ros.images.label_mapping import mapping_onto_labels
from camss_ros.images.label_sets import LabelSet
from camss_ros.images.video_writer import VideoWriter
from camss_ros.street.light import VARIANTS
from camss_ros.street.synthetic import SyntheticStreet

_PICTURES = 12  # on the contact sheet


def write_report(
    recording: Recording,
    source: FrameSource,
    classes: Sequence[LabelClass],
    output: Path,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Write `overlay.mp4`, `contact_sheet.png` and `report.json` to `output`; returns the report.

    Args:
        source: the frames that were sent, by name; shares and scores are of its labels' classes.
        settings: kept in the report.

    Raises:
        ValueError: no mask belongs to a frame that was sent.
    """
    stamps = {frame.name: frame.stamp for frame in recording.sent}
    pairs = [s for s in stamps.values() if s in recording.masks]
    if not pairs:
        raise ValueError("no mask has the stamp of a frame that was sent")
    rate = mean_rate(pairs)
    pictured = {pairs[i] for i in sample_evenly(len(pairs), _PICTURES)}
    comparable = mapping_onto_labels(classes, recording.model, source.label_set)
    statistics = FrameStatistics(comparable.classes)
    tiles: list[tuple[np.ndarray, str]] = []
    # At the rate at which the masks came, the video takes as long as the run did.
    with VideoWriter(output / "overlay.mp4", rate or source.fps) as video:
        for frame, stamp, mask in _matched(source, stamps, recording):
            picture = overlay(frame.image, mask.labels, classes)
            video.write(picture)
            statistics.add_labels(comparable.apply(mask.labels), frame.label)
            if stamp in pictured:
                latency = (mask.arrival - stamp) / 1e6
                tiles.append((picture, f"{frame.name}  {latency:.0f} ms"))
    write_image(output / "contact_sheet.png", contact_sheet(tiles, classes))

    for timings in recording.timings.values():
        statistics.add_timings(timings)
    counts, sent = recording.counts, len(recording.sent)
    report = {
        **settings,
        "model": recording.model,
        "device": recording.device,
        "sampling": recording.sampling,
        "frames": {
            "sent": sent,
            "lost_on_the_way": max(0, sent - counts.received),
            **asdict(counts),
            "masks_matched": len(pairs),
            "masks_unmatched": len(recording.masks) - len(pairs),
        },
        "missing_frames": source.missing,
        "damage": list(source.damage),
        "rate_hz": {"sent": mean_rate([f.stamp for f in recording.sent]), "masks": rate},
        "latency_ms": milliseconds([(recording.masks[s].arrival - s) / 1e9 for s in pairs]),
        "label_set": source.label_set.name if source.label_set else None,
        **statistics.report(),
    }
    write_json(output / "report.json", report)
    return report


def write_world(
    recording: Recording, variant: str, classes: Sequence[LabelClass], output: Path
) -> None:
    """Write `world.png`: cloud and ground of a frame of the synthetic street, whose depth is known,
    from the mask of `classes` that came back, at least one. Raises OSError."""
    frames = [frame for frame in recording.sent if frame.stamp in recording.masks]
    frame = frames[len(frames) // 2]
    place = int(frame.name.rpartition("_")[2])
    known = next(each for each in VARIANTS if each == (variant or VARIANTS[0]))
    street = SyntheticStreet(variant=known)
    image, _, depth = street.frame_with_depth(place)
    labels = recording.masks[frame.stamp].labels
    camera = street.camera(place)
    picture = world_picture(
        image, labels, np.full_like(labels, 255), depth, camera_of(camera), mount_of(camera),
        LabelSet("model", tuple(classes)),
    )  # fmt: skip
    write_image(output / "world.png", picture)


def report_table(report: dict[str, Any]) -> Table:
    """The report for a terminal."""
    frames, latency, scores = report["frames"], report["latency_ms"], report["scores"]
    sampling = report["sampling"]
    table = Table(
        title=f"{report['model']} on {report['device']}, {sampling['steps']} steps "
        f"{sampling['sampler']}",
        show_header=False,
    )
    for name in ("sent", "segmented", "dropped"):
        table.add_row(f"frames {name}", str(frames[name]))
    if report["missing_frames"]:
        table.add_row("missing in the video", str(report["missing_frames"]), style="yellow")
    for name in ("lost_on_the_way", "rejected", "failed", "masks_unmatched"):
        if frames[name]:
            table.add_row(name.replace("_", " "), str(frames[name]), style="yellow")
    if (rate := report["rate_hz"]["masks"]) is not None:
        table.add_row("masks a second", f"{rate:.2f}")
    table.add_row("latency p50 / p95", f"{latency['p50']:.0f} / {latency['p95']:.0f} ms")
    table.add_section()
    for stage, times in report["stages_ms"].items():
        table.add_row(stage, f"{times['p50']:.1f} ms")
    table.add_section()
    for name, share in report["class_share"].items():
        iou = scores["per_class_iou"][name] if scores else None
        table.add_row(name, f"{share:6.1%}" + (f"   IoU {iou:.3f}" if iou is not None else ""))
    if scores:
        table.add_section()
        table.add_row("label set", report["label_set"])
        table.add_row("mIoU", number(scores["miou"]))
        table.add_row("pixel accuracy", number(scores["pixel_accuracy"]))
    return table


def _matched(
    source: FrameSource, stamps: dict[str, int], recording: Recording
) -> Iterator[tuple[Frame, int, ReceivedMask]]:
    """The frames that came back as masks, in order."""
    left = len(stamps)
    for frame in source:
        if left == 0:
            return
        stamp = stamps.get(frame.name)
        if stamp is None:
            continue
        left -= 1
        if stamp in recording.masks:
            yield frame, stamp, recording.masks[stamp]
