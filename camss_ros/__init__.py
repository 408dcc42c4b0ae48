"""CAM-Seg (arXiv 2503.15617) as a ROS 2 perception package."""

__version__ = "0.1.0"
