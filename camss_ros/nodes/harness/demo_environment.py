"""The ROS environment of a demo: its own domain, this machine only, room for large images."""

from __future__ import annotations

import os
import random
import socket

from camss_ros.resources import config_file

# With higher domains the ports reach those that Linux hands out by itself.
_DOMAINS = range(1, 102)


def isolate() -> dict[str, str]:
    """Environment variables for the processes of one demo. Raises OSError where no domain is free,
    FileNotFoundError where the package's configuration is not installed."""
    environment = {
        **large_images(),
        "ROS_DOMAIN_ID": str(_free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_STATIC_PEERS": "",
    }
    if os.environ.get("ROS_DISTRO") == "humble":
        environment["ROS_LOCALHOST_ONLY"] = "1"
    return environment


def large_images() -> dict[str, str]:
    """The environment variable with which Fast DDS does not lose large images on one machine.
    Raises FileNotFoundError where the package's configuration is not installed."""
    # Later releases know the old names, and warn about them.
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    variable = f"{'FASTRTPS' if old else 'FASTDDS'}_DEFAULT_PROFILES_FILE"
    return {variable: str(config_file("dds/fastdds_large_images.xml"))}


def _free_domain() -> int:
    """A ROS domain in which no participant of this machine lives."""
    for domain in random.sample(_DOMAINS, len(_DOMAINS)):
        # RTPS: the first participant of a domain listens here.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7400 + 250 * domain + 10))
            except OSError:
                continue
        return domain
    raise OSError("every ROS domain from 1 to 101 is in use on this machine")
