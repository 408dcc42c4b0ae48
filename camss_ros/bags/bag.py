"""Reading bags: rosbag2 (sqlite3, MCAP; compressed, split) and ROS 1, without a ROS installation.

    with Bag(path) as bag:
        for message in bag.messages(["/camera/image"]):
            image = bag.decode(message)      # fields as in the message definition

What is damaged is passed over and noted in `bag.warnings` as far as anything can be read.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from camss_ros.bags.bag_storage import (
    decompress_message,
    open_storage,
    read_metadata,
    say,
    scan_mcap,
    storage_files,
)
from camss_ros.bags.bag_types import IMAGE_TYPES, header_stamp, is_ros1, ros1_types, ros2_types
from camss_ros.bags.mcap_scan import ScannedMcap
from camss_ros.extras import require
from camss_ros.images.image_files import visible

if TYPE_CHECKING:
    import rosbags.rosbag1
    import rosbags.rosbag2
    from rosbags.interfaces import Connection

    _Reader: TypeAlias = rosbags.rosbag1.Reader | rosbags.rosbag2.Reader | ScannedMcap


class BagError(ValueError):
    """A bag, a topic or a message that can't be read; the message says which and why."""


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        type: such as "sensor_msgs/msg/Image".
        messages: how many, as the bag says.
    """

    name: str
    type: str
    messages: int


@dataclass(frozen=True)
class BagMessage:
    """A message of the bag: `log_time` in ns, when it was recorded; `data` serialized, not
    compressed; `connection` as rosbags describes it."""

    topic: str
    type: str
    log_time: int
    data: bytes
    connection: Any


class Bag:
    """A bag that is open for reading. Once it is closed, asking for its content raises BagError.

    Args:
        path: a rosbag2 folder, a file of one (.mcap, .db3) or a ROS 1 bag (.bag), under any name.

    Attributes:
        warnings: what was found damaged so far.

    Raises:
        FileNotFoundError: nothing is there.
        BagError: it can't be read as a bag.
        MissingPackageError: rosbags is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        require("rosbags", "mcap")
        self.path = path = Path(path)
        self.warnings: list[str] = []
        if not path.exists():
            raise FileNotFoundError(
                f"there is no bag '{path}': expected a rosbag2 folder, an .mcap, .db3 or .bag file"
            )
        self._scratch = tempfile.TemporaryDirectory(prefix="camss_ros-bag-")
        self._readers: dict[Path, _Reader] = {}  # by file
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers.values():
            with suppress(Exception):  # closing what is damaged
                reader.close()
        self._readers = {}
        self._scratch.cleanup()

    def warn(self, warning: str) -> None:
        """Add it to `warnings`, once."""
        if warning not in self.warnings:
            self.warnings.append(warning)

    @property
    def connections(self) -> list[Connection]:
        """Of all files, as rosbags describes them."""
        return [c for reader in self._open_readers() for c in reader.connections]

    @property
    def topics(self) -> list[Topic]:
        """By name."""
        counts: dict[tuple[str, str], int] = {}
        for connection in self.connections:
            key = (connection.topic, connection.msgtype)
            counts[key] = counts.get(key, 0) + connection.msgcount
        return [Topic(name, kind, count) for (name, kind), count in sorted(counts.items())]

    @property
    def files(self) -> list[Path]:
        """What is read, in order: the file, or the files of the folder."""
        files = visible(self.path) if self.path.is_dir() else [self.path]
        return sorted(file for file in files if file.is_file())

    @property
    def start_time(self) -> int:
        """Log time of the first message, ns; a huge number without messages."""
        return min(reader.start_time for reader in self._open_readers())

    def require(self, name: str, types: Sequence[str] = IMAGE_TYPES) -> Topic:
        """The topic of that name and one of the types; what else lies on it is warned of.

        Raises:
            BagError: there is none; lists what is there.
        """
        found = [topic for topic in self.topics if topic.name == name]
        held = ", ".join(f"{topic.type} ({topic.messages} messages)" for topic in found)
        usable = [topic for topic in found if topic.type in types]
        usable = [topic for topic in usable if topic.messages] or usable[:1]
        if len(usable) == 1:
            if any(t.messages for t in found if t != usable[0]):
                self.warn(f"'{self.path}': topic {name} has {held}: {usable[0].type} is taken")
            return usable[0]
        if usable:
            what = f"has messages of several types, {held}"
        else:
            what = f"is of type {' and '.join(t.type for t in found)}" if found else "is not there"
        listed = "".join(
            f"\n  {topic.name}  {topic.type}  {topic.messages} messages" for topic in self.topics
        )
        raise BagError(
            f"'{self.path}': topic {name} {what}; expected {' or '.join(types)}. "
            f"The topics of the bag:{listed or ' none'}"
        )

    def messages(
        self,
        topics: Sequence[str | Topic] | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[BagMessage]:
        """The messages of topics, in the order of their log times; in an MCAP file without a whole
        index, in its own.

        Args:
            topics: a name stands for all types on it, a `Topic` for its own; None: all.
            start, stop: `start` <= log time < `stop`, ns.

        Raises:
            BagError: the bag turns out to be damaged; what was yielded before is good. Or it is
                closed, meanwhile too.
        """
        wanted = [t if isinstance(t, str) else (t.name, t.type) for t in topics or ()]
        sources = []
        for reader in self._open_readers():
            chosen = [
                c
                for c in reader.connections
                if topics is None or c.topic in wanted or (c.topic, c.msgtype) in wanted
            ]
            if chosen:
                sources.append(_from_its_start(reader, chosen, start, stop))
        merged = heapq.merge(*sources, key=lambda m: m[1])
        count = 0
        last = "nothing before it"
        while True:
            try:
                connection, log_time, data = next(merged)
                memoryview(data), int(log_time)  # a damaged sqlite3 file holds anything
            except StopIteration:
                return
            except Exception as error:  # rosbags raises whatever its parsing hits
                self._open_readers()  # or it is closed, which is no damage
                raise BagError(
                    f"'{self.path}' is damaged after {count} readable messages "
                    f"({last}): {say(error)}"
                ) from error
            if connection is None:
                continue
            if not is_ros1(connection):
                data = decompress_message(data)
            count += 1
            last = f"the last is of {connection.topic} at {log_time} ns"
            yield BagMessage(connection.topic, connection.msgtype, log_time, data, connection)

    def recover(self) -> bool:
        """Read MCAP files without their index from now on; False where that is no help."""
        changed = False
        for path, reader in self._readers.items():
            if reader.path.suffix != ".mcap" or isinstance(reader, ScannedMcap):
                continue
            try:
                scanned, faults = scan_mcap(Path(str(reader.path)))
            except (OSError, ValueError):  # not even its beginning
                continue
            with suppress(Exception):  # closing what is damaged
                reader.close()
            self._readers[path] = scanned
            self._warn(path, faults)
            changed = True
        return changed

    def stamp(self, message: BagMessage) -> int:
        """The header stamp in ns; the log time where the header has none."""
        stamp = header_stamp(message.data, is_ros1(message.connection))
        # A damaged log time may not fit a signed number.
        return min(message.log_time, 2**63 - 1) if stamp is None else stamp

    def decode(self, message: BagMessage) -> Any:
        """The message's fields, as in its definition.

        Raises:
            BagError: its bytes are no such message.
        """
        try:
            if is_ros1(message.connection):
                return ros1_types().deserialize_ros1(message.data, message.type)
            return ros2_types().deserialize_cdr(message.data, message.type)
        except Exception as error:  # rosbags raises whatever its parsing hits
            raise BagError(f"no {message.type}: {say(error)}") from error

    def _open(self) -> None:
        files, expected = [self.path], 0
        if self.path.is_dir():
            try:
                files, expected = read_metadata(self.path)
            except ValueError as error:
                files = storage_files(self.path)
                self.warnings.append(f"'{self.path}': read file by file, since {error}")
        failed: list[str] = []
        for path in files:
            scratch = Path(tempfile.mkdtemp(dir=self._scratch.name))
            try:
                self._readers[path], faults = open_storage(path, scratch)
                self._warn(path, faults)
            except Exception as error:  # rosbags raises whatever its parsing hits
                failed.append(say(error) if path == self.path else f"'{path}': {say(error)}")
        if not files:
            failed = [*self.warnings, "no .mcap or .db3 file is there"]
        if not self._readers:
            raise BagError(f"'{self.path}' can't be read as a bag: {'; '.join(failed)}")
        self.warnings += failed
        if not failed and self._held() < expected:
            self.recover()  # an index may lead to less than there is
        if self._held() < expected:
            self.warnings.append(
                f"'{self.path}': metadata.yaml says {expected} messages, {self._held()} are there"
            )

    def _open_readers(self) -> Collection[_Reader]:
        if not self._readers:
            raise BagError(f"'{self.path}' is closed: read it within `with Bag(...)`")
        return self._readers.values()

    def _held(self) -> int:
        return sum(connection.msgcount for connection in self.connections)

    def _warn(self, path: Path, faults: Sequence[str]) -> None:
        self.warnings += [f"'{path}': {fault}" for fault in faults]


def _from_its_start(
    reader: _Reader, connections: Sequence[Connection], start: int | None, stop: int | None
) -> Iterator[tuple[Connection | None, int, bytes]]:
    """The messages of a file, and first a mark at its time: merged with others, a file is not read,
    and none of its messages held, before its time has come."""
    yield None, reader.start_time, b""
    yield from reader.messages(connections, start, stop)
