"""What code some result follows from."""

from __future__ import annotations

import hashlib
from pathlib import Path


def source_hash(*paths: Path) -> str:
    """SHA-256, in hexadecimal, of Python files, and of all in folders and below them."""
    digest = hashlib.sha256()
    for path in paths:
        for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{source.relative_to(path.parent)} {source.stat().st_size} ".encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()
