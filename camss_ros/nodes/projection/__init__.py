"""The lifecycle node that puts masks into the world: clouds and drivable ground."""
