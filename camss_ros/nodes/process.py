"""The process of a node: it ends within a second of a signal, whatever runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from camss_ros.nodes.managed_node import ManagedNode
from camss_ros.nodes.spinner import Spinner
from camss_ros.nodes.start_up import START_ERRORS, start_problem

# s from the signal to the end of the process, whatever the network is doing
SHUTDOWN_TIME = 1.0


def run_until_signal(
    name: str,
    make_node: Callable[[], ManagedNode],
    arguments: list[str] | None,
    at_end: Callable[[], None] = lambda: None,
) -> int:
    """Run the node `name` and end the process on SIGINT or SIGTERM, with exit code 0.

    `at_end` is called last, whatever still runs. Returns only when the node cannot be made: 1, with
    the reason on stderr.
    """
    # The main thread waits for a signal while another spins, so that a signal never interrupts
    # anything halfway and is served while a model loads.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
    except START_ERRORS as error:
        print(f"{name}: {start_problem(error)}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = Spinner(executor, node.autostart, stop.set)
    stop.wait()

    def end() -> None:
        node.cancel()
        spinner.end()
        node.shut_down()
        node.destroy_node()
        rclpy.shutdown()

    ending = threading.Thread(target=end, name="shutdown", daemon=True)
    ending.start()
    # It takes longer only while a model loads or a stage of the network runs, which cannot be
    # interrupted. Either way nothing is left to be saved, and Python's own end is skipped: with
    # torch loaded it takes more than a second on a busy machine.
    ending.join(SHUTDOWN_TIME)
    at_end()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(spinner.failed))
