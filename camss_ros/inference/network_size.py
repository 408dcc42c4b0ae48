"""The size that frames have in the network."""

from __future__ import annotations

from camss_ros.model.config import CamSegConfig, ConcatTransformerConfig, TwinConfig

STRIDE = 16  # of the networks' tokens


def can_resize(config: CamSegConfig | TwinConfig) -> bool:
    """Whether a model works at other sizes than its own."""
    # the official transformer has learned positions of one size
    return not isinstance(config.transformer, ConcatTransformerConfig)


def nearest_size(size: tuple[int, int], share: float = 1.0) -> tuple[int, int]:
    """The (height, width) of whole tokens next to a share of the sides of a size."""
    height, width = (max(1, round(side * share / STRIDE)) * STRIDE for side in size)
    return height, width


def checked_size(
    config: CamSegConfig | TwinConfig, asked: tuple[int, int] | None
) -> tuple[int, int]:
    """The asked-for (height, width), or by default the model's own.

    Raises:
        ValueError: the sides are no multiples of the stride, or the model has one size only.
    """
    if asked is None or tuple(asked) == config.input_size:  # JSON and YAML give lists
        return config.input_size
    height, width = asked
    if (near := nearest_size((height, width))) != (height, width):
        raise ValueError(
            f"network size {width} x {height}: expected multiples of {STRIDE}, such as "
            f"{near[1]} x {near[0]}"
        )
    if not can_resize(config):
        own_height, own_width = config.input_size
        raise ValueError(
            f"network size {width} x {height}: model {config.name} works at "
            f"{own_width} x {own_height} only"
        )
    return near
