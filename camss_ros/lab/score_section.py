"""Section of the page about speed: what it costs in scores."""

from __future__ import annotations

from typing import Any

from camss_ros.evaluation.evaluate import evaluate
from camss_ros.inference.segmenter import Segmenter
from camss_ros.lab.page import markdown_table, paragraph, verdict
from camss_ros.lab.speed_section import LabelledData, Progress, Section, SpeedSettings

ALLOWED_MIOU_LOSS = 0.003


def _measure(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    assert data is not None
    row = {
        "data": data.name,
        "frames": len(data.frames),
        "steps": settings.spec.sampling.steps,
        "reference": score(
            "reference", settings.segmenter(backend="torch", precision="fp32"), data, progress
        ),
        "chosen": score("chosen", settings.segmenter(), data, progress),
    }
    if settings.has_int8():
        row["int8"] = score(
            "int8", settings.segmenter(backend="openvino", precision="int8"), data, progress
        )
    return row


def score(
    name: str, segmenter: Segmenter, data: LabelledData, progress: Progress
) -> dict[str, Any]:
    """Scores of a segmenter, which is closed."""
    total = len(data.frames)
    result = evaluate(
        segmenter,
        data.frames,
        data.label_set,
        progress=lambda done: progress(f"scores, {name}: {done} of {total} frames"),
    )
    segmenter.close()
    return {
        "backend": segmenter.backend,
        "dtype": str(segmenter.dtype).removeprefix("torch."),
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
