"""Fixtures for every test."""

import hashlib
import os

import pytest
from hypothesis import settings

# A loaded machine is slow, not wrong.
settings.register_profile("camss_ros", deadline=None)
settings.load_profile("camss_ros")

# No test talks to another machine.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.pop("ROS_STATIC_PEERS", None)


@pytest.fixture(scope="module")
def domain_id(request: pytest.FixtureRequest) -> int:
    """A ROS domain for each test module and run, so that two runs do not hear each other."""
    key = f"{request.node.nodeid} {os.getpid()}"
    # Up to 101 the ports stay below those that Linux hands out by itself.
    return 1 + int(hashlib.sha256(key.encode()).hexdigest(), 16) % 100
