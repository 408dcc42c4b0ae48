"""`camss-ros mount` on a bag of the synthetic street."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from camss_ros.bags.make_bag import make_bag
from camss_ros.cli import app
from camss_ros.images.label_sets import LabelSet, load_label_set, save_label_set
from camss_ros.street import street_frames
from camss_ros.street.street_frames import open_street
from camss_ros.street.synthetic import SyntheticStreet


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every 40th frame of a drive, with its labels."""

    class Sparse(SyntheticStreet):
        def __init__(self, variant: str = "day") -> None:
            super().__init__(1, "day", 240, 320)

        def frame(self, i: int, *shift: object) -> tuple:
            return super().frame(40 * i)

    path = tmp_path_factory.mktemp("bag") / "street"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(street_frames, "SyntheticStreet", Sparse)
        make_bag(open_street("", load_label_set("camvid11"), True), path, limit=10)
    return path


def run(bag: Path, *options: str) -> tuple[int, str]:
    topics = ("--image", "/camera/image", "--camera-info", "/camera/camera_info")
    result = CliRunner().invoke(app, ["mount", str(bag), *topics, "--every", "1", *options])
    return result.exit_code, result.output


def test_it_tells_the_angles_and_how_sure_they_are(bag: Path) -> None:
    code, output = run(bag, "--labels", "/camera/label", "--label-set", "camvid11")
    assert code == 0, output
    found = re.search(r"pitch ([+-][\d.]+) \+- ([\d.]+) degrees", output)
    assert found is not None, output
    assert abs(float(found[1])) < 0.5
    assert 0 < float(found[2]) < 1.0
    assert "roll  not known" in output
    assert re.search(r"mount: \[HEIGHT, -?[\d.]+, 0\.0\]", output)


def test_void_is_what_the_label_set_says(bag: Path, tmp_path: Path) -> None:
    few = load_label_set("camvid11").classes[:4]
    assert [each.name for each in few] == ["sky", "building", "pole", "road"]
    save_label_set(LabelSet("few", few), tmp_path / "few.yaml")
    options = ("--labels", "/camera/label", "--label-set", str(tmp_path / "few.yaml"))
    code, output = run(bag, *options)
    assert code == 1
    assert "passed over: 10 x /camera/label: values" in output
    text = (tmp_path / "few.yaml").read_text()
    void = "file_values: [4, 5, 6, 7, 8, 9, 10, 11, 255]"
    (tmp_path / "few.yaml").write_text(text.replace("file_values: [255]", void))
    code, output = run(bag, *options)
    assert code == 0, output
    assert "passed over" not in output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--labels", "/nowhere"), "topic /nowhere is not there"),
        (("--drivable", "raod", "--label-set", "camvid11"), "'raod' is no class"),
    ],
)
def test_what_cannot_be_is_said(bag: Path, options: tuple[str, ...], said: str) -> None:
    code, output = run(
        bag, *options, *(("--label-set", "camvid11") if "--drivable" in options else ())
    )
    assert code == 1
    assert said in output.replace("\n", " ")
