"""The `camss-ros` command."""

import typer

from camss_ros.commands import convert, data, study, train
from camss_ros.commands.benchmark import benchmark
from camss_ros.commands.demo import demo
from camss_ros.commands.evaluate import evaluate
from camss_ros.commands.evaluate_bag import evaluate_bag
from camss_ros.commands.export import export
from camss_ros.commands.info import info
from camss_ros.commands.make_bag import make_bag
from camss_ros.commands.replay import replay
from camss_ros.commands.robustness import robustness
from camss_ros.commands.segment import segment
from camss_ros.commands.verify_parity import verify_parity

app = typer.Typer(
    help="Generative semantic segmentation (CAM-Seg) for ROS 2.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.command()(segment)
app.command()(evaluate)
app.command("evaluate-bag")(evaluate_bag)
app.command()(replay)
app.command("make-bag")(make_bag)
app.command()(robustness)
app.command()(demo)
app.command()(info)
app.command()(export)
app.command()(benchmark)
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")
app.add_typer(study.app, name="study")
app.add_typer(convert.app, name="convert")
app.command("verify-parity")(verify_parity)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
