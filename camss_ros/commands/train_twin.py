"""`camss-ros train twin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from camss_ros.commands.options import fail


def twin(
    root: Annotated[Path, typer.Option(help="Data set: ROOT/{train,val}/{images,labels}.")],
    output: Annotated[Path, typer.Option(help="Folder of checkpoint, metrics and result.")],
    label_set: Annotated[
        str, typer.Option("--label-set", help="Name of its label set, or a YAML file.")
    ] = "camvid11",
    steps: Annotated[
        int, typer.Option(min=1, help="Optimizer steps of 8 crops; give the segmenter's number.")
    ] = 2600,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 6e-4,
    synthetic_scenes: Annotated[
        int, typer.Option(min=0, help="Scenes of the synthetic street (camvid11 only), 10 %.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Of weights and crops.")] = 0,
) -> None:
    """Train the discriminative twin of the bundled model, to compare it with (docs/robustness.md).

    Same backbone, transformer, convolutional decoder, crops and number of steps as `segmenter`.
    """
    import torch

    from camss_ros.data.folder import LabeledFolder
    from camss_ros.data.label_sets import load_label_set
    from camss_ros.model.twin import Twin, TwinConfig
    from camss_ros.training.imagenet import load_imagenet
    from camss_ros.training.loop import LoopOptions, TrainingError
    from camss_ros.training.samples import load_frames
    from camss_ros.training.train_twin import TwinTraining, train_twin

    loop = LoopOptions(steps, learning_rate, warmup=min(150, steps // 14 + 1), ema_decay=0.995)
    try:
        labels = load_label_set(label_set)
        if synthetic_scenes and labels.classes != load_label_set("camvid11").classes:
            fail(f"the synthetic street has no {label_set} labels: add --synthetic-scenes 0")
        frames = load_frames(LabeledFolder(root, "train", labels))
        validation = load_frames(LabeledFolder(root, "val", labels), every=4)
        if synthetic_scenes:
            frames.add_synthetic(synthetic_scenes, share=0.1)
        torch.manual_seed(seed)
        model = Twin(TwinConfig("camss-tiny-twin", labels.classes))
        load_imagenet(model)
        train_twin(model, frames, validation, output, loop, TwinTraining(seed=seed))
    except (ValueError, TrainingError, OSError, RuntimeError) as error:
        fail(error)
    typer.echo(f"wrote the model to {output}")
