"""Numpy in, numpy out: frames to label images."""
