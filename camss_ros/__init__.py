"""CAM-Seg (arXiv 2503.15617) as a ROS 2 perception package."""

import os
from pkgutil import extend_path

# In a checkout the generated `camss_ros.msg` lies in the built package of the same name, further
# down the search path: look for submodules there as well.
__path__ = extend_path(__path__, __name__)

# A thread of PyTorch's OpenMP that has nothing to do spins for milliseconds by default, on a
# processor that a graph runtime or the next image's callback needs. Read when PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__version__ = "0.1.0"
