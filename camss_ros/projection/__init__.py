"""Masks into the world: cameras, clouds, ground. Plain NumPy: no PyTorch, no rclpy."""
