"""Every topic and service of the segmenter (`interfaces.yaml`): name, type, quality of service, and
when there is one.

The node makes them where it uses them; the tests compare a running node with this list. The
topics reference is written from it.
"""

from __future__ import annotations

from pathlib import Path

from camss_ros.nodes.endpoints import read_endpoints

SUBSCRIBED, PUBLISHED, SERVICES = read_endpoints(Path(__file__).with_suffix(".yaml"))
