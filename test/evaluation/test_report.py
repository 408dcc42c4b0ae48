"""The report: one page that needs no other file, with the numbers of the run."""

import io
import json
import re
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from labelled_pictures import write_pictures
from rich.console import Console
from small_model import save_small_model
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.evaluation.accumulator import ScoreAccumulator
from camss_ros.evaluation.evaluate import evaluate
from camss_ros.evaluation.formats import CLASS_SCORES, WHOLE_SCORES, result_table
from camss_ros.evaluation.frame_thumbnails import FrameThumbnails, load_thumbnails
from camss_ros.evaluation.part_results import CollectedResults, PartResults
from camss_ros.evaluation.report import RunMetadata, write_report
from camss_ros.evaluation.report_plots import POINTS, histogram, reduce_curve, retention_figure
from camss_ros.evaluation.timings import TimingsFile, read_timings
from camss_ros.images.label_sets import load_label_set
from camss_ros.inference.segmenter import Segmentation

CAMVID = load_label_set("camvid11")
METADATA = RunMetadata(
    "a <title>", "camss-ros evaluate", {"name": "m", "sha256": "ab12"}, {"steps": 1}
)


class Page(HTMLParser):
    """Counts tags and keeps what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset") and v]


class OneSegmenter:
    """Has the first columns of its only class right, as many as the frame's brightness says."""

    classes, model_name = CAMVID.classes, "small"

    def segment(self, image: np.ndarray) -> Segmentation:
        right = int(image[0, 0, 0])
        labels = np.full(image.shape[:2], 3, np.uint8)
        labels[:, right:] = 5
        return Segmentation(labels, np.full_like(labels, 200), {"total": right}, 1)


def part_results(count: int, name: str = "part") -> PartResults:
    """Of frames of which number i has i of 20 columns right."""
    truth = np.full((10, 20), 3, np.uint8)
    frames = [(np.full((10, 20, 3), i, np.uint8), truth, f"frame{i}") for i in range(count)]
    collected = CollectedResults(name, CAMVID)
    result = evaluate(OneSegmenter(), frames, CAMVID, on_frame=collected.add)
    return collected.part(result.accumulator)


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    numbers = write_report(tmp_path / "r.html", [part_results(12)], METADATA)
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    assert page.links
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not re.search(r"url\((?!#)|@import|<script", text)
    assert page.tags.count("svg") == 2
    assert page.tags.count("img") == 8 * 4
    assert "a &lt;title&gt;" in text
    assert "ab12" in text
    assert json.loads((tmp_path / "r.json").read_text()) == numbers
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json"]


def test_numbers_of_parts_add_up(tmp_path: Path) -> None:
    parts = [part_results(n, f"part{n}") for n in (3, 5)]
    numbers = write_report(tmp_path / "r.html", parts, METADATA)
    total = numbers["total"]
    right = sum(range(3)) + sum(range(5))
    assert total["scores"]["pixel_accuracy"] == pytest.approx(right / (8 * 20))
    assert np.sum(total["confusion"]) == 8 * 200
    assert total["confusion"][3][3] == right * 10
    assert total["class_share"]["road"] == pytest.approx(right / (8 * 20))
    assert total["latency_ms"]["max"] == 4000
    assert sum(total["latency_histogram"]["counts"]) == 8
    assert numbers["worst"][0] == {"part": "part3", "name": "frame0", "score": 0.0}
    assert numbers["best"][0]["name"] == "frame4"
    with pytest.raises(ValueError, match="nothing to report"):
        write_report(tmp_path / "none.html", [], METADATA)


def test_frames_by_confidence_are_not_among_those_by_their_scores(tmp_path: Path) -> None:
    # such as a camera without labels beside one that has them
    none = ScoreAccumulator(len(CAMVID.classes)).counts()
    parts = [part_results(3, "front"), replace(part_results(9, "rear"), counts=none)]
    numbers = write_report(tmp_path / "r.html", parts, METADATA)
    assert {frame["part"] for frame in numbers["worst"] + numbers["best"]} == {"front"}
    assert "by mIoU" in (tmp_path / "r.html").read_text()
    numbers = write_report(tmp_path / "r.html", parts[1:], METADATA)
    assert len(numbers["worst"]) == 4
    assert "by mean confidence" in (tmp_path / "r.html").read_text()


def test_the_worst_and_the_best_frames_are_kept(tmp_path: Path) -> None:
    thumbnails = FrameThumbnails(CAMVID.classes, 2)
    picture = np.zeros((20, 700), np.uint8)
    for number, score in enumerate((0.5, 0.2, 0.9, 0.7, 0.1)):
        thumbnails.add(str(number), score, np.zeros((20, 700, 3), np.uint8), None, picture, picture)
    assert [s.name for s in thumbnails.worst] == ["4", "1"]
    assert [s.name for s in thumbnails.best] == ["2", "3"]
    thumbnails.save(tmp_path / "s")
    thumbnails.save(tmp_path / "s")
    assert load_thumbnails(tmp_path / "s") == (thumbnails.worst, thumbnails.best)
    tile = np.frombuffer(thumbnails.worst[0].tiles["image.jpg"], np.uint8)
    assert cv2.imdecode(tile, cv2.IMREAD_COLOR).shape[1] == 320
    few = FrameThumbnails(CAMVID.classes, 2)
    few.add("only", 0.5, np.zeros((20, 700, 3), np.uint8), None, picture, picture)
    assert ([s.name for s in few.worst], few.best) == (["only"], [])
    # More rows than a JPEG can have, from a damaged header.
    tall = np.zeros((70_000, 2), np.uint8)
    few.add("tall", 0.4, np.zeros((70_000, 2, 3), np.uint8), None, tall, tall)
    tile = np.frombuffer(few.worst[0].tiles["image.jpg"], np.uint8)
    assert cv2.imdecode(tile, cv2.IMREAD_COLOR).shape[:2] == (2000, 1)


def test_no_curve_of_retention_is_cut_off_and_its_ends_have_units() -> None:
    levels = [
        {"value": 1.0, "setting": "1 px, twice", "retention": 0.5},
        {"value": 2.0, "setting": "2 px", "retention": 1.4},
    ]
    group = {"low": {"levels": levels[:1]}, "high": {"levels": levels}}
    for axis in retention_figure({"model": group}).axes:
        low, high = axis.get_ylim()
        assert low == 0
        assert high >= 140
    assert [each.get_text() for each in axis.get_xticklabels()] == ["1 px\ntwice", "2 px"]


def test_curves_are_reduced_and_keep_their_mean() -> None:
    values = np.random.default_rng(0).random(50 * POINTS)
    times, reduced = reduce_curve(np.arange(len(values), dtype=float), values)
    assert len(times) == len(reduced) == POINTS
    assert reduced.mean() == pytest.approx(values.mean())
    assert np.isnan(reduce_curve(np.arange(3.0), np.full(3, np.nan))[1]).all()
    bins = histogram(np.array([0.01, 0.01, 0.01]))
    assert sum(bins["counts"]) == 3


def test_timings_go_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with closing(TimingsFile(path)) as timings:
        timings.add("a", {"total": 1.0})
        timings.add("b", {"total": 2.0})
    path.write_bytes(path.read_bytes()[:-5])
    with closing(TimingsFile(path)) as timings:
        timings.add("c" * 200, {"total": 3.0})
        assert read_timings(path)["total"].tolist() == [1.0, 3.0]  # should it be killed now
    path.write_bytes(path.read_bytes()[:-5])
    with closing(TimingsFile(path)) as timings:
        timings.add("d", {"total": 4.0})
    assert read_timings(path)["total"].tolist() == [1.0, 4.0]
    for damaged in (b"\x00\xff", b"[1]", b'{"total": null}', b'{"total": "x"}'):
        path.write_bytes(path.read_bytes() + damaged + b"\n")
    assert read_timings(path)["total"].tolist() == [1.0, 4.0]
    assert read_timings(tmp_path / "none") == {}


def test_no_name_in_a_table_of_scores_is_cut_off_in_80_columns() -> None:
    table = result_table("class", "share", *CLASS_SCORES)
    for name in WHOLE_SCORES:
        table.add_row(name, *["100.0"] * 6)
    shown = io.StringIO()
    Console(width=80, file=shown).print(table)
    assert "…" not in shown.getvalue()


def test_evaluate_writes_it(tmp_path: Path) -> None:
    model = save_small_model(tmp_path / "model", label_set=CAMVID.classes)
    write_pictures(tmp_path, (32, 48), "ab")
    arguments = ["evaluate", "--data", "camvid", "--root", tmp_path, "--model", model, "--device",
                 "cpu", "--report", tmp_path / "r.html"]  # fmt: skip

    def run(*more: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, list(map(str, [*arguments, *more])))
        return result.exit_code, result.output

    assert run("--json", tmp_path / "r.json")[0] == 1
    code, output = run("--json", tmp_path / "scores.json")
    assert code == 0, output
    scores = json.loads((tmp_path / "scores.json").read_text())
    of_report = json.loads((tmp_path / "r.json").read_text())["total"]["scores"]
    assert of_report == {key: scores[key] for key in of_report}
