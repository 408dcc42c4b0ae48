"""Whether the run in a folder may go on with a configuration."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from camss_ros.atomic_files import locked
from camss_ros.training.config import Config
from camss_ros.training.config_files import ConfigError, config_text, load_config
from camss_ros.training.loop import CHECKPOINT
from camss_ros.training.run_folder import TrainingError, write_atomically

CONFIG = "config.yaml"

# Entries that change no result of a run: where and how it is computed, and how often it reports.
CHANGEABLE = (
    "data.root",
    "data.in_memory",
    "data.workers",
    "gradient_checkpointing",
    "loop.log_every",
    "loop.save_every",
    "loop.evaluate_every",
)

RAISABLE = ("loop.steps", "loop.minutes")  # the schedule follows the new end


@contextmanager
def begin_run(config: Config, output: Path) -> Iterator[None]:
    """Note the configuration in `output`, made if missing, and keep other runs out of it until the
    end of the block.

    Raises:
        TrainingError: it holds a run of another configuration, or can't be written.
        OSError: another process trains in `output`.
    """
    writes = os.environ.get("RANK", "0") == "0"  # of several processes the first one
    with locked(output) if writes else nullcontext():
        check_resumable(config, output)
        if writes:
            text = config_text(config).encode()
            write_atomically(output / CONFIG, lambda file: file.write(text))
        yield


def check_resumable(config: Config, output: Path) -> None:
    """Compare `config` with that of the run in `output`, if there is a checkpoint of one.

    Raises:
        TrainingError: the entries in which they differ, by their dotted names.
    """
    if not (output / CHECKPOINT).exists():
        return
    advice = "give another --output, or remove this one to start anew"
    try:
        # Entries that are newer than the run have their defaults.
        earlier = load_config(type(config), output / CONFIG)
    except ConfigError as error:
        raise TrainingError(
            f"{output} has a checkpoint, but not the configuration of such a run: {error}; {advice}"
        ) from error
    there, now = _entries(dataclasses.asdict(earlier)), _entries(dataclasses.asdict(config))
    changes = [
        f"{name} {there.get(name)!r} there, {now.get(name)!r} now"
        for name in sorted(there.keys() | now.keys())
        if there.get(name) != now.get(name) and name not in CHANGEABLE
        if name not in RAISABLE or not _raised(there[name], now[name])
    ]
    if changes:
        raise TrainingError(
            f"{output} holds a run of another configuration ({'; '.join(changes)}): {advice}; "
            "more loop.steps or loop.minutes and other intervals, workers or folders of the data "
            "are no hindrance"
        )


def _raised(before: float | None, now: float | None) -> bool:
    """Whether a limit became larger; None is no limit."""
    return now is None or (before is not None and now > before)


def _entries(values: dict[str, Any], where: str = "") -> dict[str, Any]:
    """The values of nested dictionaries by their dotted names."""
    entries: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, dict)
        entries |= _entries(value, f"{where}{name}.") if inner else {where + name: value}
    return entries
