"""The build files agree with each other, and the built messages are there."""

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import camss_ros

ROOT = Path(__file__).resolve().parents[1]


def pins(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("==") for line in lines if line and line[0] not in "#-")


def test_package_xml_has_the_version_of_the_python_package() -> None:
    version = ElementTree.parse(ROOT / "package.xml").findtext("version")
    assert version == camss_ros.__version__


def test_every_requirement_is_pinned_to_its_constraint() -> None:
    constraints = pins(ROOT / "requirements" / "constraints.txt")
    for name in ("core", "ros", "train", "eval", "dev"):
        for package, version in pins(ROOT / "requirements" / f"{name}.txt").items():
            assert constraints[package] == version, f"{name}.txt: {package}"


def test_the_checkout_and_the_built_messages_are_one_package() -> None:
    from camss_ros.msg import SegmenterStatus

    from camss_ros import cli

    assert Path(cli.__file__).is_relative_to(ROOT)
    assert "latency" in SegmenterStatus.get_fields_and_field_types()


def test_the_wrapper_passes_arguments_and_exit_code_on() -> None:
    wrapper = ROOT / "scripts" / "in_workspace"
    result = subprocess.run(
        [wrapper, "sh", "-c", 'echo "$1"; exit 3', "sh", "two words"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (3, "two words\n")
