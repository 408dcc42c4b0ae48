"""The decoder of Autoware's run-length encoded masks."""

from __future__ import annotations

import struct

import numpy as np


def run_length_decoder(data: bytes, rows: int, columns: int) -> np.ndarray:
    """perception_utils::runLengthDecoder: a uint8 class, then an int32 length, until the data end.

    It writes without a look at the bounds: too many pixels would be a crash there.
    """
    mask = np.zeros(rows * columns, np.uint8)
    index, step = 0, struct.calcsize("<Bi")
    assert len(data) % step == 0
    for place in range(0, len(data), step):
        value, length = struct.unpack_from("<Bi", data, place)
        assert index + length <= mask.size
        mask[index : index + length] = value
        index += length
    assert index == mask.size
    return mask.reshape(rows, columns)
