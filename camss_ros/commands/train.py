"""`camss-ros train`: every training is made from a YAML file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import check_folder
from camss_ros.extras import require

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


def with_root(overrides: Optional[list[str]], root: Optional[Path]) -> list[str]:
    """The overrides, and DATA_ROOT as the last of them."""
    from camss_ros.training.config_files import override

    return [*(overrides or ()), *([] if root is None else [override("data.root", str(root))])]


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
        check_folder(output)
        from camss_ros.training import config as configs
        from camss_ros.training.config_files import load_config
        from camss_ros.training.resume import begin_run

        train = getattr(import_module(f"camss_ros.training.train_{name}"), f"train_{name}")
        given = load_config(getattr(configs, kind), config, with_root(overrides, root))
        with begin_run(given, output):
            train(given, output)
        typer.echo(f"wrote {output / 'last'} and {output / 'best'}")


for _name, (_kind, _about) in TRAININGS.items():
    _add_command(_name, _kind, _about)
