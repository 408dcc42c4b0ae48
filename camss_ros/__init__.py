"""CAM-Seg (arXiv 2503.15617) as a ROS 2 perception package."""

from pkgutil import extend_path

# In a checkout the generated `camss_ros.msg` lies in the built package of the same name, further
# down the search path: look for submodules there as well.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
