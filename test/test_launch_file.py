"""The launch files fit the node.

launch and launch_ros come with a ROS installation only. Where they are missing, what the files
call is recorded; where they are there, they load the files too.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from camss_ros.nodes.interfaces import PUBLISHED
from camss_ros.nodes.parameters import SPECS

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
FILES = sorted(path.name for path in LAUNCH.glob("*.launch.py"))
MODULES = (
    "launch",
    "launch.actions",
    "launch.conditions",
    "launch.event_handlers",
    "launch.events",
    "launch.events.process",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
    "launch_ros.event_handlers",
    "launch_ros.parameter_descriptions",
    "launch_ros.substitutions",
)
SHARED = "camss_ros.nodes.launch_segmenter"


class Configuration(str):
    """A LaunchConfiguration: its name, or its value in a context."""

    def perform(self, context: dict[str, str]) -> str:
        return context[self]


class Recording(ModuleType):
    """Stands in for a module: whatever is made of its classes is a record of the call."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "LaunchConfiguration":
            return Configuration
        return partial(record, name)


def record(kind: str, *args: Any, **kwargs: Any) -> SimpleNamespace:
    return SimpleNamespace(kind=kind, args=args, **kwargs)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, Recording(name))
    # Imported again, with these, and forgotten at the end.
    monkeypatch.setitem(sys.modules, SHARED, ModuleType(SHARED))
    del sys.modules[SHARED]


def description(name: str) -> list[Any]:
    return runpy.run_path(str(LAUNCH / name))["generate_launch_description"]().args[0]


def arguments(name: str) -> dict[str, Any]:
    return {e.args[0]: e for e in description(name) if e.kind == "DeclareLaunchArgument"}


def run(name: str, **given: str) -> list[Any]:
    """What the file starts with these arguments."""
    context = {n: getattr(a, "default_value", "") for n, a in arguments(name).items()} | given
    entities: list[Any] = []
    for entity in description(name):
        if entity.kind == "OpaqueFunction":
            entities += entity.function(context)
        elif entity.kind != "DeclareLaunchArgument":
            entities.append(entity)
    return entities


def nodes(entities: list[Any]) -> list[Any]:
    return [entity for entity in entities if entity.kind in ("Node", "LifecycleNode")]


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_described(name: str) -> None:
    for argument in arguments(name).values():
        assert argument.description.endswith("."), argument.args


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("name", FILES)
def test_arguments_of_parameters_tell_default_and_values_of_the_code(name: str) -> None:
    specs = {spec.name: spec for spec in SPECS}
    # `cameras` of multi_camera.launch.py has to be given
    found = {n: a for n, a in arguments(name).items() if n in specs and n != "cameras"}
    assert {"model", "device", "backend", "precision", "steps"} <= set(found)
    for argument_name, argument in found.items():
        spec = specs[argument_name]
        assert argument.default_value == ""  # as in params_file, which has the defaults
        assert argument.description.startswith(spec.description)
        default = spec.default if spec.default != "" else '""'
        assert argument.description.endswith(f"else {default}.")
        assert all(choice in argument.description for choice in spec.choices)


@pytest.mark.usefixtures("recorded")
def test_only_given_arguments_override_the_file() -> None:
    (node,) = nodes(run("segment.launch.py"))
    assert node.parameters == ["params_file"]
    (node,) = nodes(run("segment.launch.py", steps="2", use_sim_time="true", namespace="front"))
    _, given = node.parameters
    assert {name: value.value_type for name, value in given.items()} == {
        "steps": int,
        "use_sim_time": bool,
    }
    assert (node.package, node.executable, node.namespace) == (
        "camss_ros",
        "segmenter",
        "namespace",
    )
    assert dict(node.remappings)["image/compressed"] == ["", "image", "/compressed"]
    assert node.respawn == "respawn"
    assert arguments("segment.launch.py")["respawn"].default_value == "false"


@pytest.mark.usefixtures("recorded")
def test_one_segmenter_has_all_cameras() -> None:
    (node,) = nodes(run("multi_camera.launch.py", cameras="[front, rig/left]", steps="2"))
    _, given = node.parameters
    assert given["cameras"] == ["front", "rig/left"]
    assert given["steps"].value_type is int
    remapped = {name: "".join(parts) for name, parts in node.remappings}
    # what the names of launch arguments stand for is their values
    assert remapped["front/image"] == "front/image"
    assert remapped["rig/left/image/compressed"] == "rig/left/image/compressed"
    assert remapped["rig/left/camera_info"] == "rig/left/camera_info"
    assert len(remapped) == 6


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("cameras", ["", "front", "[]", "[1]", "[a", "['']"])
def test_what_is_no_list_of_cameras_is_refused_with_an_example(cameras: str) -> None:
    with pytest.raises(ValueError, match=r"expected a list .* such as"):
        run("multi_camera.launch.py", cameras=cameras)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("cameras", ["[front, front]", "[a//b]", "[/front]", "[9]", "[left-front]"])
def test_a_bad_camera_name_is_refused(cameras: str) -> None:
    with pytest.raises(ValueError, match=r"cameras:=\["):
        run("multi_camera.launch.py", cameras=cameras)


@pytest.mark.usefixtures("recorded")
def test_cameras_do_not_share_a_topic() -> None:
    with pytest.raises(ValueError, match="such as image:=image_raw"):
        run("multi_camera.launch.py", cameras="[front, left]", image="/camera/image_raw")


@pytest.mark.usefixtures("recorded")
def test_a_bag_is_played_to_the_active_node_and_its_outputs_recorded() -> None:
    entities = run("evaluate_bag.launch.py", namespace="front")
    (recorder,) = (entity for entity in entities if entity.kind == "ExecuteProcess")
    assert recorder.cmd[:3] == ["ros2", "bag", "record"]
    assert {e.resolved(namespace="/front") for e in PUBLISHED} <= set(recorder.cmd)
    handlers = [e.args[0] for e in entities if e.kind == "RegisterEventHandler"]
    (activated,) = (handler for handler in handlers if handler.kind == "OnStateTransition")
    (node,) = nodes(entities)
    assert activated.target_lifecycle_node is node
    assert activated.goal_state == "active"
    (player,) = activated.entities
    assert player.cmd[:4] == ["ros2", "bag", "play", "bag"]
    assert "--clock" in player.cmd
    assert set(node.parameters[1]) == {"use_sim_time"}
    exits = {id(h.target_action): h.on_exit for h in handlers if h.kind == "OnProcessExit"}
    assert set(exits) == {id(player), id(node)}
    for on_exit in exits.values():
        assert on_exit(None, SimpleNamespace(is_shutdown=False)).kind in (
            "TimerAction",
            "EmitEvent",
        )
        # a second Shutdown would be an error of launch_ros
        assert on_exit(None, SimpleNamespace(is_shutdown=True)) is None


@pytest.mark.usefixtures("recorded")
def test_the_demo_starts_camera_segmenter_and_rviz() -> None:
    entities = run("demo.launch.py")
    assert {n.executable for n in nodes(entities)} == {"segmenter", "video_publisher", "rviz2"}
    (profile,) = (e for e in entities if e.kind == "SetEnvironmentVariable")
    assert profile.args[1].endswith("fastdds_large_images.xml")


@pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="no launch_ros")
@pytest.mark.parametrize("name", FILES)
def test_launch_loads_it(name: str) -> None:
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchContext

    source = PythonLaunchDescriptionSource(str(LAUNCH / name))
    loaded = source.get_launch_description(LaunchContext()).get_launch_arguments()
    assert {"namespace", "image", "params_file", "model"} <= {a.name for a in loaded}
    assert all(argument.description != "no description given" for argument in loaded)
