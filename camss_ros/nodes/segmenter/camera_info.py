"""The camera_info of an image for an image of another size."""

from copy import deepcopy
from itertools import product

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

_LARGEST = 2**32 - 1


@np.errstate(over="ignore")
def scale_camera_info(
    info: CameraInfo, image_size: tuple[int, int], mask_size: tuple[int, int], header: Header
) -> CameraInfo:
    """The calibration of an image as that of its mask; sizes are (height, width) in pixels.

    Focal lengths, principal point, stereo baseline terms and region of interest are scaled as
    image_proc's resize node does; distortion, rotation and binning do not depend on the size
    (sensor_msgs/CameraInfo). `info` may be of the full sensor where the image is binned or cropped:
    the scale is that from image to mask. Numbers that do not fit become the largest that do.
    `header` becomes the header.
    """
    scale_y, scale_x = (mask / image for mask, image in zip(mask_size, image_size, strict=True))
    scaled = deepcopy(info)
    scaled.header = header
    scaled.height = min(_LARGEST, round(info.height * scale_y))
    scaled.width = min(_LARGEST, round(info.width * scale_x))
    k, p = scaled.k, scaled.p
    for matrix, columns in ((k, 3), (p, 4)):
        matrix[0] *= scale_x  # fx
        matrix[2] *= scale_x  # cx
        matrix[columns + 1] *= scale_y  # fy
        matrix[columns + 2] *= scale_y  # cy
    p[3] *= scale_x  # Tx = -fx * baseline
    p[7] *= scale_y  # Ty
    (mask_height, mask_width), (height, width) = mask_size, image_size
    for name, mask, image in (
        ("x_offset", mask_width, width),
        ("y_offset", mask_height, height),
        ("width", mask_width, width),
        ("height", mask_height, height),
    ):
        setattr(scaled.roi, name, min(_LARGEST, getattr(info.roi, name) * mask // image))
    return scaled


def belongs_to(info: CameraInfo, image_size: tuple[int, int]) -> bool:
    """Whether a calibration can be that of an image of (height, width), by its size.

    It is of that size, or of the sensor whose pixels were cropped (`roi`) or binned to it; or it
    has no size.
    """
    if info.height == info.width == 0:
        return True
    sizes = [(info.height, info.width), (info.roi.height, info.roi.width)]  # 0 is that of none
    binnings = {(1, 1), (max(1, info.binning_y), max(1, info.binning_x))}
    return any(
        all(abs(i * b - s) < b for i, s, b in zip(image_size, size, binning, strict=True))
        for size, binning in product(sizes, binnings)
    )
