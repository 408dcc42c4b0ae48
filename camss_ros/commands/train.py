"""`camss-ros train`: the bundled model's two trainings, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from camss_ros.commands.options import fail
from camss_ros.commands.train_twin import twin

if TYPE_CHECKING:
    from camss_ros.training.samples import LabelledFrames

app = typer.Typer(
    help="Train a model. The same command goes on where a killed run stopped.",
    no_args_is_help=True,
)

Root = Annotated[Path, typer.Option(help="Data set: ROOT/{train,val}/{images,labels}.")]
Labels = Annotated[str, typer.Option("--label-set", help="Name of its label set, or a YAML file.")]
Output = Annotated[Path, typer.Option(help="Folder of checkpoint, metrics and result.")]


@app.command()
def autoencoder(
    root: Root,
    output: Output,
    label_set: Labels = "camvid11",
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of 16 crops.")] = 900,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.5e-3,
    seed: Annotated[int, typer.Option(help="Of weights and crops.")] = 0,
) -> None:
    """Train the mask autoencoder on the label images."""
    from camss_ros.training.loop import LoopOptions, TrainingError
    from camss_ros.training.train_autoencoder import AutoencoderTraining, train_autoencoder

    loop = LoopOptions(steps, learning_rate, warmup=50, ema_decay=0.99, evaluate_every=150)
    try:
        frames, validation = _splits(root, label_set)
        train_autoencoder(frames, validation, output, loop, AutoencoderTraining(seed=seed))
    except (ValueError, TrainingError, OSError) as error:
        fail(error)
    typer.echo(f"wrote {output / 'autoencoder.pt'}")


@app.command()
def segmenter(
    root: Root,
    output: Output,
    autoencoder: Annotated[
        Path, typer.Option(exists=True, help="autoencoder.pt of `train autoencoder`.")
    ],
    label_set: Labels = "camvid11",
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of 8 crops.")] = 2600,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 6e-4,
    start_from: Annotated[
        Path | None,
        typer.Option(exists=True, help="checkpoint.pt of an earlier run, to refine its model."),
    ] = None,
    decoder_rate: Annotated[
        float, typer.Option(min=0, help="Train the mask decoder too, at so many times the rate.")
    ] = 0.0,
    synthetic_scenes: Annotated[
        int, typer.Option(min=0, help="Scenes of the synthetic street (camvid11 only), 10 %.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Of weights, crops and noise.")] = 0,
) -> None:
    """Train backbone, transformer and denoiser; writes a model directory."""
    from pickle import UnpicklingError

    import torch

    from camss_ros.data.label_sets import load_label_set
    from camss_ros.model.camseg import CamSeg, CamSegConfig
    from camss_ros.training.imagenet import load_imagenet
    from camss_ros.training.loop import LoopOptions, TrainingError
    from camss_ros.training.train_segmenter import SegmenterTraining, train_segmenter

    # A short refinement warms up and averages over fewer steps.
    ema_decay = 0.995 if steps >= 1000 else 0.98
    loop = LoopOptions(steps, learning_rate, warmup=min(150, steps // 14), ema_decay=ema_decay)
    try:
        classes = load_label_set(label_set).classes
        if synthetic_scenes and classes != load_label_set("camvid11").classes:
            fail(f"the synthetic street has no {label_set} labels: add --synthetic-scenes 0")
        frames, validation = _splits(root, label_set)
        if synthetic_scenes:
            frames.add_synthetic(synthetic_scenes, share=0.1)
        torch.manual_seed(seed)
        model = CamSeg(CamSegConfig("camss-tiny", classes))
        load_imagenet(model)
        state = torch.load(autoencoder, map_location="cpu", weights_only=True)
        model.mask_autoencoder.load_state_dict(state)
        if start_from is not None:
            earlier = torch.load(start_from, map_location="cpu", weights_only=True)
            model.load_state_dict(earlier["average"])
        training = SegmenterTraining(decoder_rate=decoder_rate, seed=seed)
        train_segmenter(model, frames, validation, output, loop, training)
    except (ValueError, TrainingError, OSError, RuntimeError, UnpicklingError) as error:
        fail(error)
    typer.echo(f"wrote the model to {output}")


app.command()(twin)


def _splits(root: Path, label_set: str) -> tuple[LabelledFrames, LabelledFrames]:
    """The training split, and every fourth frame of the validation split."""
    from camss_ros.data.folder import LabeledFolder
    from camss_ros.data.label_sets import load_label_set
    from camss_ros.training.samples import load_frames

    labels = load_label_set(label_set)
    frames = load_frames(LabeledFolder(root, "train", labels))
    validation = load_frames(LabeledFolder(root, "val", labels), every=4)
    return frames, validation
