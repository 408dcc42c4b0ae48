"""Section of the page about speed: frame after frame."""

from __future__ import annotations

from typing import Any

from camss_ros.lab.page import markdown_table, p50_p95, paragraph, verdict
from camss_ros.lab.speed_section import LabelledData, Progress, Section, SpeedSettings
from camss_ros.lab.steady import measure_steadiness

ALLOWED_GROWTH_MB = 5.0
_AS_FAST = 1.2  # times the hundredth frame


def _measure(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    segmenter = settings.segmenter()
    done = 0

    def on_frame() -> None:
        nonlocal done
        done += 1
        progress(f"steadiness: {done} of {settings.steady_frames} frames")

    result = measure_steadiness(segmenter, settings.frame_size, settings.steady_frames, on_frame)
    segmenter.close()
    return {"backend": segmenter.backend, "frame_size": list(settings.frame_size), **result}


def _show(row: dict[str, Any]) -> str:
    height, width = row["frame_size"]
    resident = row["resident_mb"]
    as_fast = row["second_ms"] <= _AS_FAST * row["hundredth_ms"]
    table = markdown_table(
        ["frame", "ms"],
        [
            ["first", f"{row['first_ms']:.1f}"],
            ["second", f"{row['second_ms']:.1f}"],
            ["around the hundredth, p50", f"{row['hundredth_ms']:.1f}"],
            ["all, p50 / p95", p50_p95(row["whole_ms"])],
        ],
    )
    how = paragraph(f"""
        {row["frames"]} frames of {width} x {height} by {row["backend"]} in one process, after its
        warm-up. Resident memory {resident[0]:.0f} MB at first and {resident[-1]:.0f} MB at the end;
        along the line through its samples it grows by {row["growth_mb"]:+.1f} MB (allowed:
        {ALLOWED_GROWTH_MB:g}): the promise about memory
        {verdict(row["growth_mb"] <= ALLOWED_GROWTH_MB)}, the one about the second frame (allowed:
        {_AS_FAST:g} times the hundredth) {verdict(as_fast)}.""")
    return f"{how}\n\n{table}"


SECTION = Section(
    "steady",
    "Frame after frame",
    "the second frame as fast as the hundredth, no growth of memory",
    _measure,
    _show,
)
