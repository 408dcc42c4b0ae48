"""Label images as runs of equal classes, as Autoware's perception_utils codes them."""

import numpy as np

# A byte of class, four of length, little-endian, no padding between them.
_RUN = np.dtype([("label", "u1"), ("length", "<i4")])


def encode_runs(labels: np.ndarray) -> bytes:
    """uint8 [H, W] -> for each run in reading order, its class and its length in pixels."""
    flat = labels.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    runs = np.empty(len(starts), _RUN)
    runs["label"] = flat[starts]
    runs["length"] = np.diff(starts, append=flat.size)
    return runs.tobytes()
