"""The names of the class ids, as vision_msgs/LabelInfo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Header

if TYPE_CHECKING:
    from camss_ros.images.label_class import LabelClass


def label_info_type() -> type | None:
    """vision_msgs/LabelInfo, or None where vision_msgs is not installed (it has no wheel)."""
    try:
        from vision_msgs.msg import LabelInfo
    except ImportError:
        return None
    return LabelInfo


def label_info_message(classes: Sequence[LabelClass], header: Header, threshold: float) -> Any:
    """vision_msgs/LabelInfo with every class id and name. 255 is "unlabeled" by definition.

    `threshold`: the confidence, 0 to 1, below which pixels are 255.
    """
    from vision_msgs.msg import LabelInfo, VisionClass

    return LabelInfo(
        header=header,
        class_map=[VisionClass(class_id=c.id, class_name=c.name) for c in classes],
        threshold=threshold,
    )
