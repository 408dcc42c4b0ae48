"""Reading bags: rosbag2 (sqlite3, MCAP; compressed, split) and ROS 1, without a ROS installation.

    with Bag(path) as bag:
        for message in bag.messages(["/camera/image"]):
            image = bag.decode(message)      # fields as in the message definition

What is damaged is passed over and noted in `bag.warnings` as far as anything can be read.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from camss_ros.data.bag_types import IMAGE_TYPES, header_stamp, ros1_types, ros2_types
from camss_ros.data.image_files import visible
from camss_ros.data.mcap_scan import DamagedMcap

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

_STORAGE_SUFFIXES = (".mcap", ".db3")


class BagError(ValueError):
    """A bag, a topic or a message that can't be read; the message says which and why."""


@dataclass(frozen=True)
class Topic:
    """A topic of a bag: `type` such as "sensor_msgs/msg/Image"; `messages`: how many, as the bag
    says."""

    name: str
    type: str
    messages: int


@dataclass(frozen=True)
class BagMessage:
    """A message as it lies in the bag: `log_time` in ns, when it was recorded; `data` serialized;
    `connection` as rosbags describes it."""

    topic: str
    type: str
    log_time: int
    data: bytes
    connection: Any


class _Reader(Protocol):
    connections: list[Connection]

    @property
    def start_time(self) -> int: ...
    @property
    def end_time(self) -> int: ...
    def close(self) -> None: ...
    def messages(
        self, connections: Sequence[Connection], start: int | None, stop: int | None
    ) -> Iterator[tuple[Connection, int, bytes]]: ...


class Bag:
    """A bag that is open for reading.

    `path`: a rosbag2 folder, a file of one (.mcap, .db3) or a ROS 1 bag (.bag). `warnings`: what
    was found damaged so far.

    Raises FileNotFoundError where nothing is, BagError for what can't be read as a bag.
    """

    def __init__(self, path: Path) -> None:
        try:
            import rosbags.rosbag2  # noqa: F401
        except ImportError as error:
            raise BagError(
                "reading bags needs the package rosbags: pip install 'camss_ros[eval]'"
            ) from error
        self.path = path
        self.warnings: list[str] = []
        if not path.exists():
            raise FileNotFoundError(
                f"there is no bag '{path}': expected a rosbag2 folder, an .mcap, .db3 or .bag file"
            )
        self.ros1 = path.suffix == ".bag" and path.is_file()
        self._recovered = False
        self._readers = self._open()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers:
            with suppress(Exception):  # closing what is damaged
                reader.close()
        self._readers = []

    @property
    def connections(self) -> list[Connection]:
        """Of all files, as rosbags describes them."""
        return [connection for reader in self._readers for connection in reader.connections]

    @property
    def topics(self) -> list[Topic]:
        """By name."""
        counts: dict[tuple[str, str], int] = {}
        for connection in self.connections:
            key = (connection.topic, connection.msgtype)
            counts[key] = counts.get(key, 0) + connection.msgcount
        return [Topic(name, kind, count) for (name, kind), count in sorted(counts.items())]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())

    @property
    def start_time(self) -> int:
        """Log time of the first message, ns; a huge number without messages."""
        return min(reader.start_time for reader in self._readers)

    def require(self, name: str, types: Sequence[str] = IMAGE_TYPES) -> Topic:
        """The topic of that name and one of the types. Raises BagError that lists what is there."""
        for topic in self.topics:
            if topic.name == name and topic.type in types:
                return topic
        found = [topic.type for topic in self.topics if topic.name == name]
        what = f"is of type {found[0]}" if found else "is not there"
        listed = "".join(
            f"\n  {topic.name}  {topic.type}  {topic.messages} messages" for topic in self.topics
        )
        raise BagError(
            f"'{self.path}': topic {name} {what}; expected {' or '.join(types)}. "
            f"The topics of the bag:{listed or ' none'}"
        )

    def messages(
        self, topics: Sequence[str] | None = None, start: int | None = None, stop: int | None = None
    ) -> Iterator[BagMessage]:
        """The messages of the topics (all for None) with `start` <= log time < `stop`, ns.

        In the order of their log times; in a damaged MCAP file, in its own. Raises BagError where
        the bag turns out to be damaged; what was yielded before is good.
        """
        sources = []
        for reader in self._readers:
            chosen = [c for c in reader.connections if topics is None or c.topic in topics]
            if chosen:
                sources.append(reader.messages(chosen, start, stop))
        merged = sources[0] if len(sources) == 1 else heapq.merge(*sources, key=lambda m: m[1])
        count = 0
        last = "nothing before it"
        while True:
            try:
                connection, log_time, data = next(merged)
                memoryview(data), int(log_time)  # a damaged sqlite3 file holds anything
            except StopIteration:
                return
            except Exception as error:  # rosbags raises whatever its parsing hits
                raise BagError(
                    f"'{self.path}' is damaged after {count} readable messages "
                    f"({last}): {_say(error)}"
                ) from error
            count += 1
            last = f"the last is of {connection.topic} at {log_time} ns"
            yield BagMessage(connection.topic, connection.msgtype, log_time, data, connection)

    def recover(self) -> bool:
        """Read damaged MCAP files without their index from now on; False where that is no help."""
        readers: list[_Reader] = []
        for reader in self._readers:
            try:
                scanned = [self._scan(path) for path in _mcap_files(reader)]
            except (OSError, ValueError):  # not even its beginning
                scanned = []
            readers += scanned or [reader]
            if scanned:
                with suppress(Exception):  # closing what is damaged
                    reader.close()
        changed = readers != self._readers
        self._readers, self._recovered = readers, changed or self._recovered
        return changed

    def again(self) -> Bag:
        """The same bag, opened a second time: rosbags can't serve two readings at once."""
        other = Bag(self.path)
        if self._recovered:
            other.recover()
        return other

    def stamp(self, message: BagMessage) -> int:
        """The header stamp in ns; the log time where the header has none."""
        stamp = header_stamp(message.data, self.ros1)
        # A damaged log time may not fit a signed number.
        return min(message.log_time, 2**63 - 1) if stamp is None else stamp

    def decode(self, message: BagMessage) -> Any:
        """The message's fields, as in its definition. Raises BagError where that can't be done."""
        try:
            if self.ros1:
                return ros1_types().deserialize_ros1(message.data, message.type)
            return ros2_types().deserialize_cdr(message.data, message.type)
        except Exception as error:  # rosbags raises whatever its parsing hits
            raise BagError(f"no {message.type}: {_say(error)}") from error

    def _open(self) -> list[_Reader]:
        import rosbags.rosbag1
        import rosbags.rosbag2

        kind = rosbags.rosbag1.Reader if self.ros1 else rosbags.rosbag2.Reader
        try:
            return [_opened(kind(self.path))]
        except Exception as error:  # rosbags raises whatever its parsing hits
            if self.ros1:
                raise BagError(
                    f"'{self.path}' can't be read as a ROS 1 bag: {_say(error)}"
                ) from error
            return self._open_files(error)

    def _open_files(self, reason: Exception) -> list[_Reader]:
        """The storage files of a rosbag2 one by one, since the whole can't be opened."""
        import rosbags.rosbag2

        files = _storage_files(self.path) if self.path.is_dir() else [self.path]
        readers: list[_Reader] = []
        faults: list[str] = []
        for path in files:
            try:
                if path == self.path and path.suffix != ".mcap":
                    raise reason
                readers.append(_opened(rosbags.rosbag2.Reader(path)))
            except Exception:
                try:
                    if path.suffix != ".mcap":
                        raise
                    readers.append(self._scan(path))
                except Exception as final:
                    faults.append(f"'{path}': {_say(final)}")
        if not readers:
            details = "; ".join(faults) or f"{_say(reason)}; no .mcap or .db3 file is there"
            raise BagError(f"'{self.path}' can't be read as a bag: {details}")
        if self.path.is_dir():
            self.warnings.append(f"'{self.path}': read file by file, since {_say(reason)}")
        self.warnings += faults
        return readers

    def _scan(self, path: Path) -> DamagedMcap:
        recovered = DamagedMcap(path)
        self.warnings += [f"'{path}': {fault}" for fault in recovered.faults]
        if not recovered.connections:
            raise ValueError("; ".join(recovered.faults) or "it holds no CDR topics")
        return recovered


def _opened(reader: Any) -> _Reader:
    reader.open()
    for connection in reader.connections:
        kinds = ((connection.topic, str), (connection.msgtype, str), (connection.msgcount, int))
        if not all(isinstance(value, kind) for value, kind in kinds):
            reader.close()
            raise ValueError("its list of topics is damaged")
    return reader  # type: ignore[no-any-return]


def _mcap_files(reader: Any) -> list[Path]:
    """The MCAP files that rosbags reads by their index."""
    if isinstance(reader, DamagedMcap):
        return []
    path = Path(reader.path)
    return [
        file
        for file in ([path] if path.is_file() else _storage_files(path))
        if file.suffix == ".mcap"
    ]


def _storage_files(folder: Path) -> list[Path]:
    """In the order of their numbers: bag_2 before bag_10."""
    files = [path for path in visible(folder) if path.suffix in _STORAGE_SUFFIXES]
    return sorted(files, key=lambda path: [int(n) for n in re.findall(r"[0-9]+", path.stem)])


def _say(error: BaseException) -> str:
    """What went wrong, where rosbags raises errors without a message too."""
    return (str(error) or type(error).__name__).strip().rstrip(".")
