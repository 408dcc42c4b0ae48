"""Label images to labelling tools and back, a file for each format."""
