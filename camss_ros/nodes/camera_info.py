"""Camera calibration for an image of another size."""

from copy import deepcopy

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
