"""ROS 2, its middleware with large images, and the packages that the node uses where they are."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

from camss_ros.doctor.finding import Finding
from camss_ros.doctor.probes import ProbeError, ask
from camss_ros.nodes.harness.child_process import large_images, leftover_queues
from camss_ros.resources import config_file

_SHARED_MEMORY = Path("/dev/shm")
_RECEIVE_BUFFER = Path("/proc/sys/net/core/rmem_max")
# What config/dds/ asks for: a segment of shared memory for each publisher, a socket's buffer, a
# receiver's queue.
_SEGMENT_BYTES = 64 * 2**20
_BUFFER_BYTES = 10_000_000
_QUEUE_BYTES = 20 * 8192
_GET_ROS = (
    "use a ROS installation (source /opt/ros/<distribution>/setup.bash, colcon build, source "
    "install/setup.bash), or `make build` in the checkout and scripts/in_workspace before the "
    "command"
)
_BROKEN = (
    "it is there and fails: it has to be built for this Python, and RMW_IMPLEMENTATION, "
    "ROS_DOMAIN_ID and ROS_LOG_DIR have to fit"
)


def check_ros() -> Generator[Finding, None, None]:
    """rclpy, all that the node imports, and whether the middleware is set up for large images."""
    rmw = None
    distribution = os.environ.get("ROS_DISTRO", "wheels")
    try:
        rmw = ask("rclpy")["rmw"]
        yield Finding("rclpy", "OK", f"a node can be made ({distribution}, {rmw})")
    except ProbeError as error:
        yield Finding("rclpy", "FAIL", str(error), _GET_ROS if error.missing else _BROKEN)
    try:
        ask("importable", "camss_ros.msg", "camss_ros.nodes.segmenter.node")
        yield Finding("node", "OK", "it and its messages can be imported")
    except ProbeError as error:
        install = f"install what is missing; for messages {_GET_ROS}"
        help_ = install if error.missing else "see what else fails here"
        yield Finding("node", "FAIL", str(error), help_)
    if rmw is not None:
        yield from _large_images(rmw)


def _large_images(rmw: str) -> Iterator[Finding]:
    try:
        buffer = int(_RECEIVE_BUFFER.read_text())
        text = f"net.core.rmem_max is {buffer} bytes"
    except OSError:  # older kernels show it to no container with a network of its own
        buffer = _BUFFER_BYTES
        text = f"net.core.rmem_max is not seen from here; it should be {buffer} on the host"
    raise_it = "sudo sysctl -w net.core.rmem_max=67108864 (docs/transport.md)"
    if "cyclone" in rmw:
        uri = f"export CYCLONEDDS_URI=file://{config_file('dds/cyclonedds.xml')}"
        yield _profile(os.environ.get("CYCLONEDDS_URI", "").removeprefix("file://"), uri)
        if buffer < _BUFFER_BYTES:
            text += ": fragments of images get lost"
            yield Finding("socket buffers", "WARN", text, raise_it)
            return
    elif "fastrtps" in rmw:
        ((variable, file),) = large_images().items()
        given = os.environ.get(variable, "")
        yield _profile(given, f"export {variable}={shlex.quote(file)}")
        if given:
            yield _shared_memory()
            yield from _leftover_queues()
    if buffer < _BUFFER_BYTES:
        text += f"; small for raw images from another machine: {raise_it}"
    yield Finding("socket buffers", "OK", text)


def _profile(given: str, export: str) -> Finding:
    """Of a profile file that an environment variable names, or ""."""
    advice = f"for camera and node: {export}"
    if not given:
        text = "none: most raw images above half a megabyte get lost between processes"
        return Finding("DDS profile", "WARN", text, advice)
    # an inline <CycloneDDS> element is one too
    if not given.startswith("<") and not Path(given).is_file():
        return Finding("DDS profile", "WARN", f"{given} is not there", advice)
    return Finding("DDS profile", "OK", given if not given.startswith("<") else "given inline")


def _shared_memory() -> Finding:
    free = shutil.disk_usage(_SHARED_MEMORY).free
    text = f"{free / 2**20:.0f} MiB free in {_SHARED_MEMORY}"
    if free < 2 * _SEGMENT_BYTES:  # of camera and node
        return Finding(
            "shared memory", "WARN", f"{text}: too little for the profile of camera and node",
            "in a container --ipc=host or --shm-size 1g",
        )  # fmt: skip
    return Finding("shared memory", "OK", text)


def _leftover_queues() -> Iterator[Finding]:
    domain = int(os.environ.get("ROS_DOMAIN_ID") or 0)
    # a longer one does no harm
    short = [path for path in leftover_queues(domain) if path.stat().st_size < _QUEUE_BYTES]
    if short:
        yield Finding(
            "leftover queues", "WARN",
            f"of killed processes without the profile, whose receivers lose large images: "
            f"{', '.join(map(str, short))}",
            "fastdds shm clean, or remove these files, then start the nodes again",
        )  # fmt: skip


def check_ros_packages() -> Iterator[Finding]:
    """What the node and its launch files use where it is there."""
    install = f"sudo apt install ros-{os.environ.get('ROS_DISTRO', '<distribution>')}-"
    without = {
        "vision_msgs": (["vision_msgs"], "no segmentation/label_info is published", "vision-msgs"),
        "launch": (
            ["importable", "launch_ros", "launch"],
            "`ros2 launch` does not work; `ros2 run` and the commands do",
            "launch-ros",
        ),
    }
    for name, (probe, consequence, package) in without.items():
        try:
            ask(*probe)
            yield Finding(name, "OK", "it is there")
        except ProbeError as error:
            said = "not installed" if error.missing else str(error)
            yield Finding(name, "WARN", f"{said}: {consequence}", f"{install}{package}")
    try:
        facts = ask("cv_bridge")
    except ProbeError as error:
        yield Finding("cv_bridge", "WARN", f"not tried: {error}", "see rclpy and node above")
        return
    if facts["warnings"]:
        yield Finding(
            "cv_bridge", "WARN", "; ".join(facts["warnings"]),
            'pip install "numpy<2" where it is built for NumPy 1 (docs/troubleshooting.md)',
        )  # fmt: skip
    else:
        yield Finding("cv_bridge", "OK", f"images are converted by {facts['conversion']}")
