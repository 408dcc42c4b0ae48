"""The launch files fit the node.

launch and launch_ros come with a ROS installation only. Where they are missing, what the files
call is recorded; where they are there, they load the files too.
"""

from __future__ import annotations

import importlib.util
import re
import runpy
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from ament_index_python.packages import PackageNotFoundError
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from camss_ros.nodes.messages import to_diagnostic_status
from camss_ros.nodes.projection.interfaces import SUBSCRIBED as PROJECTOR_SUBSCRIBED
from camss_ros.nodes.segmenter.diagnostics import MEASURING, PROCESS
from camss_ros.nodes.segmenter.interfaces import PUBLISHED
from camss_ros.nodes.segmenter.parameters import SPECS
from camss_ros.street.synthetic import SyntheticStreet

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
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
    "launch_ros.parameter_descriptions",
    "launch_ros.ros_adapters",
    "launch_ros.substitutions",
)
SHARED = ("camss_ros.nodes.harness.launch_segmenter", "camss_ros.nodes.harness.launch_projector")


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
        if name == "Event":  # has subclasses
            return object
        if name == "get_ros_node":
            return lambda context: context.node
        return partial(record, name)


def record(kind: str, *args: Any, **kwargs: Any) -> SimpleNamespace:
    return SimpleNamespace(kind=kind, args=args, process_details={"pid": 7}, **kwargs)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, Recording(name))
    # Imported again, with these, and forgotten at the end.
    for name in SHARED:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        del sys.modules[name]


def description(name: str) -> list[Any]:
    return runpy.run_path(str(LAUNCH / name))["generate_launch_description"]().args[0]


def arguments(name: str) -> dict[str, Any]:
    return {e.args[0]: e for e in description(name) if e.kind == "DeclareLaunchArgument"}


class Context(dict[str, str]):
    """The values of the launch arguments, and the namespace that an including file has pushed.

    `node`: in the place of that of launch_ros, whose subscriptions are `callbacks` by their topic.
    `events`: that were emitted.
    """

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.callbacks: dict[str, Any] = {}
        self.events: list[Any] = []
        self.node = SimpleNamespace(
            create_subscription=lambda _, topic, call, qos: self.callbacks.update({topic: call})
        )
        self.asyncio_loop = SimpleNamespace(call_soon_threadsafe=lambda call, *given: call(*given))
        self.emit_event_sync = self.events.append

    @property
    def launch_configurations(self) -> Context:
        return self


def run(name: str, context: Context | None = None, **given: str) -> list[Any]:
    """What the file starts with these arguments."""
    context = Context() if context is None else context
    context.update({n: getattr(a, "default_value", "") for n, a in arguments(name).items()})
    for argument, default in context.items():
        if not isinstance(default, str):  # a path below the share of the package
            context[argument] = str(LAUNCH.parent.joinpath(*default.args[0][1:]))
    context.update(given)
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
@pytest.mark.parametrize("name", sorted(set(FILES) - {"projection.launch.py"}))
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
def test_a_file_of_parameters_that_is_not_there_is_no_reason_for_defaults(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"params_file:=/nowhere.yaml: there is no such file"):
        run("segment.launch.py", params_file="/nowhere.yaml")
    with pytest.raises(ValueError, match="projector_file:="):
        run("projection.launch.py", projector_file=str(tmp_path))


@pytest.mark.usefixtures("recorded")
def test_the_projector_starts_alone_or_with_the_segmenter() -> None:
    (alone,) = nodes(run("projection.launch.py", cloud_from="lidar", points="/top/points"))
    file, given = alone.parameters
    assert file == "projector_file"
    assert given["cloud_from"].value_type is str
    assert dict(alone.remappings)["points"] == "points"
    assert {topic for topic, _ in alone.remappings} <= {e.name for e in PROJECTOR_SUBSCRIBED}
    assert len(nodes(run("segment.launch.py"))) == 1
    both = nodes(run("segment.launch.py", projector="true", namespace="front"))
    assert [node.executable for node in both] == ["segmenter", "projector"]
    assert both[1].parameters == ["projector_file"]
    assert both[1].ros_arguments[1][0] == "front.projector:="
    both = nodes(run("segment.launch.py", projector="true", label_set="camvid11"))
    assert all("label_set" in node.parameters[1] for node in both)
    with pytest.raises(ValueError, match="projector:=perhaps: expected true or false"):
        run("segment.launch.py", projector="perhaps")


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("namespaces", "logger"),
    [
        ({}, "segmenter"),
        ({"namespace": "front"}, "front.segmenter"),
        ({"namespace": "/robot1/front/"}, "robot1.front.segmenter"),
        ({"namespace": "front", "ros_namespace": "/robot1"}, "robot1.front.segmenter"),
        ({"ros_namespace": "/robot1"}, "robot1.segmenter"),
        ({"namespace": "/front", "ros_namespace": "/robot1"}, "front.segmenter"),
    ],
)
def test_the_log_level_is_that_of_the_node_alone(namespaces: dict[str, str], logger: str) -> None:
    (node,) = nodes(run("segment.launch.py", log_level="debug", **namespaces))
    option, (prefix, level) = node.ros_arguments
    assert (option, prefix, level) == ("--log-level", f"{logger}:=", "log_level")


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("name", FILES)
def test_a_log_level_that_rcl_does_not_know_is_refused_by_launch(name: str) -> None:
    assert arguments(name)["log_level"].choices == ["debug", "info", "warn", "error", "fatal"]


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


@pytest.fixture
def evaluation(recorded: None, tmp_path: Path) -> partial[list[Any]]:
    """`run` of evaluate_bag.launch.py with a bag that is there and an output that is not."""
    (tmp_path / "drive").mkdir()
    return partial(
        run, "evaluate_bag.launch.py", bag=str(tmp_path / "drive"), output=str(tmp_path / "masks")
    )


def handlers(entities: list[Any], kind: str) -> list[Any]:
    found = [e.args[0] for e in entities if e.kind == "RegisterEventHandler"]
    return [handler for handler in found if handler.kind == kind]


def at_exit(entities: list[Any], process: Any, code: int, is_shutdown: bool = False) -> list[str]:
    """What follows when a process ends: errors, and the kinds of actions."""
    follows = []
    for handler in handlers(entities, "OnProcessExit"):
        if handler.target_action is process:
            context = SimpleNamespace(is_shutdown=is_shutdown)
            try:
                action = handler.on_exit(SimpleNamespace(returncode=code), context)
            except RuntimeError as error:
                follows.append(str(error))
            else:
                follows += [action.kind] if action else []
    return follows


def reported(entities: list[Any], context: Context, *statuses: DiagnosticStatus) -> list[Any]:
    """What the launch does when /diagnostics say so."""
    (handler,) = handlers(entities, "EventHandler")
    assert handler.handle_once
    context.callbacks["/diagnostics"](DiagnosticArray(status=statuses))
    for event in context.events:
        if handler.matcher(event):
            (entity,) = handler.entities
            return list(entity.function(SimpleNamespace(locals=SimpleNamespace(event=event))))
    return []


def player_of(entities: list[Any], context: Context, node: str = "/segmenter") -> Any:
    """What is started once the node is active."""
    (player,) = reported(entities, context, status_of(node, "active"))
    return player


def status_of(
    node: str, state: str, failure: str = "", measuring: bool = False, process: int = 7
) -> DiagnosticStatus:
    values = {"state": state, MEASURING: measuring, PROCESS: process}
    level = 2 if failure else 0
    return to_diagnostic_status(f"{node}: segmentation", level, failure or state, values)


def test_a_bag_is_played_to_the_active_node_and_its_outputs_recorded(
    evaluation: partial[list[Any]],
) -> None:
    context = Context()
    entities = evaluation(context=context, namespace="front")
    (recorder,) = (entity for entity in entities if entity.kind == "ExecuteProcess")
    assert recorder.cmd[:3] == ["ros2", "bag", "record"]
    assert {e.resolved(namespace="/front") for e in PUBLISHED} <= set(recorder.cmd)
    (node,) = nodes(entities)
    others = status_of("/left/segmenter", "active"), status_of("/front/segmenter_2", "active")
    waiting = (
        status_of("/front/segmenter", "unconfigured"),
        status_of("/front/segmenter", "inactive"),
        status_of("/front/segmenter", "active", measuring=True),
        status_of("/front/segmenter", "active", "no image for 10.0 s", measuring=True),
    )
    assert reported(entities, context, *others, *waiting) == []
    player = player_of(entities, context, "/front/segmenter")
    assert player.cmd[:3] == ["ros2", "bag", "play"]
    assert "--clock" in player.cmd
    # a second Shutdown would be an error of launch_ros
    for process in (recorder, node, player):
        assert at_exit(entities, process, 0, is_shutdown=True) == []
        assert at_exit(entities, process, 1, is_shutdown=True) == []
    assert at_exit(entities, player, 0) == ["TimerAction"]


@pytest.mark.parametrize("distribution", ["humble", "jazzy", "lyrical"])
def test_the_recorder_of_every_distribution_takes_the_topics(
    evaluation: partial[list[Any]], monkeypatch: pytest.MonkeyPatch, distribution: str
) -> None:
    monkeypatch.setenv("ROS_DISTRO", distribution)
    (recorder,) = (entity for entity in evaluation() if entity.kind == "ExecuteProcess")
    first = recorder.cmd.index("/segmentation/mask")
    assert (recorder.cmd[first - 1] == "--topics") == (distribution != "humble")
    assert set(recorder.cmd[first:]) == {endpoint.resolved() for endpoint in PUBLISHED}


def test_of_the_bag_only_what_the_segmenter_reads_is_played(
    evaluation: partial[list[Any]],
) -> None:
    """Masks and /diagnostics of an earlier node, in the bag as well, would be recorded too."""
    context = Context()
    entities = evaluation(context=context, namespace="front", image="/cam/image")
    played = player_of(entities, context, "/front/segmenter").cmd
    expected = ["/cam/image", "/cam/image/compressed", "/front/camera_info"]
    assert played[played.index("--topics") + 1 :] == expected


def test_all_masks_are_recorded(evaluation: partial[list[Any]]) -> None:
    entities = evaluation(namespace="front")
    assert any(
        e.kind == "SetEnvironmentVariable" and e.args[1].endswith("fastdds_large_images.xml")
        for e in description("evaluate_bag.launch.py")
    )
    (node,) = nodes(entities)
    assert node.parameters[1]["output_qos"] == "default"  # reliable, and a queue
    (recorder,) = (entity for entity in entities if entity.kind == "ExecuteProcess")
    option = recorder.cmd.index("--qos-profile-overrides-path")
    file = Path(recorder.cmd[option + 1])
    profiles = yaml.safe_load(file.read_text())
    assert {"/front/segmentation/mask", "/front/segmentation/overlay"} <= set(profiles)
    assert "/front/segmentation/status" not in profiles  # latched, as it is
    for profile in profiles.values():
        assert profile["reliability"] == "reliable"
        assert profile["depth"] >= 1000
    (ended,) = handlers(entities, "OnShutdown")
    ended.on_shutdown(None, None)
    assert not file.exists()


def test_no_image_before_and_after_the_bag_is_no_warning(evaluation: partial[list[Any]]) -> None:
    context = Context()
    entities = evaluation(context=context)
    (node,) = nodes(entities)
    player = player_of(entities, context)
    delay = float(player.cmd[player.cmd.index("--delay") + 1])
    assert node.parameters[1]["warn_no_image"] >= 2 * delay
    assert node.parameters[1].keys() >= {"use_sim_time", "output_qos"}


def test_the_evaluation_ends_when_a_part_of_it_fails(evaluation: partial[list[Any]]) -> None:
    context = Context()
    entities = evaluation(context=context)
    (recorder,) = (entity for entity in entities if entity.kind == "ExecuteProcess")
    (node,) = nodes(entities)
    player = player_of(entities, context)
    for process, code in ((recorder, 1), (recorder, 0), (node, 0), (player, 1)):
        (error,) = at_exit(entities, process, code)
        assert f"exit code {code}" in error
    context = Context()
    entities = evaluation(context=context)
    failed = status_of("/segmenter", "unconfigured", "cannot configure: no model 'x'")
    with pytest.raises(RuntimeError, match="is not active: cannot configure: no model 'x'"):
        reported(entities, context, failed)


def test_another_node_of_the_same_name_is_told(evaluation: partial[list[Any]]) -> None:
    context = Context()
    entities = evaluation(context=context)
    with pytest.raises(RuntimeError, match="there is another /segmenter: end it, or"):
        reported(entities, context, status_of("/segmenter", "active", process=8))


def test_the_evaluation_is_of_one_camera_whatever_the_file_says(
    evaluation: partial[list[Any]],
) -> None:
    (node,) = nodes(evaluation())
    assert node.parameters[1]["cameras"] == [""]


def test_what_the_evaluation_cannot_do_is_told_before_it_starts(
    evaluation: partial[list[Any]], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"output:=.* exists already"):
        evaluation(output=str(tmp_path))
    with pytest.raises(ValueError, match="bag:=nowhere: there is no"):
        evaluation(bag="nowhere")
    with pytest.raises(ValueError, match="rate:=fast: expected a number"):
        evaluation(rate="fast")


@pytest.mark.usefixtures("recorded")
def test_the_demo_starts_camera_segmenter_and_rviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ament_index_python.packages.get_package_prefix", str)
    entities = run("demo.launch.py", namespace="front", image="camera/image")
    found = {n.executable: n for n in nodes(entities)}
    street = {"projector", "static_transform_publisher"}
    assert set(found) == {"segmenter", "video_publisher", "rviz2"} | street
    (profile,) = (e for e in entities if e.kind == "SetEnvironmentVariable")
    assert profile.args[1].endswith("fastdds_large_images.xml")
    assert found["rviz2"].namespace == found["video_publisher"].namespace
    assert found["rviz2"].remappings == found["video_publisher"].remappings


@pytest.mark.usefixtures("recorded")
def test_the_demo_does_without_rviz(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("ament_index_python.packages.get_package_prefix", missing)
    entities = run("demo.launch.py")
    assert "rviz2" not in {n.executable for n in nodes(entities)}
    (told,) = (e for e in entities if e.kind == "LogInfo")
    assert "rviz2 is not installed" in told.msg
    assert not [e for e in run("demo.launch.py", rviz="false") if e.kind == "LogInfo"]


@pytest.mark.usefixtures("recorded")
def test_the_demo_has_a_projector_where_the_depth_is_known(tmp_path: Path) -> None:
    def started(path: str) -> dict[str, Any]:
        return {n.executable: n for n in nodes(run("demo.launch.py", path=path, rviz="false"))}

    street, video = started("synthetic:fog"), started("drive.mp4")
    assert street["video_publisher"].parameters[0]["depth"] is True
    arguments = street["static_transform_publisher"].arguments
    height = float(arguments[arguments.index("--z") + 1])
    assert height == pytest.approx(SyntheticStreet().camera(0).y, abs=0.02)
    assert set(video) == {"segmenter", "video_publisher"}
    assert video["video_publisher"].parameters[0]["depth"] is False


@pytest.mark.usefixtures("recorded")
def test_the_demo_ends_when_a_part_of_it_fails() -> None:
    entities = run("demo.launch.py", rviz="false")
    found = {n.executable: n for n in nodes(entities)}
    (error,) = at_exit(entities, found["video_publisher"], 1)
    assert "video_publisher has ended with exit code 1" in error
    assert at_exit(entities, found["video_publisher"], 0) == []  # the end of the video
    assert len(at_exit(entities, found["segmenter"], 1)) == 1
    entities = run("demo.launch.py", rviz="false", respawn="true")
    found = {n.executable: n for n in nodes(entities)}
    assert at_exit(entities, found["segmenter"], 1) == []


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        ("segment.launch.py", "steps", "abc"),
        ("segment.launch.py", "steps", "1.5"),
        ("segment.launch.py", "use_sim_time", "maybe"),
        ("segment.launch.py", "respawn", "2"),
        ("demo.launch.py", "rate", "fast"),
        ("demo.launch.py", "loop", "often"),
        ("demo.launch.py", "rviz", "[true"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(name: str, argument: str, value: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{argument}:={value}: expected")):
        run(name, **{argument: value})


@pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="no launch_ros")
@pytest.mark.parametrize("name", FILES)
def test_launch_loads_it(name: str) -> None:
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchContext

    source = PythonLaunchDescriptionSource(str(LAUNCH / name))
    loaded = source.get_launch_description(LaunchContext()).get_launch_arguments()
    of_node = {"projector_file"} if name == "projection.launch.py" else {"params_file", "model"}
    assert {"namespace"} | of_node <= {a.name for a in loaded}
    assert all(argument.description != "no description given" for argument in loaded)
