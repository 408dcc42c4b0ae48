"""Label Studio's run lengths of a mask painted with its brush.

The format is that of @thi.ng/rle-pack: a count of values (32 bits), the bits of a value less one
(5), four sizes of a run length less one (4 each); then for each run a bit (1: one value for all,
0: a value for each), the number of its size (2), its length less one and its values. The values are
the four channels of the image's pixels, whose alpha is the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_CHANNELS = 4
_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_LONGEST = 2 ** _LENGTH_BITS[-1]
_HEADER_BITS = 32 + 5 + 4 * len(_LENGTH_BITS)


def encode_brush(mask: np.ndarray) -> list[int]:
    """bool [H, W] -> the bytes of `value.rle`, as label_studio_sdk's `mask2rle` gives them for
    values of 0 and 255. Raises ValueError for an image with more than 2^32 values."""
    flat = mask.reshape(-1)
    if flat.size * _CHANNELS >= 2**32:
        raise ValueError(f"an image of {mask.shape[1]} x {mask.shape[0]} is too large for a brush")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size) * _CHANNELS
    pieces = -(-lengths // _LONGEST)
    values = np.repeat(np.where(flat[starts], 255, 0), pieces)
    parts = np.full(len(values), _LONGEST)
    parts[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _LONGEST
    kinds = np.searchsorted([2**bits for bits in _LENGTH_BITS], parts)
    length_bits = np.array(_LENGTH_BITS)[kinds]
    # a bit for "one value", two for the size, the length, the value
    words = (((4 | kinds) << length_bits | parts - 1) << _VALUE_BITS) | values
    sizes = 3 + length_bits + _VALUE_BITS
    header = flat.size * _CHANNELS
    for number, bits in ((_VALUE_BITS - 1, 5), *((bits - 1, 4) for bits in _LENGTH_BITS)):
        header = header << bits | number
    bits = np.concatenate(
        [_bits(np.array([header]), np.array([_HEADER_BITS])), _bits(words, sizes)]
    )
    # the tool ends on a byte of zeros where nothing is left to fill
    return np.packbits(np.pad(bits, (0, 8 - len(bits) % 8))).tolist()


def decode_brush(rle: Sequence[int], height: int, width: int) -> np.ndarray:
    """The bytes of `value.rle` -> bool [H, W]: where alpha is above the half.

    Args:
        rle: 0 to 255 each.
        height, width: H and W.

    Raises:
        ValueError: they are no mask of that size.
    """
    bits = "".join(f"{byte:08b}" for byte in bytes(rle))
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        if place > len(bits):
            raise ValueError("the run lengths of a mask end too early")
        return int(bits[place - count : place], 2)

    total = take(32)
    if total != height * width * _CHANNELS:
        raise ValueError(
            f"run lengths of {total} values for a mask of {width} x {height} with {_CHANNELS} each"
        )
    value_bits = take(5) + 1
    length_bits = [take(4) + 1 for _ in _LENGTH_BITS]
    values = np.zeros(total, np.uint32)
    done = 0
    while done < total:
        is_run = take(1)
        length = take(length_bits[take(2)]) + 1
        if done + length > total:
            raise ValueError("the run lengths of a mask are longer than it")
        if is_run:
            values[done : done + length] = take(value_bits)
        else:
            values[done : done + length] = [take(value_bits) for _ in range(length)]
        done += length
    alpha = values.reshape(height, width, _CHANNELS)[..., 3]
    return alpha > 127


def _bits(words: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """uint8, the lowest `sizes` bits of each word, one word after the other, high bits first."""
    columns = np.arange(int(sizes.max()))[::-1]
    table = (words[:, None] >> columns) & 1
    return table[columns < sizes[:, None]].astype(np.uint8)
