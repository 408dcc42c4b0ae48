"""Reads an MCAP file from its beginning, without its index.

rosbags wants a whole file with a whole index: a recorder that was killed leaves one without, one
damaged chunk ends its reading, and all of an index is optional. The package mcap parses records;
its StreamReader ends at the first damage, so that the way from one to the next is our own.
Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from mcap.records import Channel, Chunk
    from rosbags.interfaces import Connection, ConnectionExtRosbag1, ConnectionExtRosbag2

MCAP_MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")  # opcode, length
_LARGEST_RECORD = 2**32  # more is a damaged length


class _CutError(ValueError):
    """A record reaches beyond the end of its file or chunk."""


class ScannedMcap:
    """The readable part of an MCAP file, with the interface of a reader of rosbags.

    Messages come in the order of the file, which is nearly that of time. Opening reads the file
    once.

    Attributes:
        connections: as rosbags has them, of ROS 1 and 2.
        start_time: of the log, ns.
        faults: what was passed over.

    Raises:
        ValueError: the file is no MCAP file.
        OSError: it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[str] = []
        self.connections: list[Connection] = []
        self.start_time = 2**63 - 1
        with path.open("rb") as file:
            if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
                raise ValueError("it does not begin as an MCAP file does")
        self._channels: dict[int, Connection] = {}
        counts: Counter[int] = Counter()
        for connection, log_time, _ in self._scan(self.faults.append):
            counts[connection.id] += 1
            self.start_time = min(self.start_time, log_time)
        self.connections = [
            connection._replace(msgcount=counts[number])
            for number, connection in self._channels.items()
        ]

    def close(self) -> None:
        """Nothing is held open."""

    def messages(
        self, connections: Collection[Connection], start: int | None, stop: int | None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """(connection, log time in ns, serialized message).

        `start` <= log time < `stop`, in ns.
        """
        wanted = {c.id: c for c in connections}
        for connection, log_time, data in self._scan(lambda fault: None):
            late = stop is not None and log_time >= stop
            early = start is not None and log_time < start
            if connection.id in wanted and not late and not early:
                yield wanted[connection.id], log_time, data

    def _scan(self, on_fault: Callable[[str], None]) -> Iterator[tuple[Connection, int, bytes]]:
        from mcap.opcode import Opcode

        schemas: dict[int, tuple[str, str, str]] = {}
        with self.path.open("rb") as file:
            file.seek(len(MCAP_MAGIC))
            try:
                for place, opcode, content in _records(file):
                    if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                        return
                    try:
                        yield from self._messages(opcode, content, schemas, on_fault)
                    except Exception as error:  # each compression fails in its own ways
                        what = "chunk" if opcode == Opcode.CHUNK else "record"
                        reason = str(error) or "it breaks off"
                        on_fault(f"the {what} at byte {place} is damaged: {reason}")
                on_fault(f"the file ends at byte {file.tell()} without an index")
            except _CutError as error:
                on_fault(f"the file {error}")

    def _messages(
        self,
        opcode: int,
        content: bytes,
        schemas: dict[int, tuple[str, str, str]],
        on_fault: Callable[[str], None],
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """The messages of a record; schemas and channels are kept for those that follow."""
        from mcap.data_stream import ReadDataStream
        from mcap.opcode import Opcode
        from mcap.records import Channel, Chunk, Message, Schema

        record = ReadDataStream(BytesIO(content))
        if opcode == Opcode.CHUNK:
            for _, inner_opcode, inner in _records(BytesIO(_decompress(Chunk.read(record)))):
                yield from self._messages(inner_opcode, inner, schemas, on_fault)
        elif opcode == Opcode.MESSAGE:
            message = Message.read(record, len(content))
            if message.channel_id in self._channels:
                yield self._channels[message.channel_id], message.log_time, message.data
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(record)
            schemas[schema.id] = schema.name, schema.encoding, schema.data.decode()
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(record)
            if channel.message_encoding not in ("cdr", "ros1"):
                on_fault(
                    f"topic {channel.topic} is left out: its messages are encoded as "
                    f"'{channel.message_encoding}'"
                )
            elif channel.id not in self._channels:
                schema = schemas.get(channel.schema_id, ("", "", ""))
                self._channels[channel.id] = self._connection(channel, *schema)

    def _connection(
        self, channel: Channel, name: str, definition_encoding: str, definition: str
    ) -> Connection:
        from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat

        formats = {
            "ros1msg": MessageDefinitionFormat.MSG,
            "ros2msg": MessageDefinitionFormat.MSG,
            "ros2idl": MessageDefinitionFormat.IDL,
            "omgidl": MessageDefinitionFormat.IDL,
        }
        return Connection(
            id=channel.id,
            topic=channel.topic,
            msgtype=name if name.count("/") > 1 else name.replace("/", "/msg/"),
            msgdef=MessageDefinition(
                formats.get(definition_encoding, MessageDefinitionFormat.NONE), definition
            ),
            digest="",
            msgcount=0,
            ext=_details(channel),
            owner=self,
        )


def _details(channel: Channel) -> ConnectionExtRosbag1 | ConnectionExtRosbag2:
    """What a channel's metadata say besides, of ROS 1 or 2."""
    from rosbags.interfaces import ConnectionExtRosbag1, ConnectionExtRosbag2
    from rosbags.rosbag2.metadata import parse_qos

    if channel.message_encoding == "ros1":
        return ConnectionExtRosbag1(callerid=None, latching=channel.metadata.get("latching") == "1")
    try:
        profiles = parse_qos(channel.metadata.get("offered_qos_profiles", ""))
    except Exception:  # it is no YAML of the right form; the messages are read without
        profiles = []
    return ConnectionExtRosbag2(serialization_format="cdr", offered_qos_profiles=profiles)


def _records(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """(place, opcode, content) of the records. Raises _CutError where they break off."""
    place = file.tell()
    while head := file.read(_RECORD.size):
        opcode, length = _RECORD.unpack(head) if len(head) == _RECORD.size else (0, _LARGEST_RECORD)
        content = file.read(length) if length < _LARGEST_RECORD else b""
        if len(content) < length:
            raise _CutError(f"ends within the record at byte {place}")
        yield place, opcode, content
        place = file.tell()


def _decompress(chunk: Chunk) -> bytes:
    """The records in a chunk; raises ValueError or what the decompressor raises."""
    from mcap.stream_reader import get_chunk_data_stream

    content, size = get_chunk_data_stream(chunk, validate_crc=True)
    if size != chunk.uncompressed_size:
        raise ValueError(f"{size} bytes instead of {chunk.uncompressed_size}")
    return content.read(size)
