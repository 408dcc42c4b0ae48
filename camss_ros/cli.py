"""The `camss-ros` command: every subcommand, each importing what it needs when it runs."""

import typer

app = typer.Typer(
    help="Generative semantic segmentation (CAM-Seg) for ROS 2.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _main() -> None:
    """Generative semantic segmentation (CAM-Seg) for ROS 2."""


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
