"""Whether the bytes of an image file are all there: decoders fill what is missing with grey."""

from __future__ import annotations

import re
import zlib

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
# The bytes of a marker other than those that stand within compressed pixels.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
_START_OF_IMAGE, _END_OF_IMAGE = 0xD8, 0xD9


def find_damage(data: bytes) -> str:
    """What is wrong with a JPEG or PNG, in a few words; "" where nothing is seen."""
    if data.startswith(JPEG_START) and not _is_whole_jpeg(data):
        return "the JPEG is truncated"
    if data.startswith(PNG_START) and not _is_whole_png(data):
        return "the PNG is damaged"
    return ""


def _is_whole_jpeg(data: bytes) -> bool:
    """Whether its end marker comes: one of its own, not that of a thumbnail within a segment."""
    place = len(JPEG_START)
    while found := _MARKER.search(data, place):
        place = found.end()
        marker = data[place - 1]
        if marker == _END_OF_IMAGE:
            return True
        if marker != _START_OF_IMAGE:  # all others have a length, which counts its own two bytes
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return False


def _is_whole_png(data: bytes) -> bool:
    """Whether every chunk up to the last has its checksum: length, type, content, CRC-32."""
    view = memoryview(data)
    place = len(PNG_START)
    while place + 12 <= len(view):
        end = place + 8 + int.from_bytes(view[place : place + 4], "big")
        if end + 4 > len(view):
            return False
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return False
        if view[place + 4 : place + 8] == b"IEND":
            return True
        place = end + 4
    return False
