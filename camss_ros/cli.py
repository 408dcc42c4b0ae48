"""The `camss-ros` command."""

import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from camss_ros import __version__
from camss_ros.commands import convert, data, drift, study, study_own_data, train
from camss_ros.commands.benchmark import benchmark
from camss_ros.commands.compare import compare
from camss_ros.commands.demo import demo
from camss_ros.commands.doctor import doctor
from camss_ros.commands.evaluate import evaluate
from camss_ros.commands.evaluate_bag import evaluate_bag
from camss_ros.commands.export import export
from camss_ros.commands.finetune import finetune
from camss_ros.commands.guard import guard
from camss_ros.commands.info import info
from camss_ros.commands.make_bag import make_bag
from camss_ros.commands.mount import mount
from camss_ros.commands.options import fail
from camss_ros.commands.pick import pick
from camss_ros.commands.replay import replay
from camss_ros.commands.robustness import robustness
from camss_ros.commands.segment import segment
from camss_ros.commands.verify_parity import verify_parity
from camss_ros.errors import CamssError
from camss_ros.termination import exit_on_signals


class _Commands(TyperGroup):
    """Ends with the message alone where a command fails by what the user can mend."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # of `camss-ros ... | head`: ends quietly
            raise
        except (OSError, ValueError, CamssError) as error:
            fail(error)
        except ModuleNotFoundError as error:
            if (error.name or "camss_ros").startswith("camss_ros"):
                raise
            fail(f"{error} in {sys.prefix}; `camss-ros doctor` says what is missing and what to do")


app = typer.Typer(cls=_Commands, no_args_is_help=True)
app.pretty_exceptions_show_locals = False  # as an argument it is unknown to typer before 0.6


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"camss-ros {__version__}")
        raise typer.Exit


@app.callback()
def _camss_ros(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print it and exit."
    ),
) -> None:
    """Generative semantic segmentation (CAM-Seg) for ROS 2."""


app.command()(doctor)
app.command()(segment)
app.command()(evaluate)
app.command("evaluate-bag")(evaluate_bag)
app.command()(compare)
app.command()(guard)
app.command()(replay)
app.command("make-bag")(make_bag)
app.command()(mount)
app.command()(pick)
app.command()(robustness)
app.command()(demo)
app.command()(info)
app.command()(export)
app.command()(benchmark)
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")
app.command()(finetune)
app.add_typer(drift.app, name="drift")
study.app.command("own-data")(study_own_data.own_data)
study.app.command("drift")(study_own_data.drift)
app.add_typer(study.app, name="study")
app.add_typer(convert.app, name="convert")
app.command("verify-parity")(verify_parity)


def main() -> None:
    """Entry point of the console script."""
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    # ignored below `nohup` and after the `&` of a script
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    exit_on_signals()
    if isinstance(sys.stdout, TextIOWrapper):
        # names of files that are no UTF-8 are printed as they are, not only in the locale C
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        app()
    except Exception:
        # Ctrl-C in the midst of an import leaves half a module, which fails later and otherwise.
        if interrupted:
            sys.exit(128 + signal.SIGINT)
        raise


if __name__ == "__main__":
    main()
