"""A batch of bags: evaluated by worker processes or on a Ray cluster, reported as one.

A bag that fails, even by the end of its process, is noted with the reason, and the others go on.
"""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from camss_ros.evaluation.bag_run import BagTask, open_segmenters, run_bag
from camss_ros.extras import require
from camss_ros.termination import exit_on_signals

Outcome: TypeAlias = tuple[str | None, list[str]]
"""Why a task failed or None, and what could not be copied into its written bag."""


def run_batch(
    tasks: Sequence[BagTask], workers: int, on_done: Callable[[int, Outcome], None]
) -> None:
    """Run every task in one of `workers` processes.

    A process that dies fails its own bag alone. The workers share the threads of PyTorch.

    Args:
        on_done: called with the number of a task that ended, and what came of it.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    waiting = list(enumerate(tasks))[::-1]
    running: dict[Future[Outcome], tuple[int, ProcessPoolExecutor]] = {}
    idle: list[ProcessPoolExecutor] = []
    pools: list[ProcessPoolExecutor] = []

    def start() -> None:
        number, task = waiting.pop()
        if idle:
            pool = idle.pop()
        else:
            # One process each: where one dies, its executor is broken, and only that.
            pool = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), _begin_worker, (threads,)
            )
            pools.append(pool)
        running[pool.submit(_attempt_in_worker, task)] = number, pool

    try:
        while waiting or running:
            while waiting and len(running) < workers:
                start()
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                number, pool = running.pop(future)
                try:
                    outcome = future.result()
                    idle.append(pool)
                except BrokenProcessPool:
                    outcome = "its worker process died; out of memory, or killed?", []
                    pool.shutdown()
                    pools.remove(pool)
                on_done(number, outcome)
    except BaseException:  # Ctrl-C or SIGTERM: the bags in work are not waited for
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def run_batch_on_ray(
    tasks: Sequence[BagTask], address: str, on_done: Callable[[int, Outcome], None]
) -> None:
    """Run every task on a Ray cluster whose machines share the file system.

    Each task takes one processor, and a GPU where the cluster has some.

    Args:
        address: "local" starts Ray on this machine, "auto" finds a running one, or HOST:PORT.
        on_done: as of `run_batch`.

    Raises:
        MissingPackageError: ray is not installed.
        ConnectionError: no cluster answers.
    """
    require("ray")
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # sends nothing to its makers
    started = not ray.is_initialized()
    if started:
        options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **options)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        # A bag whose process died would most likely take the next one with it.
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(attempt)
        running = {
            remote.remote(_with_absolute_paths(task)): number for number, task in enumerate(tasks)
        }
        while running:
            (reference, *_), _ = ray.wait(list(running))
            number = running.pop(reference)
            try:
                outcome = ray.get(reference)
            except ray.exceptions.RayError as error:
                outcome = f"its worker failed: {str(error).strip().splitlines()[0]}", []
            on_done(number, outcome)
    finally:
        if started:
            ray.shutdown()


_opened = lru_cache(maxsize=1)(open_segmenters)  # a worker keeps its network from bag to bag


def attempt(task: BagTask) -> Outcome:
    """Run a task in this process."""
    try:
        return None, run_bag(task, lambda spec: nullcontext(_opened(spec)))
    except Exception as error:  # whatever it is, the other bags go on
        return str(error) or type(error).__name__, []


def _begin_worker(threads: int) -> None:
    import torch

    # Ctrl-C in the terminal reaches the parent too, which ends its workers after the frame in work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_on_signals()  # removes what a bag was unpacked to
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """Don't write on, and then wait for work for ever, where the parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _attempt_in_worker(task: BagTask) -> Outcome:
    try:
        return attempt(task)
    except SystemExit:  # of SIGTERM; the executor would catch it and wait for work
        os._exit(128 + signal.SIGTERM)


def _with_absolute_paths(task: BagTask) -> BagTask:
    """The workers have other working directories."""

    def resolved(name: str | Path) -> str:
        return str(Path(name).resolve() if Path(name).exists() else name)

    return dataclasses.replace(
        task,
        bag=task.bag.resolve(),
        output=task.output.resolve(),
        frames=task.frames and task.frames.resolve(),
        label_set=task.label_set and resolved(task.label_set),
        spec=dataclasses.replace(task.spec, model=resolved(task.spec.model)),
    )
