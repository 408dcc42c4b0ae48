"""The synthetic street as a source of frames."""

from __future__ import annotations

from collections.abc import Iterator

from camss_ros.images.frames import Frame, FrameSource, UnreadableInputError
from camss_ros.images.label_sets import LabelSet, load_label_set
from camss_ros.street.light import VARIANTS, Variant
from camss_ros.street.synthetic import FRAME_RATE, SyntheticStreet


class SyntheticFrames(FrameSource):
    """The procedural street, without end, with exact labels of `label_set` if it is given."""

    endless = True
    fps = FRAME_RATE
    has_depth = True

    def __init__(self, variant: Variant, label_set: LabelSet | None) -> None:
        super().__init__()
        self._street = SyntheticStreet(variant=variant)
        self.label_set = label_set
        self.horizontal_fov = self._street.camera(0).horizontal_fov
        self._table = None if label_set is None else load_label_set("camvid11").to(label_set)

    @property
    def size(self) -> tuple[int, int]:
        return self._street.height, self._street.width

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            depth = None
            if self.with_depth:
                image, label, depth = self._street.frame_with_depth(index)
            else:
                image, label = self._street.frame(index)
            truth = None if self._table is None else self._table[label]
            yield Frame(image, f"frame_{index:06d}", truth, depth=depth)
            index += 1


def open_street(variant: str, label_set: LabelSet | None, with_labels: bool) -> FrameSource:
    """The street in a variant, "" for the first; labels as in `open_frames`.

    Raises:
        UnreadableInputError: there is no such variant.
    """
    for known in VARIANTS:
        if variant in (known, ""):
            own = (label_set or load_label_set("camvid11")) if with_labels else None
            return SyntheticFrames(known, own)
    raise UnreadableInputError(
        f"'synthetic:{variant}' is not a synthetic street; the variants are "
        + ", ".join(f"synthetic:{known}" for known in VARIANTS)
    )
