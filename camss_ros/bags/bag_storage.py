"""The files of a bag: what each is, and a reader for it.

Originals stay as they are, and nothing is written beside them: what has to be decompressed, or
completed with SQLite's journal, is copied to a scratch folder.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path, PurePath
from typing import Any

from camss_ros.bags.mcap_scan import MCAP_MAGIC, ScannedMcap
from camss_ros.git_lfs import why_unreadable
from camss_ros.images.image_files import visible

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MAGIC = {
    MCAP_MAGIC: "mcap",
    b"SQLite format 3\x00": "sqlite3",
    b"#ROSBAG V": "ros1",
    _ZSTD_MAGIC: "zstd",
}
_NAME = re.compile(r"\.(mcap|db3|bag)(\.zstd|\.active)?$")
_NAMED = {"mcap": "mcap", "db3": "sqlite3", "bag": "ros1"}
# What SQLite's recorder had not yet moved into the database, or out of it, when it was killed.
_JOURNALS = ("-wal", "-journal")


def storage_kind(path: Path) -> str | None:
    """What a file of a folder is as a bag: "mcap", "sqlite3" or "ros1"; None for others.

    By its name, or by its first bytes where the name says nothing.
    """
    if not path.is_file():
        return None
    if named := _NAME.search(path.name):
        return _NAMED[named[1]]
    kind = _content(path)
    return kind if kind in ("mcap", "ros1") or (kind == "sqlite3" and not path.suffix) else None


def storage_stem(path: Path) -> str:
    """The file's name without what tells its kind."""
    return _NAME.sub("", path.name)


def storage_files(folder: Path) -> list[Path]:
    """The files of a rosbag2, in the order of their numbers: bag_2 before bag_10."""
    files = [path for path in visible(folder) if storage_kind(path) in ("mcap", "sqlite3")]
    return sorted(files, key=lambda p: ([int(n) for n in re.findall("[0-9]+", p.name)], p.name))


def read_metadata(folder: Path) -> tuple[list[Path], int]:
    """The storage files that a rosbag2's metadata.yaml lists, and how many messages they hold.

    Raises:
        ValueError: it is missing, damaged or lists files that are not there.
    """
    import yaml

    try:
        content = yaml.safe_load((folder / "metadata.yaml").read_text())
        information = content["rosbag2_bagfile_information"]
        names = [PurePath(name).name for name in information["relative_file_paths"]]
        count = int(information["message_count"])
    except FileNotFoundError as error:
        raise ValueError("its metadata.yaml is missing") from error
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its metadata.yaml can't be read: {say(error)}") from error
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise ValueError(f"files that metadata.yaml lists are not there: {', '.join(missing)}")
    return [folder / name for name in names], count


def open_storage(path: Path, scratch: Path) -> tuple[Any, list[str]]:
    """A reader for a file, as rosbags has them, and what was found damaged in it.

    Args:
        scratch: an empty folder that lasts as long as the reader.

    Raises:
        OSError: the file can't be read.
        ValueError: it is empty, no bag, or a ROS 1 bag without an index.
        Exception: whatever the parsing of a damaged file hits.
    """
    import rosbags.rosbag1
    import rosbags.rosbag2

    kind = _content(path)
    if kind == "zstd":
        whole = scratch / path.name.removesuffix(".zstd")
        fault = _decompress_file(path, whole)
        inside = scratch / "inside"
        inside.mkdir()
        reader, faults = open_storage(whole, inside)
        return reader, [*([fault] if fault else []), *faults]
    if kind == "mcap":
        return _open_mcap(path, scratch)
    if kind == "sqlite3":
        return _opened(rosbags.rosbag2.Reader(_complete_database(path, scratch))), []
    if kind == "ros1":
        try:
            return _opened(rosbags.rosbag1.Reader(path)), []
        except rosbags.rosbag1.ReaderError as error:
            if "index" not in str(error):
                raise
            raise ValueError(
                f"its recorder has not written the index, or was killed before ({say(error)}): "
                f"run 'rosbag reindex {path.name}'"
            ) from error
    if not path.stat().st_size:
        raise ValueError("it is empty")
    expected = "it is neither an MCAP, a sqlite3 (.db3) nor a ROS 1 bag"
    raise ValueError(why_unreadable(path, expected))


def say(error: BaseException) -> str:
    """What went wrong, where rosbags raises errors without a message too."""
    return (str(error) or type(error).__name__).strip().rstrip(".")


def _content(path: Path) -> str | None:
    with path.open("rb") as file:
        beginning = file.read(16)
    return next((kind for magic, kind in _MAGIC.items() if beginning.startswith(magic)), None)


def _opened(reader: Any) -> Any:
    reader.open()
    for connection in reader.connections:
        kinds = ((connection.topic, str), (connection.msgtype, str), (connection.msgcount, int))
        if not all(isinstance(value, kind) for value, kind in kinds):
            reader.close()
            raise ValueError("its list of topics is damaged")
    return reader


def _open_mcap(path: Path, scratch: Path) -> tuple[Any, list[str]]:
    """By its index where that leads to every message, else from its beginning."""
    import rosbags.rosbag2

    try:
        # rosbags goes by the suffix.
        reader = _opened(rosbags.rosbag2.Reader(_alias(path, scratch, ".mcap")))
    except Exception:  # rosbags raises whatever its parsing hits
        reader = None
    if reader is not None:
        if _is_indexed(reader.storage):
            return reader, []
        reader.close()
    return scan_mcap(path)


def scan_mcap(path: Path) -> tuple[ScannedMcap, list[str]]:
    """An MCAP file without its index.

    Raises:
        ValueError: no topic is left.
        OSError: the file can't be read.
    """
    scanned = ScannedMcap(path)
    if not scanned.connections:
        raise ValueError("; ".join(scanned.faults) or "it holds no topics of ROS")
    return scanned, scanned.faults


def _is_indexed(storage: Any) -> bool:
    """Whether the index of an MCAP file leads to every message; everything in it is optional."""
    counts: Counter[int] = Counter()
    for chunk in storage.chunks:
        counts.update(chunk.channel_count)
    types = {schema.name for schema in storage.schemas.values()}
    known = {c.id for c in storage.connections if c.msgtype in types}
    return 0 < counts.total() == storage.statistics.message_count and known >= set(counts)


def _alias(path: Path, scratch: Path, suffix: str) -> Path:
    """The file under a name that says its kind and has no sign of URIs (? # %) in it."""
    alias = scratch / f"bag{suffix}"
    alias.symlink_to(path.resolve())
    return alias


def _complete_database(path: Path, scratch: Path) -> Path:
    """The database, as a copy with its journal worked in where there is one beside it."""
    journals = [path.with_name(path.name + suffix) for suffix in _JOURNALS]
    journals = [journal for journal in journals if journal.is_file() and journal.stat().st_size]
    if not journals:
        return _alias(path, scratch, ".db3")
    copy = scratch / "bag.db3"
    shutil.copyfile(path, copy)
    for journal in journals:
        shutil.copyfile(journal, copy.with_name(copy.name + journal.name.removeprefix(path.name)))
    with closing(sqlite3.connect(copy)) as database:
        database.execute("PRAGMA journal_mode = DELETE").fetchall()
    return copy


def _zstd() -> Any:
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
    if bytes(data[:4]) != _ZSTD_MAGIC:
        return data
    try:
        return bytes(_zstd().decompress(data))
    except (_zstd().ZstdError, EOFError):
        return data


def _decompress_file(path: Path, target: Path) -> str | None:
    """Write what is in the file to `target`; returns why it breaks off, or None. Raises OSError."""
    module = _zstd()
    with target.open("wb") as whole, module.open(path, "rb") as compressed:
        try:
            shutil.copyfileobj(compressed, whole)
        except (module.ZstdError, EOFError) as error:
            return f"its compression is damaged: {error}"
    return None
