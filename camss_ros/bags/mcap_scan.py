"""Reads an MCAP file from its beginning, without its index.

rosbags wants a whole file with a whole index: a recorder that was killed leaves one without, one
damaged chunk ends its reading, and all of an index is optional. The StreamReader of the package
mcap ends at the first damage as well. Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from camss_ros.bags.bag_compression import zstd

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, ConnectionExtRosbag1, ConnectionExtRosbag2

MCAP_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END, _FOOTER = 3, 4, 5, 6, 15, 2
_RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_LARGEST_RECORD = 2**32  # more is a damaged length


class ScannedMcap:
    """The readable part of an MCAP file, with the interface of a reader of rosbags.

    Messages come in the order of the file, which is nearly that of time. Opening reads the file
    once. `connections`: as rosbags has them, of ROS 1 and 2. `start_time`, `end_time`: ns, of the
    log, the latter after the last message. `faults`: what was passed over.

    Raises ValueError where the file is no MCAP file, OSError where it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[str] = []
        self.connections: list[Connection] = []
        self.start_time, self.end_time = 2**63 - 1, 0
        with path.open("rb") as file:
            if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
                raise ValueError("it does not begin as an MCAP file does")
        self._channels: dict[int, Connection] = {}
        counts: Counter[int] = Counter()
        for connection, log_time, _ in self._scan(self.faults.append):
            counts[connection.id] += 1
            self.start_time = min(self.start_time, log_time)
            self.end_time = max(self.end_time, log_time + 1)
        self.connections = [
            connection._replace(msgcount=counts[number])
            for number, connection in self._channels.items()
        ]

    def close(self) -> None:
        """Nothing is held open."""

    def messages(
        self,
        connections: Collection[Connection] = (),
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """(connection, log time in ns, serialized message); of all connections where none is given.

        `start` <= log time < `stop`, in ns.
        """
        wanted = {c.id: c for c in connections or self.connections}
        for connection, log_time, data in self._scan(lambda fault: None):
            late = stop is not None and log_time >= stop
            early = start is not None and log_time < start
            if connection.id in wanted and not late and not early:
                yield wanted[connection.id], log_time, data

    def _scan(self, on_fault: Callable[[str], None]) -> Iterator[tuple[Connection, int, bytes]]:
        with self.path.open("rb") as file:
            file.seek(len(MCAP_MAGIC))
            schemas: dict[int, tuple[str, str, str]] = {}
            for place, opcode, content in _records(file, on_fault):
                if opcode == _CHUNK:
                    try:
                        inner = _decompress(content)
                    except Exception as error:  # each compression fails in its own ways
                        on_fault(f"the chunk at byte {place} is damaged: {error}")
                        continue
                    found = _inner_records(inner)
                else:
                    found = iter([(opcode, content)])
                try:
                    for inner_opcode, record in found:
                        if inner_opcode == _MESSAGE:
                            channel, _, log_time, _ = _MESSAGE_HEAD.unpack_from(record)
                            if channel in self._channels:
                                data = bytes(record[_MESSAGE_HEAD.size :])
                                yield self._channels[channel], log_time, data
                        else:
                            self._learn(inner_opcode, record, schemas, on_fault)
                except (struct.error, UnicodeDecodeError) as error:
                    on_fault(f"the record at byte {place} is damaged: {error}")

    def _learn(
        self,
        opcode: int,
        record: memoryview,
        schemas: dict[int, tuple[str, str, str]],
        on_fault: Callable[[str], None],
    ) -> None:
        """Take note of a schema or a channel; other records say nothing of interest."""
        from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat

        if opcode == _SCHEMA:
            (number,) = struct.unpack_from("<H", record)
            name, place = _string(record, 2)
            encoding, place = _string(record, place)
            schemas[number] = (name, encoding, _string(record, place)[0])
        elif opcode == _CHANNEL:
            number, schema = struct.unpack_from("<HH", record)
            if number in self._channels:
                return
            topic, place = _string(record, 4)
            encoding, place = _string(record, place)
            if encoding not in ("cdr", "ros1"):
                on_fault(f"topic {topic} is left out: its messages are encoded as '{encoding}'")
                return
            name, definition_encoding, definition = schemas.get(schema, ("", "", ""))
            formats = {
                "ros1msg": MessageDefinitionFormat.MSG,
                "ros2msg": MessageDefinitionFormat.MSG,
                "ros2idl": MessageDefinitionFormat.IDL,
                "omgidl": MessageDefinitionFormat.IDL,
            }
            self._channels[number] = Connection(
                id=number,
                topic=topic,
                msgtype=name if name.count("/") > 1 else name.replace("/", "/msg/"),
                msgdef=MessageDefinition(
                    formats.get(definition_encoding, MessageDefinitionFormat.NONE), definition
                ),
                digest="",
                msgcount=0,
                ext=_details(encoding, _strings(record, place)),
                owner=self,
            )


def _details(
    encoding: str, metadata: dict[str, str]
) -> ConnectionExtRosbag1 | ConnectionExtRosbag2:
    """What a channel's metadata say besides, of ROS 1 or 2."""
    from rosbags.interfaces import ConnectionExtRosbag1, ConnectionExtRosbag2
    from rosbags.rosbag2.metadata import parse_qos

    if encoding == "ros1":
        return ConnectionExtRosbag1(callerid=None, latching=metadata.get("latching") == "1")
    try:
        profiles = parse_qos(metadata.get("offered_qos_profiles", ""))
    except Exception:  # it is no YAML of the right form; the messages are read without
        profiles = []
    return ConnectionExtRosbag2(serialization_format="cdr", offered_qos_profiles=profiles)


def _records(
    file: BinaryIO, on_fault: Callable[[str], None]
) -> Iterator[tuple[int, int, memoryview]]:
    """(place, opcode, content) of the whole records up to the end of the data section."""
    while True:
        place = file.tell()
        head = file.read(_RECORD.size)
        if len(head) < _RECORD.size:
            on_fault(f"the file ends at byte {place} without an index")
            return
        opcode, length = _RECORD.unpack(head)
        if opcode in (_DATA_END, _FOOTER):
            return
        content = file.read(length) if length <= _LARGEST_RECORD else b""
        if len(content) < length:
            on_fault(f"the file ends within the record at byte {place}")
            return
        yield place, opcode, memoryview(content)


def _inner_records(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    place = 0
    while place < len(content):
        opcode, length = _RECORD.unpack_from(content, place)
        place += _RECORD.size
        if place + length > len(content):
            raise struct.error("a record reaches beyond its chunk")
        yield opcode, content[place : place + length]
        place += length


def _decompress(chunk: memoryview) -> memoryview:
    """The records in a chunk; raises ValueError or what the decompressor raises."""
    _, _, size, checksum = struct.unpack_from("<QQQI", chunk)
    compression, place = _string(chunk, 28)
    (length,) = struct.unpack_from("<Q", chunk, place)
    content = bytes(chunk[place + 8 : place + 8 + length])
    if compression == "zstd":
        content = zstd().decompress(content)
    elif compression == "lz4":
        import lz4.frame

        content = lz4.frame.decompress(content)
    elif compression:
        raise ValueError(f"compression {compression!r} is not known")
    if len(content) != size:
        raise ValueError(f"{len(content)} bytes instead of {size}")
    if checksum and zlib.crc32(content) != checksum:
        raise ValueError("its checksum is another")
    return memoryview(content)


def _string(record: memoryview, place: int) -> tuple[str, int]:
    """The string at `place`, and the place after it."""
    (length,) = struct.unpack_from("<I", record, place)
    end = place + 4 + length
    if end > len(record):
        raise struct.error("a string reaches beyond its record")
    return bytes(record[place + 4 : end]).decode(), end


def _strings(record: memoryview, place: int) -> dict[str, str]:
    """The map of strings at `place`."""
    (length,) = struct.unpack_from("<I", record, place)
    end = place + 4 + length
    place += 4
    found = {}
    while place < end:
        key, place = _string(record, place)
        found[key], place = _string(record, place)
    return found
