"""The launch file fits the node. launch and launch_ros come with a ROS installation only."""

import runpy
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from camss_ros.nodes.parameters import SPECS

LAUNCH_FILE = Path(__file__).resolve().parents[1] / "launch" / "segment.launch.py"
LAUNCH_MODULES = (
    "launch",
    "launch.actions",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
    "launch_ros.parameter_descriptions",
    "launch_ros.substitutions",
)


def test_its_parameters_are_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCH_MODULES:
        monkeypatch.setitem(sys.modules, name, MagicMock())
    parameters = runpy.run_path(str(LAUNCH_FILE))["PARAMETERS"]
    types = {spec.name: type(spec.default) for spec in SPECS} | {"use_sim_time": bool}
    assert {name: kind for name, (kind, _) in parameters.items()} == {
        name: types[name] for name in parameters
    }
