"""What the package promises about speed, measured section by section.

    output/speed.json   the numbers of every section, stored as they come: a stopped study goes on
    output/speed.md     the page

A further section is one more module with a `SECTION`, named in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from camss_ros.evaluation.result_folder import fingerprint
from camss_ros.inference.device import select_device
from camss_ros.lab import (
    budget_section,
    keyframe_section,
    node_section,
    official_section,
    offline_section,
    score_section,
    steady_section,
    warm_start,
)
from camss_ros.lab.machine import describe_machine, load_average
from camss_ros.lab.speed_section import LabelledData, Section, SpeedRun, SpeedSettings
from camss_ros.lab.study_output import ResultRows, paragraph, write_page

SECTIONS: tuple[Section, ...] = (
    official_section.SECTION,
    node_section.SECTION,
    budget_section.SECTION,
    score_section.SECTION,
    score_section.SIZE_SECTION,
    keyframe_section.SECTION,
    warm_start.SECTION,
    steady_section.SECTION,
    offline_section.SECTION,
)


def study_speed(
    settings: SpeedSettings,
    output: Path,
    model: dict[str, Any],
    command: str,
    data: LabelledData | None = None,
    *,
    others: tuple[LabelledData, ...] = (),
    only: Container[str] | None = None,
    sections: Sequence[Section] | None = None,
    progress: Callable[[str], None] = lambda doing: None,
) -> dict[str, str]:
    """Measure what is not there yet and write `output`.

    Args:
        model: metadata of the model: `name`, `sha256`.
        command: as the page shows it.
        others: further data sets, for sections that are about all of them.
        only: keys of the sections to measure; the others are shown where their numbers are there.
        sections: by default `SECTIONS`.

    Returns:
        The titles that were left out, and what each of them lacks: "data" or "clip".

    Raises:
        OutputMismatchError: `output` holds numbers of other settings or of another machine.
        OSError: it can't be written; and what the measurements raise.
    """
    machine = describe_machine(select_device(settings.spec.device))
    metadata = {"model": model, "machine": machine, "settings": _json(settings)}
    results = ResultRows(output / "speed.json", metadata)
    parts = []
    left_out: dict[str, str] = {}
    for section in SECTIONS if sections is None else sections:
        wanted = only is None or section.key in only
        if missing := section.lacks(data):
            if wanted:
                left_out[section.title] = missing
            continue
        key = section.key
        if section.needs and data:
            named = (data, *others) if section.every_data else (data,)
            of = (f"{each.name} {fingerprint(each.files)[:12]}" for each in named)
            key = ", ".join([key, *of])
        if key not in results:
            if not wanted:
                continue
            progress(section.title)
            parts_of = _Parts(results, key)
            measured = section.measure(SpeedRun(settings, data, progress, others, parts_of.part))
            results.add(key, {"load_average": parts_of.load, **measured}, instead_of=parts_of.keys)
        row = results[key]
        promise = paragraph(f"Wanted: {section.wanted}")
        parts.append(
            f"## {section.title}\n\n{promise}\n\n{section.show(row)}\n"
            f"Load average: {row['load_average']}."
        )
    results.finish()
    method = paragraph(f"""
        Model `{model["name"]}` (weights sha256 `{model["sha256"]}`). Machine:
        {"; ".join(f"{name} {value}" for name, value in machine.items())}. The load average of a
        section is that of its beginning, or the highest of its rows: above zero, others were at
        work, too, and times are longer than they need be.""")
    write_page(output / "speed.md", "Speed", command, method, *parts)
    return left_out


class _Parts:
    """The parts of a section under way, stored as they come.

    Attributes:
        keys: of those that are stored.
        load: the highest load average, of the beginning and of each part's beginning.
    """

    def __init__(self, results: ResultRows, section: str) -> None:
        self.keys: list[str] = []
        self.load = load_average()
        self._results, self._section = results, section

    def part(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """See `SpeedRun.part`."""
        key = f"{self._section}: {name}"
        if key not in self._results:
            load = load_average()
            self._results.add(key, {"load_average": load, "row": measure()})
        self.keys.append(key)
        self.load = max(self.load, self._results[key]["load_average"])
        return self._results[key]["row"]


def _json(settings: SpeedSettings) -> dict[str, Any]:
    turns = {f"{h}x{w}": count for (h, w), count in settings.official_turns.items()}
    spec = settings.spec
    return {
        "model": str(spec.model),
        "device": spec.device,
        "backend": spec.backend,
        "precision": spec.precision,
        "steps": spec.sampling.steps,
        **{name: value for name, value in asdict(settings).items() if name != "spec"},
        "official_turns": turns,
    }
