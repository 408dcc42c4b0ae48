"""Section of the page about speed: what it costs in scores."""

from __future__ import annotations

from typing import Any

from camss_ros.evaluation.evaluate import evaluate
from camss_ros.lab.machine import describe_segmenter
from camss_ros.lab.page import markdown_table, paragraph, verdict
from camss_ros.lab.speed_section import Section, SpeedRun

ALLOWED_MIOU_LOSS = 0.003


def _measure(run: SpeedRun) -> dict[str, Any]:
    data = run.labelled
    row = {
        "data": data.name,
        "frames": len(data.frames),
        "steps": run.settings.spec.sampling.steps,
        "reference": score(run, "reference", backend="torch", precision="fp32"),
        "chosen": score(run, "chosen"),
    }
    if run.settings.has_int8():
        row["int8"] = score(run, "int8", backend="openvino", precision="int8")
    return row


def score(run: SpeedRun, name: str, **changed: Any) -> dict[str, Any]:
    """Scores of the segmenter with some fields of its spec changed."""
    segmenter, data = run.settings.segmenter(**changed), run.labelled
    total = len(data.frames)
    result = evaluate(
        segmenter,
        data.frames,
        data.label_set,
        progress=lambda done: run.progress(f"scores, {name}: {done} of {total} frames"),
    )
    segmenter.close()
    return {
        **describe_segmenter(segmenter),
        "miou": result.scores.miou,
        "pixel_accuracy": result.scores.pixel_accuracy,
    }


def _show(row: dict[str, Any]) -> str:
    measured = [row[key] for key in ("reference", "chosen", "int8") if key in row]
    said = []
    for each in measured[1:]:
        lost = measured[0]["miou"] - each["miou"]
        said.append(
            f"In {each['dtype']} {lost:+.4f} mIoU is lost; the promise "
            f"{verdict(lost <= ALLOWED_MIOU_LOSS)}."
        )
    table = markdown_table(
        ["backend", "mIoU", "pixel accuracy"],
        [
            [f"{each['backend']}, {each['dtype']}", f"{each['miou']:.4f}",
             f"{each['pixel_accuracy']:.4f}"]
            for each in measured
        ],
    )  # fmt: skip
    how = paragraph(f"""
        {row["frames"]} frames of {row["data"]}, steps: {row["steps"]}.
        {" ".join(said)}""")
    return f"{how}\n\n{table}"


SECTION = Section(
    "scores",
    "What speed costs",
    f"at most {ALLOWED_MIOU_LOSS:g} mIoU lost against eager float32 at the same steps",
    _measure,
    _show,
    needs="data",
)
