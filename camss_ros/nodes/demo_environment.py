"""The ROS environment of a demo: its own domain, this machine only, room for large images."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

# Fast DDS passes a message between processes through 512 KiB of shared memory unless told
# otherwise. A larger image overwrites itself there, and best-effort ones are lost: of 960 x 540
# RGB images nearly all. This gives a writer room for several, each in one piece.
_FAST_DDS_PROFILE = """\
<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>large_shared_memory</transport_id>
      <type>SHM</type>
      <segment_size>67108864</segment_size>
      <maxMessageSize>33554432</maxMessageSize>
    </transport_descriptor>
    <transport_descriptor>
      <transport_id>udp</transport_id>
      <type>UDPv4</type>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="large_images" is_default_profile="true">
    <rtps>
      <userTransports>
        <transport_id>large_shared_memory</transport_id>
        <transport_id>udp</transport_id>
      </userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""

# With higher domains the ports reach those that Linux hands out by itself.
_DOMAINS = range(1, 102)


def isolate(profile: Path) -> dict[str, str]:
    """Environment variables for the processes of one demo; `profile` is where a file may be put."""
    profile.write_text(_FAST_DDS_PROFILE)
    environment = {
        "ROS_DOMAIN_ID": str(_free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_STATIC_PEERS": "",
        # The first is the name since Fast DDS 3 (Kilted), the second the one before.
        "FASTDDS_DEFAULT_PROFILES_FILE": str(profile),
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile),
    }
    if os.environ.get("ROS_DISTRO") == "humble":  # later releases warn about it
        environment["ROS_LOCALHOST_ONLY"] = "1"
    return environment


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
