"""What only some commands need: looked for before their work, named with what installs it, and
which versions there are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from camss_ros.errors import CamssError


class MissingPackageError(CamssError, ImportError):
    """Something is not installed; the message says how it is."""


def require(*modules: str) -> None:
    """Raise MissingPackageError where one of the modules is not installed; imports none.

    The package that pip installs has the name of the module.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingPackageError(f"{' and '.join(missing)} not installed: {pip_install(*missing)}")


def pip_install(*packages: str) -> str:
    """The command that installs packages. NumPy 1 stays: the cv2 of a ROS installation needs it."""
    is_1 = versions("numpy").get("numpy", "").startswith("1.")
    return " ".join(["pip install", *packages, *(['"numpy<2"'] if is_1 else [])])


def versions(*packages: str) -> dict[str, str]:
    """Of those of the packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Imported within it, OpenVINO and NNCF do not report their use to their makers."""
    name = "openvino_telemetry"
    before = {name: sys.modules[name]} if name in sys.modules else {}
    sys.modules[name] = None  # type: ignore[assignment]  # its import fails, which they allow for
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(before)


def require_node() -> None:
    """Raise MissingPackageError without rclpy or the messages of this package; imports neither."""
    for module in ("rclpy", "camss_ros.msg"):
        if find_spec(module) is None:
            raise MissingPackageError(
                f"the node needs {module}, which is not there: use a ROS installation (`colcon "
                "build`, then source install/setup.bash), or `make build` in the checkout and "
                "scripts/in_workspace before the command; pip alone does not build the messages"
            )
