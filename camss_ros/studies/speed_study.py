"""What the package promises about speed, measured section by section.

    output/speed.json   the numbers of every section, stored as they come: a stopped study goes on
    output/speed.md     the page

A further section is one more `Section` in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from camss_ros.benchmark.kept_budget import BudgetSettings
from camss_ros.benchmark.machine import describe_machine, load_average
from camss_ros.benchmark.node_speed import SIZES, NodeSettings, Parameters
from camss_ros.benchmark.random_weights import random_weights
from camss_ros.benchmark.steady import measure_steadiness
from camss_ros.benchmark.versus_official import compare_with_official
from camss_ros.data.calibration_scenes import CalibrationScenes
from camss_ros.data.label_sets import LabelSet
from camss_ros.evaluation.evaluate import LabeledFrames, evaluate
from camss_ros.evaluation.result_folder import write_atomically
from camss_ros.inference.backends import open_runtime
from camss_ros.inference.device import select_device
from camss_ros.inference.network_size import can_resize
from camss_ros.inference.official_procedure import STEPS
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.checkpoint import CONFIG_FILE, find_model, read_config
from camss_ros.model.schedule import SamplingOptions
from camss_ros.studies.budget_section import measure_budgets, show_budgets
from camss_ros.studies.page import command_block, markdown_table, p50_p95, paragraph, verdict
from camss_ros.studies.result_rows import ResultRows
from camss_ros.studies.size_section import AIM_HZ, measure_sizes, show_sizes
from camss_ros.studies.warm_section import measure_warm_start, show_warm_start

# `auto` would build graphs of a gigabyte and run the network dozens of times for one comparison.
_OFFICIAL_BACKEND = "torch"
# How many steps its weights need is not known here: more than the bundled model's one.
_STEPS_AGAINST_OFFICIAL = 4

WANTED_RATIO = 20.0
WANTED_HZ, WANTED_P95_MS, WANTED_OWN_MS = 25.0, 70.0, 5.0
ALLOWED_MIOU_LOSS = 0.003
ALLOWED_GROWTH_MB = 5.0
_AS_FAST = 1.2  # times the hundredth frame


@dataclass(frozen=True)
class LabelledData:
    """Frames to score on.

    Attributes:
        name: which ones they are, for the page.
        clip: they follow each other in time.
    """

    name: str
    frames: LabeledFrames
    label_set: LabelSet
    clip: bool = False


@dataclass(frozen=True)
class SpeedSettings:
    """What is measured, and how long.

    Attributes:
        model: of the node, with what it is run by: `device`, `backend`, `precision`, `steps`.
        official_model: random weights of its size are compared with the official procedure, in so
            many turns at each (height, width).
        frame_size: of the steady run.
    """

    model: str = "camss-tiny"
    device: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    steps: int = SamplingOptions.steps
    official_model: str = "cam-seg-base"
    official_steps: int = STEPS
    official_turns: Mapping[tuple[int, int], int] = field(
        default_factory=lambda: {(256, 256): 3, (768, 768): 1}
    )
    node: NodeSettings = NodeSettings()
    budget: BudgetSettings = BudgetSettings()
    steady_frames: int = 5000
    frame_size: tuple[int, int] = (360, 480)

    def has_int8(self) -> bool:
        """Whether int8, which is chosen by nobody but the user, is measured beside the choice."""
        if self.backend not in ("auto", "openvino") or self.precision != "auto":
            return False
        try:
            open_runtime("openvino", select_device(self.device), "int8")
        except ValueError:  # not installed, or the machine has none
            return False
        return True

    def segmenter(
        self,
        backend: str | None = None,
        precision: str | None = None,
        network_size: tuple[int, int] | None = None,
    ) -> Segmenter:
        """Of `model`."""
        return Segmenter(
            self.model,
            device=self.device,
            precision=precision or self.precision,
            sampling=SamplingOptions(steps=self.steps),
            backend=backend or self.backend,
            network_size=network_size,
            calibration=CalibrationScenes(),
        )

    def node_parameters(self) -> Parameters:
        """Of the segmenter node, beside the model."""
        return {
            "device": self.device, "backend": self.backend, "precision": self.precision,
            "steps": self.steps,
        }  # fmt: skip


Progress = Callable[[str], None]  # told what is being done


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: of its numbers in the JSON file.
        title: on the page.
        wanted: what is promised.
        measure: makes the numbers, JSON-able.
        show: Markdown of the numbers.
        needs: it is left out where that is missing: "data", or data that are a "clip".
    """

    key: str
    title: str
    wanted: str
    measure: Callable[[SpeedSettings, LabelledData | None, Progress], dict[str, Any]]
    show: Callable[[dict[str, Any]], str]
    needs: Literal["", "data", "clip"] = ""

    def lacks(self, data: LabelledData | None) -> str:
        """What is missing to measure it; empty if nothing is."""
        if self.needs and data is None:
            return "data"
        return "clip" if self.needs == "clip" and data is not None and not data.clip else ""


def study_speed(
    settings: SpeedSettings,
    output: Path,
    model: dict[str, Any],
    command: str,
    data: LabelledData | None = None,
    *,
    sections: Sequence[Section] | None = None,
    progress: Progress = lambda doing: None,
) -> dict[str, str]:
    """Measure what is not there yet and write `output`.

    Returns the titles that were left out, and what each of them lacks: "data" or "clip".

    Args:
        model: facts of the model: `name`, `sha256`.
        command: as the page shows it.
        sections: by default `SECTIONS`.

    Raises OutputMismatchError where `output` holds numbers of other settings or of another
    machine, OSError where it can't be written, and what the measurements raise.
    """
    machine = describe_machine(select_device(settings.device))
    facts = {"model": model, "machine": machine, "settings": _json(settings)}
    results = ResultRows(output / "speed.json", facts)
    shown = []
    left_out: dict[str, str] = {}
    for section in SECTIONS if sections is None else sections:
        if missing := section.lacks(data):
            left_out[section.title] = missing
            continue
        key = f"{section.key}, {data.name}" if section.needs and data else section.key
        if key not in results:
            progress(section.title)
            load = load_average()
            row = section.measure(settings, data, progress)
            results.add(key, {"load_average": load, **row})
        shown.append((section, results[key]))
    results.finish()
    write_atomically(output / "speed.md", _page(shown, machine, model, command).encode())
    return left_out


def _json(settings: SpeedSettings) -> dict[str, Any]:
    turns = {f"{h}x{w}": count for (h, w), count in settings.official_turns.items()}
    return {**asdict(settings), "official_turns": turns}


def _page(
    shown: Sequence[tuple[Section, dict[str, Any]]],
    machine: dict[str, Any],
    model: dict[str, Any],
    command: str,
) -> str:
    method = paragraph(f"""
        Model `{model["name"]}` (weights sha256 `{model["sha256"]}`). Machine:
        {"; ".join(f"{name} {value}" for name, value in machine.items())}. The load average of a
        section is that of its beginning: above zero, others were at work, too, and times are longer
        than they need be.""")
    parts = [
        f"## {section.title}\n\n{paragraph(f'Wanted: {section.wanted}')}\n\n{section.show(row)}\n"
        f"Load average: {row['load_average']}.\n"
        for section, row in shown
    ]
    return f"# Speed\n\n{command_block(command)}\n\n{method}\n\n" + "\n".join(parts)


# --- Against the official procedure -------------------------------------------------------------


def _measure_official(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    if settings.precision == "int8":  # which PyTorch has not
        settings = replace(settings, precision="auto")
    sizes = {}
    for size, turns in settings.official_turns.items():
        name = f"{size[1]} x {size[0]}"
        progress(f"{settings.official_model}, {name}, {turns} turns")
        with random_weights(settings.official_model, size) as directory:
            segmenter = Segmenter(
                directory,
                device=settings.device,
                precision=settings.precision,
                sampling=SamplingOptions(steps=_STEPS_AGAINST_OFFICIAL),
                backend=_OFFICIAL_BACKEND,
            )
            sizes[name] = compare_with_official(
                segmenter, directory, turns, steps=settings.official_steps
            )
            segmenter.close()
    return {"model": settings.official_model, "sizes": sizes}


def _show_official(row: dict[str, Any]) -> str:
    lines = []
    for name, each in row["sizes"].items():
        ratio = each["ratio"]
        official, ours = each["official"]["stages_ms"]["total"], each["ours"]["whole_ms"]
        lines.append([
            name, str(each["turns"]), f"{official['p50'] / 1e3:.2f}", f"{ours['p50'] / 1e3:.3f}",
            f"{ratio['median']:.1f} ({ratio['min']:.1f} to {ratio['max']:.1f})",
        ])  # fmt: skip
    first = next(iter(row["sizes"].values()))
    ours, smallest = first["ours"], first["ratio"]["median"]
    how = paragraph(f"""
        `{row["model"]}` with random weights. Official: {first["official"]["steps"]} ancestral steps
        on all tokens, float32, palette in numpy (`inference/official_procedure.py`). Ours:
        {ours["backend"]} in {ours["dtype"]}, steps: {ours["sampling"]["steps"]}
        ({ours["sampling"]["sampler"]}). One frame of theirs, a few of ours, and again, in one
        process; the ratio is that of each turn, its median and range. At the first size the promise
        {verdict(smallest >= WANTED_RATIO)}.""")
    header = ["size", "turns", "official, s", "ours, s", "times as fast"]
    return f"{how}\n\n{markdown_table(header, lines)}"


# --- The node -----------------------------------------------------------------------------------


def _measure_node(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    row = _node(settings, "node", SIZES, {}, progress)
    if settings.has_int8():
        int8 = _node(settings, "node in int8", SIZES[:1], {"precision": "int8"}, progress)
        row["int8"] = int8["sizes"]
    return row


def _node(
    settings: SpeedSettings,
    name: str,
    sizes: Sequence[tuple[int, int]],
    changed: Parameters,
    progress: Progress,
) -> dict[str, Any]:
    """As `measure_node_sizes`, with some parameters changed."""
    from camss_ros.nodes.node_benchmark import measure_node_sizes  # needs rclpy

    return measure_node_sizes(
        find_model(settings.model), {**settings.node_parameters(), **changed}, sizes,
        settings.node, lambda size, trials: progress(f"{name} at {size}, trial {trials + 1}"),
    )  # fmt: skip


def _show_node(row: dict[str, Any]) -> str:
    runs = [(size, "", node) for size, node in row["sizes"].items()]
    runs += [(size, ", int8", node) for size, node in row.get("int8", {}).items()]
    lines = []
    for size, precision, node in runs:
        found = node["highest_rate"]
        hz = "none" if found["hz"] is None else f"{found['hz']:.1f} ({found['limited_by']})"
        for rate, latency in node["latency"].items():
            lines.append([
                f"{size}{precision}", hz, rate, f"{100 * latency['drops']:.1f} %",
                *(p50_p95(latency[key]) for key in (
                    "stamp_to_mask_ms", "segmenter_ms", "convert_and_publish_ms",
                    "outside_segmenter_ms",
                )),
            ])  # fmt: skip
    (small, large) = (row["sizes"][f"{width}x{height}"] for height, width in SIZES)
    own = next(iter(large["latency"].values()))["convert_and_publish_ms"]
    name = f"{SIZES[0][1]}x{SIZES[0][0]}"
    int8 = row.get("int8", {}).get(name)
    in_int8 = f", in int8 it {verdict(_is_fast(int8))}" if int8 else ""
    used = row["node"]
    how = paragraph(f"""
        Model {used["model"]} on {used["device"]} by {used["backend"]}, steps: {used["steps"]}
        ({used["sampler"]}); raw {small["encoding"]} images from another process, masks to a third,
        all on this machine. Highest rate with under 5 % of the images lost, after ros2_benchmark,
        and what limits it; latency from the image's stamp to the mask at a subscriber; times are
        p50 / p95 in ms. The last column has also what happens outside the node's own code: sending,
        the copies into and out of DDS, waiting for a turn. At {SIZES[0][1]} x {SIZES[0][0]} the
        promise {verdict(_is_fast(small))}{in_int8}; the promise about the node's own share
        {verdict(own is not None and own["p50"] < WANTED_OWN_MS)}.""")
    header = [
        "images", "highest rate, Hz", "latency at", "lost", "stamp to mask", "segmenter",
        "convert and publish", "all outside the segmenter",
    ]  # fmt: skip
    return f"{how}\n\n{markdown_table(header, lines)}"


def _is_fast(node: Mapping[str, Any]) -> bool:
    """Whether one size keeps the promise: the rate, and the latency at the lowest rate."""
    rate = node["highest_rate"]["hz"]
    time = next(iter(node["latency"].values()))["stamp_to_mask_ms"]
    return (
        rate is not None and rate >= WANTED_HZ and time is not None and time["p95"] < WANTED_P95_MS
    )


# --- The latency budget -------------------------------------------------------------------------


def _measure_budgets(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    assert data is not None
    measured = measure_budgets(
        settings.model, settings.node_parameters(), data.frames, data.label_set, settings.budget,
        progress,
    )  # fmt: skip
    return {"data": data.name, **measured}


# --- Scores -------------------------------------------------------------------------------------


def _measure_scores(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    assert data is not None
    row = {
        "data": data.name,
        "frames": len(data.frames),
        "steps": settings.steps,
        "reference": _score("reference", settings.segmenter("torch", "fp32"), data, progress),
        "chosen": _score("chosen", settings.segmenter(), data, progress),
    }
    if settings.has_int8():
        row["int8"] = _score("int8", settings.segmenter("openvino", "int8"), data, progress)
    return row


def _score(
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


def _show_scores(row: dict[str, Any]) -> str:
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


# --- Smaller images in the network --------------------------------------------------------------


def _measure_sizes(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    assert data is not None
    (size,) = SIZES[:1]

    def node(network_size: tuple[int, int], precision: str) -> dict[str, Any]:
        height, width = network_size
        changed: Parameters = {"network_size": (width, height), "precision": precision}
        name = f"node, {width} x {height} in the network, {precision},"
        (measured,) = _node(settings, name, [size], changed, progress)["sizes"].values()
        return measured  # type: ignore[no-any-return]  # JSON values

    def score(network_size: tuple[int, int], precision: str) -> dict[str, Any]:
        segmenter = settings.segmenter(None, precision, network_size)
        height, width = network_size
        return _score(f"{width} x {height}, {precision}", segmenter, data, progress)

    config = read_config(find_model(settings.model) / CONFIG_FILE)
    precisions = [settings.precision, *(["int8"] if settings.has_int8() else [])]
    rate = settings.node.latency_rates[0]
    return {
        "data": data.name,
        "image_size": f"{size[1]} x {size[0]}",
        "latency_at": f"{rate:g} Hz",
        **measure_sizes(config.input_size, precisions if can_resize(config) else [], node, score),
    }


# --- The warm start -----------------------------------------------------------------------------


def _measure_warm_start(
    settings: SpeedSettings, data: LabelledData | None, progress: Progress
) -> dict[str, Any]:
    assert data is not None
    segmenter = settings.segmenter("torch")
    measured = measure_warm_start(segmenter, data.frames, data.label_set, progress)
    segmenter.close()
    return {"data": data.name, **measured}


# --- Steadiness ---------------------------------------------------------------------------------


def _measure_steady(
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


def _show_steady(row: dict[str, Any]) -> str:
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


SECTIONS: tuple[Section, ...] = (
    Section(
        "official",
        "Against the official procedure",
        f"at least {WANTED_RATIO:g} times as fast at 256 x 256",
        _measure_official,
        _show_official,
    ),
    Section(
        "node",
        "The node, through DDS",
        f"at 480 x 360 at least {WANTED_HZ:g} Hz, and stamp to mask under {WANTED_P95_MS:g} ms "
        f"(p95, at 10 Hz); at 1920 x 1080 under {WANTED_OWN_MS:g} ms (p50) for the node's own "
        "share, to convert and publish",
        _measure_node,
        _show_node,
    ),
    Section(
        "budget",
        "Latency budget",
        "95 % of the images in `latency_budget_ms`, set to half of what they need without it",
        _measure_budgets,
        show_budgets,
        needs="data",
    ),
    Section(
        "scores",
        "What speed costs",
        f"at most {ALLOWED_MIOU_LOSS:g} mIoU lost against eager float32 at the same steps",
        _measure_scores,
        _show_scores,
        needs="data",
    ),
    Section(
        "sizes",
        "Smaller images in the network",
        f"as an aim, {AIM_HZ:g} Hz at 480 x 360",
        _measure_sizes,
        show_sizes,
        needs="data",
    ),
    Section(
        "warm start",
        "Warm start",
        "with one step, mIoU no lower than that of a cold start with four, and less flicker",
        _measure_warm_start,
        show_warm_start,
        needs="clip",
    ),
    Section(
        "steady",
        "Frame after frame",
        "the second frame as fast as the hundredth, no growth of memory",
        _measure_steady,
        _show_steady,
    ),
)
