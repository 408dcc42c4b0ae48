"""`camss-ros mount` on a bag of the synthetic street."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from camss_ros.bags.bag import Bag
from camss_ros.bags.bag_types import IMAGE, ros2_types
from camss_ros.bags.bag_writer import BagWriter
from camss_ros.bags.make_bag import make_bag
from camss_ros.cli import app
from camss_ros.images.label_sets import load_label_set
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--labels", "/nowhere"), "topic /nowhere is not there"),
        (("--drivable", "raod"), "'raod' is no class"),
        (("--label-set", "camvid11"), "give their --labels too"),
        # 0 is the sky there, and the road of the model
        (("--labels", "/camera/label"), "sky, building, pole"),
    ],
)
def test_what_cannot_be_is_said(bag: Path, options: tuple[str, ...], said: str) -> None:
    code, output = run(bag, *options)
    assert code == 1
    assert said in output.replace("\n", " ")


def test_labels_have_the_void_of_their_label_set_and_what_is_none_is_told(
    bag: Path, tmp_path: Path
) -> None:
    options = ("--labels", "/camera/label", "--label-set", "camvid11")
    for void, other in ((11, "raw"), (77, "strange")):
        with Bag(bag) as source, BagWriter(tmp_path / other) as made:
            topics = {it.name: made.add_topic(it.name, it.type) for it in source.topics}
            for message in source.messages():
                data = message.data
                if message.topic == "/camera/label":
                    label = source.decode(message)
                    label.data = np.append(np.full(320, void, np.uint8), label.data[320:])
                    data = ros2_types().serialize_cdr(label, IMAGE)
                made.write_raw(topics[message.topic], data, message.log_time)
    code, output = run(tmp_path / "raw", *options)
    assert code == 0, output
    code, output = run(tmp_path / "strange", *options)
    assert code == 1
    assert "the values 77 are no classes" in output.replace("\n", " ")
