"""How much the fault tests do: a little in every test run, all of it with `make test-faults`."""

import os

LONG = os.environ.get("CAMSS_ROS_FAULTS") == "long"

# s from the arrival of a good image after a fault until its label image. Every test run allows ten
# times as much, since others may be using the machine.
RECOVERY = 1.0 if LONG else 10.0


def scaled(short: int, long: int) -> int:
    """Number of repetitions."""
    return long if LONG else short
