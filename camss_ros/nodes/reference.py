"""The pages docs/parameters.md, docs/topics.md and docs/projector.md, from the declarations.

python -m camss_ros.nodes.reference docs
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from camss_ros.nodes.endpoints import ROS_PUBLISHED, ROS_SERVICES, ROS_SUBSCRIBED, Endpoint
from camss_ros.nodes.harness.video_publisher import SPECS as PLAYER_SPECS
from camss_ros.nodes.parameter_table import Change, ParameterSpec
from camss_ros.nodes.projection import interfaces as projector
from camss_ros.nodes.projection import parameters as projector_parameters
from camss_ros.nodes.segmenter.interfaces import PUBLISHED, SERVICES, SUBSCRIBED
from camss_ros.nodes.segmenter.parameters import SPECS

_ORIGIN = "<!-- Written by `make docs`: change {source} instead. -->\n"

_GROUPS = {
    Change.ALWAYS: (
        "Dynamic",
        "May change at any time; the next frame is made with the new value.",
    ),
    Change.RELOAD: (
        "When a model is loaded",
        "May be set at any time; takes effect when a model is loaded: at configuration or by "
        "`~/reload_model`.",
    ),
    Change.UNCONFIGURED: (
        "While unconfigured",
        "Refused, with the reason, unless the node is unconfigured: `ros2 lifecycle set "
        "/{node} deactivate`, then `cleanup`,\nand afterwards `configure` and `activate`.",
    ),
    Change.NEVER: (
        "Read-only",
        "Set at start only; a later attempt is refused as read-only.",
    ),
}

# Of those that no parameter chooses.
_QOS = {
    "latched": "reliable, transient local, depth 1",
    "reliable": "reliable, volatile, depth 10",
    "ros": "as ROS has it",
}


def parameters_page() -> str:
    """docs/parameters.md."""
    page = [
        "# Parameters of `segmenter`\n",
        _ORIGIN.format(source="`camss_ros/nodes/segmenter/parameters.yaml`"),
        "`ros2 param describe /segmenter NAME` tells the same of a running node. A bad value is "
        "refused with the reason,\nand all values stay as they were. `config/segmenter.yaml` has "
        "every parameter at its default: copy it and\ngive it to the launch files as "
        "`params_file:=PATH`. In a file `segmenter` is the node without a\nnamespace alone, "
        "`/front/segmenter` the one in `/front`, `/**` any. Besides these there is `use_sim_time` "
        "(bool,\nfalse) of every ROS node: the time is taken from `/clock`.\n",
    ]
    player = [
        "## Of `video_publisher`\n",
        "Which stands in for a camera: `ros2 run camss_ros video_publisher --ros-args -p "
        "path:=drive.mp4`. It publishes\n`image` or `image/compressed`, `camera_info`, and with "
        "`depth` `depth/image` and `depth/camera_info`, as `sensor_data`.\nSet at start only.\n",
        _parameter_table(PLAYER_SPECS),
    ]
    return "\n".join([*page, *_parameter_tables("segmenter", SPECS), *player])


def projector_page() -> str:
    """docs/projector.md."""
    columns = ("topic", "type", "quality of service", "")
    return "\n".join(
        [
            "# Topics and parameters of `projector`\n",
            _ORIGIN.format(
                source="`camss_ros/nodes/projection/interfaces.yaml` and `parameters.yaml`"
            ),
            "What it is for, and how: [projection.md](projection.md). Names are relative to the "
            "node's namespace and can be remapped.\nSubscriptions exist while the node is active, "
            "publishers while it is configured. With several [cameras](cameras.md) all\nbut "
            "`points`, `odometry` and what is made of `points` exist for each, below its name: "
            "`front/segmentation/mask`.\nTF comes by `/tf` and `/tf_static`, while the node is "
            "configured. `config/projector.yaml` has every parameter at its\ndefault.\n",
            "## Subscribed\n",
            _table(columns, map(_row, projector.SUBSCRIBED)),
            "## Published\n",
            _table(columns, map(_row, projector.PUBLISHED)),
            *_parameter_tables("projector", projector_parameters.SPECS),
        ]
    )


def _parameter_tables(node: str, specs: Sequence[ParameterSpec]) -> list[str]:
    page: list[str] = []
    for change, (title, explanation) in _GROUPS.items():
        changed_then = [spec for spec in specs if spec.change is change]
        if changed_then:
            page += [
                f"## {title}\n",
                f"{explanation.format(node=node)}\n",
                _parameter_table(changed_then),
            ]
    return page


def _parameter_table(specs: Sequence[ParameterSpec]) -> str:
    columns = ("parameter", "type", "default", "values", "description")
    rows = [
        (
            f"`{spec.name}`",
            spec.type_name(),
            f"`{_literal(spec.initial())}`",
            _range(spec),
            spec.description,
        )
        for spec in specs
    ]
    return _table(columns, rows)


def topics_page() -> str:
    """docs/topics.md."""
    columns = ("topic", "type", "quality of service", "")
    return "\n".join(
        [
            "# Topics and services of `segmenter`\n",
            _ORIGIN.format(source="`camss_ros/nodes/segmenter/interfaces.yaml`"),
            "Names are relative to the node's namespace and can be remapped; `~` is the node's "
            "name, `/segmenter`.\nStamp and frame_id of what is published for an image are the "
            "image's. Subscriptions exist while the\nnode is active and enabled, publishers below "
            "`segmentation/` while it is configured. With several\n[cameras](cameras.md) the "
            "inputs and what is below `segmentation/` exist for each, below its name:\n"
            "`front/image`, `front/segmentation/mask`.\n",
            "## Subscribed\n",
            _table(columns, map(_row, SUBSCRIBED)),
            "## Published\n",
            _table(columns, map(_row, PUBLISHED)),
            "## Services\n",
            _table(("service", "type", ""), map(_row, SERVICES)),
            "## Quality of service\n",
            "`image_qos` and `output_qos` name a profile ([parameters.md](parameters.md)): "
            "`sensor_data` (best effort,\nvolatile, depth 5: for subscriptions, it receives from "
            "every publisher), `system_default` (what the DDS\nimplementation has: of Fast DDS and "
            "Cyclone DDS depth 1, and reliable for publishers; transient local for\nthose of Fast "
            "DDS) and `default` (reliable, volatile, depth 10). A publisher that does not "
            "match is\nnamed in the log, of a subscriber the topic, with the parameter that mends "
            "it.\n",
            "## Of every lifecycle node\n",
            _table(columns, map(_row, (*ROS_SUBSCRIBED, *ROS_PUBLISHED))),
            _table(("service", "type", ""), map(_row, ROS_SERVICES)),
        ]
    )


PAGES = {
    "parameters.md": parameters_page,
    "topics.md": topics_page,
    "projector.md": projector_page,
}


def write(folder: Path) -> None:
    """Write every page into `folder`."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


def _row(endpoint: Endpoint) -> tuple[str, ...]:
    description = endpoint.description
    if endpoint.only_with is not None:
        parameter, values = endpoint.only_with
        description += f" Only with `{parameter}: {', '.join(values)}`."
    if endpoint.needs:
        description += f" Needs {endpoint.needs}."
    kind = endpoint.type.replace("/msg/", "/").replace("/srv/", "/")
    qos = (_QOS.get(endpoint.qos, f"`{endpoint.qos}`"),) if endpoint.qos else ()
    return (f"`{endpoint.name}`", kind, *qos, description)


def _range(spec: ParameterSpec) -> str:
    if spec.choices:
        return ", ".join(f"`{choice}`" for choice in spec.choices)
    if spec.bounds is None:
        return ""
    low, high = spec.bounds
    return f"{low} to {high}"


def _literal(value: bool | int | float | str | list[int]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if value == "" else str(value)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [columns, ["---"] * len(columns), *escaped]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m camss_ros.nodes.reference FOLDER")
    write(Path(sys.argv[1]))
