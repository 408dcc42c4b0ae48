"""What README and docs show works: blocks are run, command lines and parameters are known.

A block is run as its reader would, in a folder with small data under the names that the pages use,
page by page. What cannot run here has a comment with the reason before it,
`<!-- not run: needs a ROS installation -->`; its `camss-ros` lines must still parse.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from doc_blocks import ROOT, Block, blocks_of, code_spans, headings, links, pages
from typer.testing import CliRunner

from camss_ros.cli import app
from camss_ros.images.label_mapping import map_classes
from camss_ros.images.label_sets import load_label_set
from camss_ros.images.video_writer import VideoWriter
from camss_ros.nodes.parameter_table import ParameterSpec
from camss_ros.nodes.projection import parameters as projector
from camss_ros.nodes.segmenter.parameters import SPECS
from camss_ros.street.synthetic import random_scene

SHELL = ("sh", "bash")
# Diagrams, output and files of other programs.
SHOWN = ("text", "mermaid", "xml", "dockerfile")
SIZE = (64, 96)

every_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video, data sets and checkpoints of the names in the pages, all of them tiny."""
    root = tmp_path_factory.mktemp("docs")
    frames = [random_scene(seed, *SIZE) for seed in range(2)]
    with VideoWriter(root / "drive.mp4", 10.0) as video:
        for image, _ in frames:
            video.write(image)

    def save(path: str, pixels: np.ndarray) -> None:
        (root / "DATA" / path).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / "DATA" / path), pixels)

    for number, (image, labels) in enumerate(frames):
        ids = np.where(labels == 255, 0, 7).astype(np.uint8)  # of Cityscapes: unlabeled, road
        for split in ("train", "val"):
            name = f"city_{number:06d}_000019"
            save(f"camvid/{split}/images/{number}.png", image[..., ::-1])
            save(f"camvid/{split}/labels/{number}.png", labels)
            city = f"cityscapes/leftImg8bit/{split}/city/{name}_leftImg8bit.png"
            save(city, image[..., ::-1])
            save(f"cityscapes/gtFine/{split}/city/{name}_gtFine_labelIds.png", ids)
            for condition in ("fog", "night", "rain", "snow"):
                place = f"{condition}/{split}/GP/{number}"
                save(f"acdc/rgb_anon/{place}_rgb_anon.png", image[..., ::-1])
                save(f"acdc/gt/{place}_gt_labelIds.png", ids)
    for name in ("modelf16.ckpt", "city768.16.pth"):  # only looked for
        (root / name).touch()
    return root


@pytest.fixture
def scratch(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_pytorch: None
) -> Path:
    """The working directory of a page."""
    shutil.copytree(sources, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines_of(block: Block) -> list[str]:
    """The lines of a shell block, with those that continue others joined to them."""
    return block.text.replace("\\\n", " ").splitlines()


def commands_of(line: str) -> Iterator[list[str]]:
    """The words of each command in a line, without its comment."""
    words = shlex.split(line, comments=True)
    for is_end, command in groupby(words, lambda word: word in ("&&", "||", ";", "|")):
        if not is_end:
            yield list(command)


def arguments_of(command: list[str]) -> list[str] | None:
    """The arguments of `camss-ros`, whatever it is started by; None for another command."""
    for name in ("camss-ros", "camss_ros.cli"):
        if name in command:
            return command[command.index(name) + 1 :]
    return None


@pytest.fixture(scope="module")
def parse() -> Callable[[list[str]], None]:
    """Parses the arguments of `camss-ros`, and does nothing with them."""
    root = typer.main.get_command(app)
    pending: list[Any] = [root]
    while pending:
        command = pending.pop()
        commands = list(getattr(command, "commands", {}).values())
        pending += commands
        if not commands:
            command.callback = lambda **_: None
    return lambda arguments: root.main(arguments, prog_name="camss-ros", standalone_mode=False)


def check_parameters(values: dict[str, Any], table: Sequence[ParameterSpec] = SPECS) -> None:
    specs = {spec.name: spec for spec in table}
    for name, value in values.items():
        if name == "use_sim_time":
            assert isinstance(value, bool)
            continue
        assert name in specs, f"the node has no parameter {name}"
        spec = specs[name]
        assert type(value) is type(spec.initial()), f"{name}: {value!r} is of another type"
        assert not spec.problem(value)
        if spec.bounds is not None and not isinstance(value, list):
            assert spec.bounds[0] <= value <= spec.bounds[1], f"{name}: {value} out of range"


def run_yaml(block: Block, folder: Path) -> None:
    """Parameters of the node, or a label set."""
    if "classes" in block.data:
        path = folder / "label_set.yaml"
        path.write_text(block.text)
        target = load_label_set(path)
        for source in target.sources:
            map_classes(load_label_set(source).classes, "camss-tiny", str(path))
        return
    tables = {"segmenter": SPECS, "**": SPECS, "projector": projector.SPECS}
    for node, content in block.data.items():
        assert node.strip("/") in tables, f"{block}: of what node? Mark it"
        check_parameters(content["ros__parameters"], tables[node.strip("/")])


def run_shell(block: Block) -> None:
    for line in lines_of(block):
        commands = [arguments_of(command) for command in commands_of(line)]
        if None in commands:
            subprocess.run(["bash", "-ec", line], check=True, timeout=300)
            continue
        for arguments in commands:  # in this process: PyTorch is imported once
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}"


def run_python(block: Block) -> None:
    image = random_scene(0, *SIZE)[0]
    exec(compile(block.text, str(block), "exec"), {"image": image})


@every_page
def test_what_can_run_here_runs(page: Path, scratch: Path) -> None:
    for block in blocks_of(page):
        assert block.mark != "", f"{block}: not run without a reason"
        if block.mark or block.language in SHOWN:
            continue
        try:
            if block.language in SHELL:
                run_shell(block)
            elif block.language == "python":
                run_python(block)
            elif block.language == "yaml":
                run_yaml(block, scratch)
            else:
                raise AssertionError(f"no way to run {block.language}")
        except Exception as error:
            raise AssertionError(f"{block}: {error}") from error


@every_page
def test_what_is_not_run_can_at_least_be_read(
    page: Path, scratch: Path, parse: Callable[[list[str]], None]
) -> None:
    for block in blocks_of(page):
        try:
            if block.language in SHELL:
                for command in (c for line in lines_of(block) for c in commands_of(line)):
                    if (arguments := arguments_of(command)) is not None:
                        parse(arguments)
            elif block.language == "python":
                compile(block.text, str(block), "exec")
            elif block.language == "yaml":
                assert isinstance(block.data, dict)
            elif block.language == "xml":
                ElementTree.fromstring(block.text)
        except Exception as error:
            raise AssertionError(f"{block}: {error}") from error


@every_page
def test_commands_in_the_text_have_the_options_that_it_names(page: Path) -> None:
    for span in code_spans(page):
        arguments = arguments_of(re.split(r"[\s=]+", span))
        if arguments is None or not span.startswith("camss-ros"):
            continue
        command: Any = typer.main.get_command(app)
        for word in arguments:
            if word.startswith("--"):
                known = {option for parameter in command.params for option in parameter.opts}
                assert word in known | {"--help"}, f"{page.name}: `{span}`"
            elif hasattr(command, "commands"):
                assert word in command.commands, f"{page.name}: `{span}`"
                command = command.commands[word]


@every_page
def test_python_files_that_are_named_are_there(page: Path) -> None:
    of_others = {"helpers/labels.py", "data/acdc.py", "data/cadedgetune.py"}
    for span in code_spans(page):
        if re.fullmatch(r"[\w/.]+\.py", span) and span not in of_others:
            places = [ROOT / span, *ROOT.glob(f"[clt]*/**/{span}")]  # camss_ros, launch, test
            assert any(place.is_file() for place in places), f"{page.name}: `{span}`"


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in headings(target), f"{page.name}: {link}"


def test_a_mark_belongs_to_the_block_after_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: long -->\n```sh\na\n```\n<!-- not run: -->\n```\nb\n```\n\n    c\n"
    )
    found = [(block.language, block.text, block.mark) for block in blocks_of(page)]
    assert found == [("sh", "a\n", "long"), ("sh", "b\n", ""), ("sh", "c\n", None)]


def test_a_broken_line_is_found(parse: Callable[[list[str]], None]) -> None:
    text = "A=b camss-ros info \\\n  --modle camss-tiny && true  # a slip\n"
    (line,) = lines_of(Block(ROOT / "page.md", 1, "sh", text, None))
    command, _ = commands_of(line)
    arguments = arguments_of(command)
    assert arguments == ["info", "--modle", "camss-tiny"]
    with pytest.raises(Exception, match="--modle"):
        parse(arguments)
    with pytest.raises(AssertionError, match="no parameter stepz"):
        check_parameters({"stepz": 4})
