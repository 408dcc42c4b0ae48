"""`camss-ros convert`: published checkpoints to model directories."""

from pathlib import Path
from typing import Optional

import typer

from camss_ros.commands.options import check_folder

app = typer.Typer(help="Convert published checkpoints.", no_args_is_help=True)


@app.callback()
def _convert() -> None:
    """Convert published checkpoints."""


@app.command("official")
def convert_official(
    vae: Path = typer.Option(..., help="The autoencoder, modelf16.ckpt.", exists=True),
    transformer: Path = typer.Option(
        ..., help="Transformer and denoiser, city768.16.pth.", exists=True
    ),
    output: Path = typer.Option(..., help="Directory of the converted model."),
    ema: bool = typer.Option(
        True, help="Take the moving average of the weights, or the last ones."
    ),
    heads: Optional[int] = typer.Option(
        None, min=1, help="Attention heads. Default: one for each 64 channels."
    ),
) -> None:
    """Convert the official CAM-Seg checkpoints to a model directory."""
    from camss_ros.model.checkpoint import save_pretrained
    from camss_ros.model.official import convert, infer_config, read_autoencoder, read_transformer

    check_folder(output)
    autoencoder = read_autoencoder(vae)
    weights = read_transformer(transformer, ema=ema)
    config = infer_config(autoencoder, weights, heads)
    model = convert(config, autoencoder, weights)
    save_pretrained(model, output)
    for name, part in model.named_children():
        count = sum(parameter.numel() for parameter in part.parameters())
        typer.echo(f"{name}: {count / 1e6:.1f} M parameters")
    typer.echo(config.transformer)
    typer.echo(f"wrote {output}")
