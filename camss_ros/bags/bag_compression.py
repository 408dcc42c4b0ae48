"""The zstd compression of rosbag2, of single messages and of whole files."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def zstd() -> Any:
    """The module that rosbags brings along, or Python's own."""
    if sys.version_info >= (3, 14):
        from compression import zstd as module
    else:
        from backports import zstd as module
    return module


def decompress_message(data: bytes) -> bytes:
    """A message serialized as CDR, whether or not it is compressed: no CDR begins as zstd does.

    What is damaged stays as it is, which no decoder takes for a message.
    """
    if bytes(data[:4]) != ZSTD_MAGIC:
        return data
    try:
        return bytes(zstd().decompress(data))
    except (zstd().ZstdError, EOFError):
        return data


def decompress_file(path: Path, target: Path) -> str | None:
    """Write what is in the file to `target`; returns why it breaks off, or None. Raises OSError."""
    module = zstd()
    with target.open("wb") as whole, module.open(path, "rb") as compressed:
        try:
            shutil.copyfileobj(compressed, whole)
        except (module.ZstdError, EOFError) as error:
            return f"its compression is damaged: {error}"
    return None
