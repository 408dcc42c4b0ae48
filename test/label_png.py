"""PNG files of any bit depth, which neither Pillow nor OpenCV write in grey of 2 and 4 bits."""

import struct
import zlib
from pathlib import Path

import numpy as np


def write_png(
    path: Path, values: np.ndarray, bits: int, palette: list[tuple[int, int, int]] | None = None
) -> None:
    """`values` [H, W] as grey of 1 to 16 bits, or as the indices of `palette`."""
    height, width = values.shape
    weights = 1 << np.arange(bits - 1, -1, -1)
    rows = np.packbits((values[..., None] & weights).astype(bool).reshape(height, -1), axis=1)
    data = np.insert(rows, 0, 0, axis=1).tobytes()  # 0: unfiltered
    header = struct.pack(">IIBBBBB", width, height, bits, 0 if palette is None else 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    if palette is not None:
        chunks.insert(1, (b"PLTE", np.array(palette, np.uint8).tobytes()))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    )
