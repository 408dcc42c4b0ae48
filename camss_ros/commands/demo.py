"""`camss-ros demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from camss_ros.commands.options import check_folder, counted_progress, fail, show
from camss_ros.commands.segmenter_options import NETWORK, SAMPLING, SegmenterSpec, segmenter_options
from camss_ros.extras import require_node

if TYPE_CHECKING:
    from camss_ros.bags.recording import Recording


@segmenter_options(*NETWORK, *SAMPLING, backend="auto")
def demo(
    source: str = typer.Option(
        "synthetic",
        "--input",
        help="Video, image folder (images/ and labels/ below it: scored), or "
        "synthetic[:dusk|:fog].",
    ),
    output: Path = typer.Option(Path("out/demo"), help="Folder for video, pictures and report."),
    rate: float = typer.Option(4.0, min=0, help="Frames sent a second; 0: its own."),
    frames: int = typer.Option(150, min=1, help="Frames sent at most."),
    *,
    spec: SegmenterSpec,
) -> None:
    """Play an input through the segmenter node over DDS; leaves a video and a report."""
    import itertools
    import tempfile

    require_node()

    from camss_ros.atomic_files import locked
    from camss_ros.evaluation.demo_report import report_table, write_report, write_world
    from camss_ros.images.frames import open_frames, open_frames_of_model, save_frames
    from camss_ros.model.checkpoint import find_config
    from camss_ros.nodes.harness.demo import record_demo
    from camss_ros.nodes.segmenter.parameters import node_parameters

    check_folder(output)
    # The node would say it later.
    spec.check()
    parameters = node_parameters(spec)
    config = find_config(spec.model)
    classes = config.label_set
    opened = open_frames_of_model(source, classes, config.name)
    if opened.label_set is not None and not opened.endless:
        for _ in itertools.islice(opened, frames):  # a bad label file is reported now
            pass
    with locked(output), tempfile.TemporaryDirectory() as folder, counted_progress() as bar:
        path, is_street = source, opened.endless
        if is_street:
            # Drawn beforehand: it takes about as long as segmenting, on the same processor.
            task = bar.add_task("drawing the street", total=frames)
            save_frames(opened, Path(folder), frames, lambda: bar.advance(task))
            path = folder
            opened = open_frames(folder, opened.label_set, with_labels=True)
        count = min(frames, opened.length or frames)
        sending = bar.add_task("frames sent", total=count)
        segmenting = bar.add_task("masks received", total=count)

        def on_progress(recording: Recording) -> None:
            bar.update(sending, completed=len(recording.sent))
            bar.update(segmenting, completed=len(recording.masks))

        recording = record_demo(
            path,
            rate=rate,
            frames=frames,
            segmenter=parameters,
            logs=output,
            on_progress=on_progress,
        )
        if not recording.masks:
            fail(f"not one mask came back; see the logs in '{output}'")
        report = write_report(recording, opened, classes, output, {"input": source})
        written = ["overlay.mp4", "contact_sheet.png", "report.json"]
        if is_street and any(each.name == "road" for each in classes):
            write_world(recording, source.partition(":")[2], classes, output)
            written.append("world.png")
        else:  # that of a run before is of another input
            (output / "world.png").unlink(missing_ok=True)
    show(report_table(report))
    typer.echo(f"wrote {', '.join(written)} to '{output}'")
