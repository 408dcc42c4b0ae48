"""The class names, with and without vision_msgs."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from std_msgs.msg import Header

from camss_ros.nodes.messages import label_info_message, label_info_type


@pytest.fixture
def vision_msgs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stands in for vision_msgs, which has no wheel: messages with the same fields."""
    package, messages = ModuleType("vision_msgs"), ModuleType("vision_msgs.msg")

    class LabelInfo(SimpleNamespace):
        def __init__(self, header: Header, class_map: list, threshold: float) -> None:
            super().__init__(header=header, class_map=class_map, threshold=threshold)

    class VisionClass(SimpleNamespace):
        def __init__(self, class_id: int, class_name: str) -> None:
            super().__init__(class_id=class_id, class_name=class_name)

    messages.LabelInfo, messages.VisionClass = LabelInfo, VisionClass
    monkeypatch.setitem(sys.modules, "vision_msgs", package)
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", messages)
    return messages


def test_every_class_is_named(vision_msgs: ModuleType) -> None:
    classes = [SimpleNamespace(id=0, name="sky"), SimpleNamespace(id=7, name="road")]
    header = Header(frame_id="camera")
    info = label_info_message(classes, header, 0.5)
    assert label_info_type() is vision_msgs.LabelInfo
    assert info.header == header
    assert info.threshold == 0.5
    assert [(c.class_id, c.class_name) for c in info.class_map] == [(0, "sky"), (7, "road")]


def test_without_vision_msgs_there_is_no_type(monkeypatch: pytest.MonkeyPatch) -> None:
    # Both: where it is installed, another test may have imported them.
    monkeypatch.setitem(sys.modules, "vision_msgs", None)
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    assert label_info_type() is None
