"""`camss-ros train`: every training is made from a YAML file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from camss_ros.extras import require

if TYPE_CHECKING:
    from camss_ros.training.config import Config

PACKAGES = ("accelerate", "tensorboard")

app = typer.Typer(
    help="Train a model. The same command goes on where a killed run stopped.",
    no_args_is_help=True,
)

CONFIG = typer.Option(..., "--config", help="YAML file, or the name of one in config/train.")
OUTPUT = typer.Option(..., help="Folder of checkpoint, metrics and models.")
OVERRIDES = typer.Option(
    None, "--set", help="Replace an entry, such as loop.steps=100; may be repeated."
)
DATA_ROOT = typer.Option(None, help="Folder of the data set: data.root.")


# What is trained: its configuration in `training.config`, and help. The training itself is the
# function `train_NAME` of `training/train_NAME.py`.
TRAININGS = {
    "autoencoder": ("AutoencoderConfig", "Train the mask autoencoder on label images."),
    "segmenter": (
        "SegmenterConfig",
        "Train image tokens, transformer and denoiser; writes model directories.",
    ),
    "twin": (
        "TwinTrainingConfig",
        "Train the discriminative twin, to compare with (docs/robustness.md).",
    ),
    "decoder": (
        "DecoderTrainingConfig",
        "Distil a fast mask decoder for a model with the official KL autoencoder.",
    ),
}


def _add_command(name: str, kind: str, about: str) -> None:
    @app.command(name, help=about)
    def command(
        config: Path = CONFIG,
        output: Path = OUTPUT,
        overrides: Optional[list[str]] = OVERRIDES,
        root: Optional[Path] = DATA_ROOT,
    ) -> None:
        require(*PACKAGES)
        from camss_ros.training import config as configs

        training = import_module(f"camss_ros.training.train_{name}")
        train = getattr(training, f"train_{name}")
        _run(getattr(configs, kind), train, config, output, overrides or [], root)


for _name, (_kind, _about) in TRAININGS.items():
    _add_command(_name, _kind, _about)


def _run(
    kind: type[Config],
    train: Callable[[Config, Path], Any],
    path: Path,
    output: Path,
    overrides: list[str],
    root: Path | None,
) -> None:
    from camss_ros.training.config import config_text, load_config
    from camss_ros.training.resume import CONFIG, check_resumable
    from camss_ros.training.run_folder import write_atomically

    config = load_config(kind, path, overrides)
    if root is not None:
        data = dataclasses.replace(config.data, root=str(root))
        config = dataclasses.replace(config, data=data)
    check_resumable(config, output)
    output.mkdir(parents=True, exist_ok=True)
    if os.environ.get("RANK", "0") == "0":
        text = config_text(config).encode()
        write_atomically(output / CONFIG, lambda file: file.write(text))
    train(config, output)
    typer.echo(f"wrote {output / 'last'} and {output / 'best'}")
