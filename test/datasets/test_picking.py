"""Picking frames to label: the selection, the candidates, and the command on a small model."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_files import SECOND, images, write_bag
from typer.testing import CliRunner

from camss_ros.atomic_files import locked
from camss_ros.cli import app
from camss_ros.datasets.picking.candidates import Candidate, score_candidates
from camss_ros.datasets.picking.drives import drive_of, open_drives
from camss_ros.datasets.picking.frame_scores import FrameScore, FrameScorer
from camss_ros.datasets.picking.selection import DUPLICATE, select, uncertainties
from camss_ros.images.label_files import read_ids
from camss_ros.images.label_sets import load_label_set, save_label_set
from camss_ros.images.video_writer import VideoWriter
from camss_ros.inference.segmenter import Segmenter
from camss_ros.model.schedule import SamplingOptions


def candidate(number: int, tokens: list[float], entropy: float = 0.5) -> Candidate:
    return Candidate(
        0, number, f"f{number}", "drive", number * SECOND, entropy, 0.5, 0.5,
        np.array(tokens, np.float16),
    )  # fmt: skip


def names(picks: list, why: str) -> list[int]:
    return [pick.index for pick in picks if pick.why == why]


def test_the_unsure_come_first_and_then_what_is_unlike_them() -> None:
    found = [
        candidate(0, [1, 0], entropy=0.9),
        candidate(1, [1, 0.1], entropy=0.8),  # nearly the same, and nearly as unsure
        candidate(2, [0, 1], entropy=0.4),
        candidate(3, [1, 0.5], entropy=0.1),
    ]
    picks = select(found, 3, 0.0, 0)
    assert names(picks, "worth") == [0, 2, 3]
    assert picks[0].distance is None
    assert picks[1].score == pytest.approx(picks[1].uncertainty * picks[1].distance)


def test_near_duplicates_are_picked_by_worth_only_once() -> None:
    found = [candidate(n, [1, 0.1 * DUPLICATE * n]) for n in range(5)]
    assert len(select(found, 5, 0.0, 0)) == 1
    assert len(select(found, 5, 1.0, 0)) == 5  # each has the same chance at random


def test_those_at_random_follow_the_seed_and_the_others_keep_away_from_them() -> None:
    rng = np.random.default_rng(0)
    found = [candidate(n, rng.normal(size=8).tolist(), rng.random()) for n in range(50)]
    one, again, other = (select(found, 20, 0.4, seed) for seed in (1, 1, 2))
    assert one == again
    assert names(one, "random") != names(other, "random")
    assert len(names(one, "random")) == 8
    assert len({pick.index for pick in one}) == 20


def test_every_candidate_has_the_same_chance_at_random() -> None:
    found = [candidate(n, [float(n + 1), 1.0], entropy=n / 10) for n in range(10)]
    counts = np.zeros(10)
    for seed in range(400):
        counts[names(select(found, 5, 0.4, seed), "random")] += 1
    assert counts.min() > 50
    assert counts.max() < 110  # of 80 expected, standard deviation 8


def test_ranks_are_of_those_scores_that_a_frame_has() -> None:
    found = [candidate(n, [1, 0], entropy=0.1 * n) for n in range(3)]
    found = [dataclasses.replace(one, disagreement=0.2, flicker=None) for one in found]
    assert uncertainties(found) == pytest.approx([(1 / 3 + 1) / 2, (2 / 3 + 1) / 2, 1])


def bright(image: np.ndarray, before: "np.ndarray | None") -> FrameScore:
    flicker = None if before is None else float(np.abs(image - before.astype(float)).mean())
    return FrameScore(float(image.mean()), 0.0, flicker, image[:2, :2, 0].reshape(-1) / 255)


def test_candidates_of_a_bag_are_an_interval_apart(tmp_path: Path) -> None:
    pictures = images(12)
    write_bag(tmp_path / "bag", pictures)  # 10 a second
    found = score_candidates(open_drives([tmp_path / "bag"]), bright, 0.5, tmp_path / "c.jsonl")
    assert [one.number for one in found] == [0, 5, 10]
    assert [one.stamp for one in found] == [100 * SECOND + n * SECOND // 10 for n in (0, 5, 10)]
    assert {drive_of(one.name) for one in found} == {"bag"}  # also without pick.json
    assert drive_of(found[0].name.replace("_100_", "_1700000100_")) == "bag"
    assert found[0].flicker is None
    neighbours = np.abs(pictures[5] - pictures[4].astype(float)).mean()
    assert found[1].flicker == pytest.approx(neighbours)


def test_images_of_a_bag_that_cannot_be_decoded_are_passed_over(tmp_path: Path) -> None:
    def damage(number: int, data: bytes) -> bytes:
        return data.replace(b"\x89PNG", b"none") if number == 5 else data

    write_bag(tmp_path / "bag", images(12), compressed=True, change=damage)
    drives = open_drives([tmp_path / "bag"])
    found = score_candidates(drives, bright, 0.5, tmp_path / "c.jsonl")
    assert [one.number for one in found] == [0, 6, 11]
    assert [one.flicker is None for one in found] == [True, True, False]
    (told,) = drives[0].problems
    assert "/cam/image, message 5" in told
    next(iter(drives[0])).read()  # as where picks are written
    assert drives[0].problems == [told]


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_stopped_scoring_goes_on_and_finds_the_same(tmp_path: Path, kept: int) -> None:
    for name in ("one", "two"):
        write_bag(tmp_path / name, images(12, seed=len(name)))
    drives = open_drives([tmp_path / "one", tmp_path / "two"])
    whole = score_candidates(drives, bright, 0.5, tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    half = tmp_path / "half.jsonl"
    half.write_text("".join(lines[:kept]) + lines[kept][:20])
    calls = []

    def counted(image: np.ndarray, before: "np.ndarray | None") -> FrameScore:
        calls.append(1)
        return bright(image, before)

    found = score_candidates(drives, counted, 0.5, half)
    assert half.read_text() == (tmp_path / "whole.jsonl").read_text()
    assert len(calls) == len(whole) - kept
    assert [one.name for one in found] == [one.name for one in whole]
    calls.clear()
    score_candidates(drives, counted, 0.5, half)
    assert not calls


def test_drives_are_told_apart_by_the_names_of_image_files(tmp_path: Path) -> None:
    for name in ("0001TP_008550", "Seq05VD_f00030", "000012", "still"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), images(1)[0])
    (drive,) = open_drives([tmp_path])
    found = {frame.name: frame.drive for frame in drive}
    assert found[f"{drive.name}_0001TP_008550"] == f"{drive.name}_0001TP"
    assert found[f"{drive.name}_Seq05VD_f00030"] == f"{drive.name}_Seq05VD"
    assert found[f"{drive.name}_000012"] == drive.name
    assert drive_of("still") == "still"
    assert drive_of("237_frame0019") == "237_frame"
    assert drive_of("img12") == "img"
    assert drive_of("rgb_1305031102.175304") == "rgb"
    assert drive_of("1305031102_175304") == drive_of("1305031103_175304")
    assert drive_of("21305031102_175304") == "21305031102"
    assert drive_of("run_a_0003_rgb") == drive_of("run_a_0004_rgb") == "run_a"
    assert drive_of("aachen_000000_000019_leftImg8bit") == "aachen_000000"
    assert drive_of("rgb_1305031102.175304_anon") == "rgb"
    assert drive_of("000012_left") == "unnamed"
    assert drive_of("drive a (12)") == "drive a"  # as Windows numbers files
    assert drive_of("frame000104-1581624663_170") == "frame"
    assert drive_of("still", "day1") == "day1_still"


def test_files_whose_names_differ_in_other_letters_only_have_names_of_their_own(
    tmp_path: Path,
) -> None:
    for name in ("前_001", "后_001", "左_002"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), images(1)[0])
    (drive,) = open_drives([tmp_path])
    found = [frame.name for frame in drive]
    assert len(set(found)) == 3
    assert found == [frame.name for frame in drive]
    assert {frame.drive for frame in drive} == {drive.name}


def test_two_sources_of_one_name_give_two_drives(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_bag(tmp_path / folder / "bag", images(1))
    drives = open_drives([tmp_path / "a" / "bag", tmp_path / "b" / "bag"])
    assert [drive.name for drive in drives] == ["bag-1", "bag-2"]
    (tmp_path / "monday").symlink_to(tmp_path / "a" / "bag")  # as git-annex has its files
    assert [drive.name for drive in open_drives([tmp_path / "monday"])] == ["monday"]


def test_a_bag_of_several_cameras_wants_their_names(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", images(2), [np.zeros((32, 48), np.uint8)] * 2)
    with pytest.raises(ValueError, match=r"several image topics.*--image"):
        open_drives([tmp_path / "bag"])
    both = open_drives([tmp_path / "bag"], ["/cam/image", "/cam/label", "/cam/image"])
    assert [drive.name for drive in both] == ["bag_cam_image", "bag_cam_label"]
    assert {frame.drive for drive in both for frame in drive} == {"bag"}


def test_frames_of_a_video_are_an_interval_apart_and_one_drive(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "day_1.mp4", fps=10) as video:
        for picture in images(12):
            video.write(picture)
    drives = open_drives([tmp_path / "day_1.mp4"])
    found = score_candidates(drives, bright, 0.5, tmp_path / "c.jsonl")
    assert [one.number for one in found] == [0, 5, 10]
    assert [one.stamp for one in found] == [0, SECOND // 2, SECOND]
    assert {one.drive for one in found} == {"day_1"}


def test_a_frame_is_scored_the_same_every_time(small_model: Path) -> None:
    scorer = FrameScorer(Segmenter(small_model, device="cpu", sampling=SamplingOptions()))
    one, other = images(2)
    first, second = scorer(one, other), scorer(one, other)
    assert first.entropy == second.entropy
    assert first.disagreement == second.disagreement
    assert first.flicker == second.flicker
    np.testing.assert_array_equal(first.tokens, second.tokens)
    assert scorer(one, one).flicker == 0
    assert scorer(one, None).flicker is None
    assert 0 <= first.entropy <= 1
    assert first.tokens.shape == (16,)


def run(*arguments: object) -> "tuple[int, str]":
    result = CliRunner().invoke(app, ["pick", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def picked(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drives")
    write_bag(root / "bag", images(12))
    for number, picture in enumerate(images(4, seed=5)):
        (root / "folder").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "folder" / f"f_{number}.png"), picture)
    code, said = run(
        root / "bag", root / "folder", "--model", small_model, "--device", "cpu", "--count", 5,
        "--interval", 0.3, "--label-set", "cityscapes19", "--output", root / "out",
    )  # fmt: skip
    assert code == 0, said
    return root


def test_the_command_leaves_frames_prelabels_and_why(picked: Path) -> None:
    out = picked / "out"
    content = json.loads((out / "pick.json").read_text())
    frames = content["frames"]
    assert len(frames) == 5
    assert [frame["why"] for frame in frames].count("random") == 1
    assert content["candidates"] == 8
    target = load_label_set(out / "label_set.yaml")
    assert [c.name for c in target.classes] == [
        c.name for c in load_label_set("cityscapes19").classes
    ]
    for frame in frames:
        image = cv2.imread(str(out / "images" / frame["file"]))
        label = read_ids(out / "prelabels" / frame["file"], target)
        assert image.shape[:2] == label.shape
        if frame["topic"]:
            number = frame["number"]
            np.testing.assert_array_equal(image[..., ::-1], images(12)[number])
            assert frame["stamp"] == 100 * SECOND + number * SECOND // 10
        assert frame["file"] in (out / "report.html").read_text()
    assert sorted(p.name for p in (out / "images").iterdir()) == sorted(f["file"] for f in frames)


def test_the_command_goes_on_after_a_stop_and_ends_the_same(
    picked: Path, small_model: Path
) -> None:
    out = picked / "out"
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    frames = json.loads((out / "pick.json").read_text())["frames"]
    (out / "prelabels" / frames[0]["file"]).unlink()
    lines = (out / "candidates.jsonl").read_text().splitlines(keepends=True)
    (out / "candidates.jsonl").write_text("".join(lines[:3]))
    stopped = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    arguments = [
        picked / "bag", picked / "folder", "--model", small_model, "--device", "cpu", "--count", 5,
        "--interval", 0.3, "--label-set", "cityscapes19", "--output", out,
    ]  # fmt: skip
    with locked(out):
        code, said = run(*arguments)
    assert code == 1
    assert "another process is writing" in said
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == stopped
    code, said = run(*arguments)
    assert code == 0, said
    (out / "report.html").write_bytes(before[out / "report.html"])  # names the command line
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    code, said = run(*arguments, "--seed", 1)
    assert code == 1
    assert "other settings" in said


def test_prelabels_of_a_label_set_that_was_changed_are_not_kept(
    tmp_path: Path, small_model: Path, picked: Path
) -> None:
    known, classes = load_label_set("camvid11"), tmp_path / "classes.yaml"
    arguments = [
        picked / "folder", "--model", small_model, "--device", "cpu", "--count", 1, "--label-set",
        classes, "--output", tmp_path / "out",
    ]  # fmt: skip
    save_label_set(known, classes)
    code, said = run(*arguments)
    assert code == 0, said
    turned = [dataclasses.replace(one, id=number) for number, one in enumerate(known.classes[::-1])]
    save_label_set(dataclasses.replace(known, classes=tuple(turned)), classes)
    code, said = run(*arguments)
    assert code == 1
    assert "label_set_sha256" in said.replace("\n", "")
    assert load_label_set(tmp_path / "out/label_set.yaml").classes == known.classes


def test_what_cannot_be_picked_from_is_named(
    tmp_path: Path, small_model: Path, picked: Path
) -> None:
    def refused(*arguments: object) -> str:
        code, said = run(*arguments, "--model", small_model, "--output", tmp_path / "out")
        assert code == 1
        assert not (tmp_path / "out").exists()
        return said

    assert "nothing.mp4" in refused(tmp_path / "nothing.mp4")
    assert "named twice" in refused(picked / "bag", picked / "bag")
    assert "/other" in refused(picked / "bag", "--image", "/other")
    assert "no mapping onto idd_lite" in refused(picked / "bag", "--label-set", "idd_lite")


def test_pixels_that_cannot_be_decoded_are_passed_over_and_told(
    tmp_path: Path, small_model: Path
) -> None:
    for number, picture in enumerate(images(3)):
        cv2.imwrite(str(tmp_path / f"f_{number}.png"), picture)
    (tmp_path / "f_1.png").write_bytes(b"no image")
    out = tmp_path.with_name("out")
    code, said = run(tmp_path, "--model", small_model, "--device", "cpu", "--output", out)
    assert code == 0, said
    assert "f_1.png" in said
    assert len(list((out / "images").iterdir())) == 2
    shutil.rmtree(out)


def test_what_was_looked_at_with_other_settings_is_not_gone_on_with(
    tmp_path: Path, small_model: Path, picked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = ["--model", small_model, "--device", "cpu", "--count", 2, "--output", out]
    score, looked_at = FrameScorer.__call__, iter([False, False, True])

    def stop(*images: object) -> FrameScore:
        if next(looked_at):
            raise KeyboardInterrupt
        return score(*images)

    monkeypatch.setattr(FrameScorer, "__call__", stop)
    assert run(picked / "folder", *arguments)[0] != 0
    monkeypatch.setattr(FrameScorer, "__call__", score)
    assert len((out / "candidates.jsonl").read_text().splitlines()) == 2
    code, said = run(picked / "bag", *arguments)
    assert code == 1
    assert "other settings" in said
    (out / "pick.json").unlink()
    code, said = run(picked / "bag", *arguments)
    assert code == 1
    assert "candidates.jsonl' is of a run without" in said.replace("\n", "")
