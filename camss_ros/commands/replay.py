"""`camss-ros replay`."""

from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import check_folder, command_line, counted_progress, fail, show
from camss_ros.extras import require, require_node


def replay(
    bag: Path = typer.Argument(..., metavar="BAG", show_default=False),
    image: str = typer.Option(..., metavar="TOPIC", help="Image or CompressedImage."),
    output: Path = typer.Option(..., help="Folder for masks, video, metrics and report."),
    labels: Optional[str] = typer.Option(
        None, metavar="TOPIC", help="Label images, as of evaluate-bag."
    ),
    label_set: Optional[str] = typer.Option(
        None, help="Of the labels: a name or a YAML file. Default: the model's."
    ),
    tolerance: float = typer.Option(
        0.0, min=0, help="Seconds between a label's stamp and its image's, at most."
    ),
    every: int = typer.Option(1, min=1, help="Send every n-th image."),
    start: float = typer.Option(0.0, min=0, help="Seconds after the bag's beginning."),
    duration: Optional[float] = typer.Option(
        None, min=0, help="Seconds from there on. Default: to the end."
    ),
    rate: float = typer.Option(1.0, min=0.01, max=1000, help="Times the pace of the recording."),
    clock: bool = typer.Option(
        False, "--clock", help="Publish the bag's time on /clock (use_sim_time)."
    ),
    namespace: str = typer.Option("/", help="Of the segmenter."),
    remap: Optional[list[str]] = typer.Option(
        None, metavar="FROM:=TO", help="Topic of the segmenter, as it was remapped."
    ),
    model: str = typer.Option(
        "camss-tiny", help="The running node's model, whose classes the masks have."
    ),
) -> None:
    """Play a bag into a running segmenter over DDS; scores what it really did.

    Network size, sampling and backend are parameters of that node; the report names them.
    """
    import dataclasses
    import os
    from contextlib import closing

    require_node()
    require("rosbags", "mcap", "jinja2", "matplotlib")

    from camss_ros.bags.bag import Bag
    from camss_ros.bags.bag_frames import BagSelection
    from camss_ros.commands.evaluate_bag import bag_table
    from camss_ros.evaluation.bag_run import REPORT_FILE
    from camss_ros.evaluation.evaluate_bag import RunProgress, open_bag_frames
    from camss_ros.evaluation.part_results import read_part
    from camss_ros.evaluation.replay import ReplayRecorder
    from camss_ros.evaluation.report import RunMetadata, write_report
    from camss_ros.evaluation.result_folder import fingerprint
    from camss_ros.images.label_sets import load_label_set
    from camss_ros.model.checkpoint import find_config, weights_hash
    from camss_ros.nodes.harness.child_process import large_images

    try:
        for name, value in large_images().items():
            os.environ.setdefault(name, value)
        # Reads the environment.
        from camss_ros.nodes.harness.bag_player import play_bag
    except OSError as error:
        fail(f"replay needs the package's configuration: {error}")
    check_folder(output)
    selection = BagSelection(image, labels, tolerance, every, start, duration)
    config = find_config(model)
    classes = config.label_set
    label_classes = load_label_set(label_set) if label_set else None
    with Bag(bag) as opened, counted_progress() as bar:
        kind = opened.require(image).type
        frames = open_bag_frames(
            opened, selection, classes, config.name, label_classes, RunProgress()
        )
        settings = {
            "replay": True,
            "bag": str(bag.resolve()),
            "bag_fingerprint": fingerprint(opened.files),
            "selection": dataclasses.asdict(selection),
            "label_set": label_set,
            "rate": rate,
            "clock": clock,
            "model": model,
        }
        sending = bar.add_task("sending", total=frames.expected)
        with closing(ReplayRecorder(output, frames, settings)) as recorder:
            played = play_bag(
                frames, kind, recorder, model=config.name, classes=classes, rate=rate,
                clock=clock, namespace=namespace, remaps=remap or (),
                on_frame=lambda: bar.advance(sending),
            )  # fmt: skip
        scoring = bar.add_task("scoring", total=recorder.masks)
        rates = {"rate": rate, "rate achieved": round(played.rate, 3)}
        metrics = recorder.finish(
            played.counts, rates, classes, config.name, label_classes, lambda: bar.advance(scoring)
        )
    metadata = RunMetadata(
        title=f"{bag.name}: {image}, live",
        command=command_line(),
        model={
            "name": played.model,
            "device": played.device,
            "backend": played.backend,
            "network_size": list(played.network_size),
            "source": model,
            "sha256 of source": weights_hash(model),
        },
        sampling=played.sampling,
    )
    numbers = write_report(output / REPORT_FILE, [read_part(output, image)], metadata)
    show(bag_table(image, metrics))
    for name, value in metrics["live"].items():
        typer.echo(f"{name}: {value}")
    if latency := numbers["total"]["latency_ms"]:
        typer.echo(f"latency p50 / p95: {latency['p50']:.0f} / {latency['p95']:.0f} ms")
    for note in played.skipped:
        typer.echo(f"warning: not sent: {note}", err=True)
    typer.echo(f"wrote masks, overlay.mp4 and report.html to '{output}'")
