"""A bag again, as rosbag2 (MCAP), with the masks of its images beside the original topics."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from camss_ros.bags.bag import Bag, BagError, BagMessage, Topic
from camss_ros.bags.bag_frames import BagSelection
from camss_ros.bags.bag_storage import say
from camss_ros.bags.bag_types import (
    IMAGE,
    LABEL_INFO,
    TF_MESSAGE,
    beside,
    fits_header,
    is_ros1,
    ros2_types,
)
from camss_ros.bags.bag_writer import BagWriter, image_message, label_info_message, make_qos
from camss_ros.images.image_files import read_pixels
from camss_ros.images.label_class import LabelClass

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, Qos
    from rosbags.typesys.store import Typestore

_LINE = "=" * 80 + "\n"
_IDL = f"{_LINE}IDL: "


def write_masks_bag(
    bag: Bag,
    path: Path,
    cameras: Sequence[tuple[BagSelection, Callable[[int], Path]]],
    classes: Sequence[LabelClass],
    on_message: Callable[[], None] = lambda: None,
) -> list[str]:
    """Write the span of `bag` that the selections name, the same one, to a new folder.

    Every image with a mask is followed by it on `segmentation/mask` beside the image's topic
    (sensor_msgs/Image, mono8), with the image's header and log time; `segmentation/label_info`
    (vision_msgs/LabelInfo, latched) comes first. Topics of these names in the bag are replaced.
    What latched topics held when the span begins stands at its beginning.

    Args:
        path: of the folder, which must not exist.
        cameras: a selection, and the file for an image message by its number in the span.
        classes: of the masks.
        on_message: called after each message.

    Returns:
        What could not be copied, in sentences.

    Raises:
        BagError: `path` exists, or two cameras' masks would have one topic.
        OSError: it can't be written.
    """
    notes: list[str] = []
    by_image = {selection.image: (selection, mask_of) for selection, mask_of in cameras}
    images = [(topic.name, topic.type) for topic in map(bag.require, by_image)]
    # Where the node publishes that subscribes to the images in their own namespace.
    mask_names = {image: beside(image, "segmentation/mask") for image in by_image}
    if len(set(mask_names.values())) < len(mask_names):
        raise BagError(
            f"the masks of {' and '.join(mask_names)} would have one topic: "
            "write a bag for one camera at a time"
        )
    info_names = [beside(image, "segmentation/label_info") for image in by_image]
    replaced = {*mask_names.values(), *info_names}
    start, stop = cameras[0][0].span(bag)
    ros1 = _Ros1Types()
    with BagWriter(path) as writer:
        topics: dict[tuple[str, str], Connection] = {}
        for connection in bag.connections:
            key = (connection.topic, connection.msgtype)
            if connection.topic in replaced:
                note = f"{connection.topic} is replaced"
            elif key in topics:
                continue
            else:
                try:
                    if is_ros1(connection):
                        definition, digest = ros1.definition(connection)
                        qos: Sequence[Qos] = _latched_qos(bag, key)
                    else:
                        definition, digest = _definition(connection)
                        qos = connection.ext.offered_qos_profiles  # type: ignore[union-attr]
                    topics[key] = writer.add_raw_topic(*key, definition, digest, qos)
                    continue
                except Exception as error:  # rosbags raises whatever its parsing hits
                    note = f"{connection.topic} is left out: {error}"
            if note not in notes:
                notes.append(note)
        masks = {image: writer.add_topic(name, IMAGE) for image, name in mask_names.items()}
        infos = [writer.add_topic(name, LABEL_INFO, latched=True) for name in info_names]
        numbers = dict.fromkeys(by_image, 0)
        first = True
        held: Iterator[BagMessage] = iter(())
        if start is not None:
            others = {key: topic for key, topic in topics.items() if key not in images}
            held = _latched_messages(bag, others, start, notes)
        messages = _readable_messages(bag, None, start, stop, notes)
        for message in itertools.chain(held, messages):
            if first:
                stamp = message.log_time if fits_header(message.log_time) else 0
                names = label_info_message(classes, stamp, "")
                for info in infos:
                    writer.write(info, names, message.log_time)
                first = False
            topic = topics.get((message.topic, message.type))
            if topic is not None:
                try:
                    data = ros1.to_cdr(message) if is_ros1(message.connection) else message.data
                    writer.write_raw(topic, data, message.log_time)
                except BagError as error:
                    notes.append(f"a message of {message.topic} is left out: {error}")
            if (message.topic, message.type) in images:
                selection, mask_of = by_image[message.topic]
                number = numbers[message.topic]
                mask = mask_of(number)
                if number % selection.every == 0 and mask.exists():
                    _write_mask(writer, masks[message.topic], bag, message, mask)
                numbers[message.topic] += 1
            on_message()
    return notes


def _write_mask(
    writer: BagWriter, topic: Connection, bag: Bag, image: BagMessage, mask: Path
) -> None:
    labels = read_pixels(mask)
    if labels is None:
        raise OSError(f"the mask '{mask}' can't be read any more")
    header = bag.decode(image).header
    message = image_message(labels, "mono8", 0, header.frame_id)
    # The stamp as it is, unset ones too.
    message.header.stamp.sec = header.stamp.sec
    message.header.stamp.nanosec = header.stamp.nanosec
    writer.write(topic, message, image.log_time)


def _readable_messages(
    bag: Bag,
    topics: Sequence[Topic] | None,
    start: int | None,
    stop: int | None,
    notes: list[str],
) -> Iterator[BagMessage]:
    """As `Bag.messages`, past damage where that can be; it is noted."""
    given: Counter[tuple[str, str]] = Counter()
    while True:
        seen: Counter[tuple[str, str]] = Counter()
        try:
            for message in bag.messages(topics, start, stop):
                key = message.topic, message.type
                seen[key] += 1
                if seen[key] > given[key]:
                    given[key] += 1
                    yield message
            return
        except BagError as error:
            notes.append(str(error))
            if not bag.recover():
                return


def _latched_messages(
    bag: Bag, topics: Mapping[tuple[str, str], Connection], start: int, notes: list[str]
) -> Iterator[BagMessage]:
    """What a subscriber that comes at `start`, ns, still gets of latched topics, at that time.

    Of a topic with several publishers, which a bag does not tell apart, as many messages as there
    are of them; of transforms all, since they add up.
    """
    from rosbags.interfaces import QosDurability

    held: dict[tuple[str, str], deque[BagMessage]] = {}
    for key, topic in topics.items():
        profiles = topic.ext.offered_qos_profiles  # type: ignore[union-attr]
        publishers = [it.durability for it in profiles].count(QosDurability.TRANSIENT_LOCAL)
        if publishers:
            held[key] = deque(maxlen=None if topic.msgtype == TF_MESSAGE else publishers)
    wanted = [Topic(*key, 0) for key in held]
    for message in _readable_messages(bag, wanted, None, start, notes):
        held[message.topic, message.type].append(message)
    for message in itertools.chain(*held.values()):
        yield dataclasses.replace(message, log_time=start)


def _latched_qos(bag: Bag, key: tuple[str, str]) -> list[Qos]:
    """Of a topic and type of ROS 1: a profile for each publisher that latched."""
    ours = (c for c in bag.connections if (c.topic, c.msgtype) == key)
    return [make_qos(latched=True) for c in ours if c.ext.latching]  # type: ignore[union-attr]


def _definition(connection: Connection) -> tuple[str, str]:
    """Text and RIHS01 hash of a rosbag2 topic's type; bags before Iron carry neither."""
    from rosbags.interfaces import MessageDefinitionFormat

    kind, text = connection.msgtype, connection.msgdef.data
    known = ros2_types()
    if not text:
        if kind not in known.fielddefs:
            raise BagError(f"the bag has no definition of {kind}")
        return known.generate_msgdef(kind, ros_version=2)[0], known.hash_rihs01(kind)
    # rosbag2 has a title before each .idl file, others may have none.
    if connection.msgdef.format == MessageDefinitionFormat.IDL and not text.startswith(_IDL):
        text = f"{_IDL}{kind}\n{text}"
    return text, connection.digest or _parsed(text, kind).hash_rihs01(kind)


def _parsed(text: str, kind: str) -> Typestore:
    """The types of a definition, of .msg files or, with a title each, of .idl files."""
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    store = get_typestore(Stores.EMPTY)
    if text.startswith(_IDL):
        for file in text.split(_LINE)[1:]:
            # rosbags knows no preprocessor; what would be included follows.
            lines = [line for line in file.splitlines()[1:] if not line.startswith("#")]
            store.register(get_types_from_idl("\n".join(lines)))
    else:
        store.register(get_types_from_msg(text, kind))
    return store


class _Ros1Types:
    """Message types of a ROS 1 bag as those of ROS 2.

    A type that ROS 2 knows is taken over where its fields are the same there; others bring their
    own definition along.
    """

    def __init__(self) -> None:
        self._stores: dict[str, Typestore] = {}

    def definition(self, connection: Connection) -> tuple[str, str]:
        """Text and RIHS01 hash; raises BagError where the type is another in ROS 2."""
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        kind = connection.msgtype
        known = ros2_types()
        types = get_types_from_msg(connection.msgdef.data, kind)
        for name in types:
            if name == "std_msgs/msg/Header" or name not in known.fielddefs:
                continue
            # Names differ in case: CameraInfo has K in ROS 1 and k in ROS 2.
            if str(types[name][1]).lower() != str(known.fielddefs[name][1]).lower():
                raise BagError(f"{name} has other fields in ROS 2")
        store = get_typestore(Stores.EMPTY)
        store.register({name: known.fielddefs.get(name, types[name]) for name in types})
        for name in ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration"):
            if name not in store.fielddefs:
                store.register({name: known.fielddefs[name]})
        self._stores[kind] = store
        return store.generate_msgdef(kind, ros_version=2)[0], store.hash_rihs01(kind)

    def to_cdr(self, message: BagMessage) -> memoryview:
        try:
            return self._stores[message.type].ros1_to_cdr(message.data, message.type)
        except Exception as error:  # rosbags raises whatever its parsing hits
            raise BagError(f"no {message.type}: {say(error)}") from error
