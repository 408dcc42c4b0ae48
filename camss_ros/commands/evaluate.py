"""`camss-ros evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from camss_ros.commands.options import (
    BackendName,
    DataLabels,
    DataName,
    DataRoot,
    Device,
    Iterations,
    Model,
    Precision,
    RevealOrder,
    SamplerName,
    Samples,
    Seed,
    Start,
    Steps,
    Temperature,
    fail,
)


def evaluate(
    data: DataName,
    root: DataRoot,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "val",
    label_set: DataLabels = None,
    model: Model = "camss-tiny",
    steps: Steps = 4,
    sampler: SamplerName = "ddim",
    start: Start = 950,
    temperature: Temperature = 0.0,
    samples: Samples = 1,
    iterations: Iterations = 1,
    order: RevealOrder = "confidence",
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: BackendName = "torch",
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the scores to FILE.")
    ] = None,
) -> None:
    """Score a model on a labelled data set: mIoU, precision, pixel accuracy."""
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import Progress

    from camss_ros.data.datasets import open_data
    from camss_ros.evaluation.evaluate import evaluate as score
    from camss_ros.evaluation.evaluate import report, score_table
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.model.checkpoint import ModelError
    from camss_ros.model.schedule import SamplingOptions

    console = Console()
    choices: dict[str, Any] = {"sampler": sampler, "order": order}
    if json_path is not None and (json_path.is_dir() or not json_path.parent.is_dir()):
        fail(f"can't write {json_path}: expected a file in a folder that exists")
    try:
        frames = open_data(data, root, split, label_set)
        sampling = SamplingOptions(
            steps=steps, start=start, temperature=temperature, samples=samples,
            iterations=iterations, **choices,
        )  # fmt: skip
        segmenter = Segmenter(
            model,
            device=device,
            precision=precision,
            sampling=sampling,
            seed=seed,
            backend=backend,
        )
        height, width = frames[0][0].shape[:2]
        segmenter.warm_up(height, width)
        with Progress(console=console) as bar:
            task = bar.add_task(f"{data} {split}", total=len(frames))
            result = score(
                segmenter, frames, frames.label_set,
                progress=lambda done: bar.update(task, completed=done),
            )  # fmt: skip
    except (ModelError, ValueError) as error:
        fail(error)
    console.print(score_table(result, frames.label_set))
    if json_path is not None:
        content = report(
            result, frames.label_set,
            data={"name": data, "root": str(root), "split": split},
            model={
                "name": segmenter.model_name,
                "source": model,
                "device": str(segmenter.device),
                "backend": segmenter.backend,
                "dtype": str(segmenter.dtype).removeprefix("torch."),
            },
            sampling={**asdict(sampling), "seed": seed},
        )  # fmt: skip
        json_path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        console.print(f"wrote {json_path}", highlight=False)
