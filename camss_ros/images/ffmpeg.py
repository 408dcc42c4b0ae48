"""PyAV, imported so that it can't lock up: its log takes Python's lock in the decoder's threads.

Only what PyAV has in all versions from 8 to 18 is used.
"""

from __future__ import annotations

import os
from pathlib import Path

from camss_ros.extras import MissingPackageError

# What versions before 12.1 look at; later ones are silent.
os.environ.setdefault("PYAV_LOGGING", "off")

try:
    import av
except ModuleNotFoundError as error:
    raise MissingPackageError("PyAV, which videos need, is missing: pip install av") from error

__all__ = ["av", "file_url"]


def file_url(path: Path) -> str:
    """The file for FFmpeg, which takes what is before a colon in a plain name for a protocol."""
    return f"file:{path}"
