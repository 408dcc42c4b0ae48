"""How a process that is no node ends on SIGTERM, and on SIGHUP when its terminal is closed."""

import signal
import sys


def exit_on_signals() -> None:
    """End as after Ctrl-C from now on: what is open is closed, temporary folders are removed."""
    for number in end_signals():
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def end_signals() -> list[signal.Signals]:
    """What tells a process to end, beside Ctrl-C."""
    below_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, *([] if below_nohup else [signal.SIGHUP])]
