"""The `camss-ros` command: every subcommand, each importing what it needs when it runs."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

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


@app.command()
def evaluate(
    data: Annotated[str, typer.Option(help="Data set: camvid.")],
    root: Annotated[Path, typer.Option(help="Its folder, with SPLIT/images and SPLIT/labels.")],
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "val",
    model: Annotated[str, typer.Option(help="Bundled name, directory or Hub id.")] = "camss-tiny",
    steps: Annotated[int, typer.Option(help="Denoiser evaluations for a token.")] = 4,
    sampler: Annotated[str, typer.Option(help="ddim, dpm++2m or ddpm.")] = "ddim",
    start: Annotated[int, typer.Option(help="First timestep.")] = 950,
    temperature: Annotated[float, typer.Option(help="Factor of the noise; 0: the mode.")] = 0.0,
    samples: Annotated[int, typer.Option(help="Samples averaged for a frame.")] = 1,
    iterations: Annotated[int, typer.Option(help="Masked-autoregressive passes.")] = 1,
    order: Annotated[str, typer.Option(help="confidence or random: order of the passes.")] = (
        "confidence"
    ),
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the scores to FILE.")
    ] = None,
) -> None:
    """Score a model on a labelled data set: mIoU, precision, pixel accuracy."""
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import Progress

    from camss_ros.data.folder import LabeledFolder
    from camss_ros.data.label_sets import load_label_set
    from camss_ros.evaluation.evaluate import evaluate as score
    from camss_ros.evaluation.evaluate import label_set_of, report, score_table
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.model.checkpoint import ModelError
    from camss_ros.model.schedule import SamplingOptions

    console = Console()
    choices: dict[str, Any] = {"sampler": sampler, "order": order}
    if json_path is not None and not json_path.parent.is_dir():
        _fail(f"can't write {json_path}: there is no folder {json_path.parent}")
    try:
        label_set = load_label_set(label_set_of(data))
        frames = LabeledFolder(root, split, label_set)
        sampling = SamplingOptions(
            steps=steps, start=start, temperature=temperature, samples=samples,
            iterations=iterations, **choices,
        )  # fmt: skip
        segmenter = Segmenter(
            model, device=device, precision=precision, sampling=sampling, seed=seed
        )
        height, width = frames[0][0].shape[:2]
        segmenter.warm_up(height, width)
        with Progress(console=console) as bar:
            task = bar.add_task(f"{data} {split}", total=len(frames))
            result = score(
                segmenter, frames, label_set,
                progress=lambda done: bar.update(task, completed=done),
            )  # fmt: skip
    except (ModelError, ValueError) as error:
        _fail(str(error))
    console.print(score_table(result, label_set))
    if json_path is not None:
        content = report(
            result, label_set,
            data={"name": data, "root": str(root), "split": split},
            model={
                "name": segmenter.model_name,
                "source": model,
                "device": str(segmenter.device),
                "dtype": str(segmenter.dtype).removeprefix("torch."),
            },
            sampling={**asdict(sampling), "seed": seed},
        )  # fmt: skip
        json_path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        console.print(f"wrote {json_path}", highlight=False)


def _fail(message: str) -> NoReturn:
    """End with exit code 1 and the message on stderr."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
