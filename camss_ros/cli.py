"""The `camss-ros` command: every subcommand, each importing what it needs when it runs."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    help="Generative semantic segmentation (CAM-Seg) for ROS 2.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _main() -> None:
    """Generative semantic segmentation (CAM-Seg) for ROS 2."""


convert_app = typer.Typer(help="Convert published checkpoints.", no_args_is_help=True)
app.add_typer(convert_app, name="convert")


@convert_app.callback()
def _convert() -> None:
    """Convert published checkpoints."""


@convert_app.command("official")
def convert_official(
    vae: Annotated[Path, typer.Option(help="The autoencoder, modelf16.ckpt.", exists=True)],
    transformer: Annotated[
        Path, typer.Option(help="Transformer and denoiser, city768.16.pth.", exists=True)
    ],
    output: Annotated[Path, typer.Option(help="Directory of the converted model.")],
    ema: Annotated[
        bool, typer.Option(help="Take the moving average of the weights, or the last ones.")
    ] = True,
    heads: Annotated[
        int | None,
        typer.Option(min=1, help="Attention heads. Default: one for each 64 channels."),
    ] = None,
) -> None:
    """Convert the official CAM-Seg checkpoints to a model directory."""
    from rich.console import Console

    from camss_ros.model.checkpoint import ModelError
    from camss_ros.model.official import (
        convert,
        infer_config,
        read_autoencoder,
        read_transformer,
    )

    console = Console()
    try:
        autoencoder = read_autoencoder(vae)
        weights = read_transformer(transformer, ema=ema)
        config = infer_config(autoencoder, weights, heads)
        model = convert(config, autoencoder, weights)
    except ModelError as error:
        _fail(str(error))
    model.save_pretrained(output)
    for name, part in model.named_children():
        count = sum(parameter.numel() for parameter in part.parameters())
        console.print(f"{name}: {count / 1e6:.1f} M parameters")
    console.print(f"{config.transformer}", highlight=False)
    console.print(f"wrote {output}", highlight=False)


@app.command("verify-parity")
def verify_parity_command(
    directory: Annotated[Path, typer.Argument(help="Folder of recorded official numbers.")],
) -> None:
    """Reproduce recorded numbers of the official implementation; exit code 1 if any is off."""
    from rich.console import Console
    from rich.table import Table

    from camss_ros.evaluation.parity import verify_parity
    from camss_ros.model.checkpoint import ModelError

    try:
        results = verify_parity(directory)
    except ModelError as error:
        _fail(str(error))
    table = Table("stage", "max rel. error", "limit", "", "note", title=str(directory))
    for result in results:
        verdict = "[green]pass" if result.passed else "[red]FAIL"
        table.add_row(
            result.stage, f"{result.error:.1e}", f"{result.limit:g}", verdict, result.note
        )
    console = Console()
    console.print(table)
    failed = [result.stage for result in results if not result.passed]
    if failed:
        console.print(f"{len(failed)} of {len(results)} stages failed: {', '.join(failed)}")
        raise typer.Exit(1)
    console.print(f"all {len(results)} stages passed")


def _fail(message: str) -> NoReturn:
    """End with exit code 1 and the message on stderr."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
