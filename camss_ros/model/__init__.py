"""The network: pure PyTorch, no ROS, no OpenCV."""
