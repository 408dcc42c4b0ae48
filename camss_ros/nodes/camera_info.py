"""Camera calibration for an image of another size."""

from copy import deepcopy

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header


def scale_camera_info(
    info: CameraInfo, image_size: tuple[int, int], mask_size: tuple[int, int], header: Header
) -> CameraInfo:
    """The calibration of an image as that of its mask; sizes are (height, width) in pixels.

    Focal lengths, principal point, stereo baseline terms and region of interest are scaled as
    image_proc's resize node does; distortion, rotation and binning do not depend on the size
    (sensor_msgs/CameraInfo). `info` may be of the full sensor where the image is binned or cropped:
    the scale is that from image to mask. `header` becomes the header.
    """
    scale_y, scale_x = (mask / image for mask, image in zip(mask_size, image_size, strict=True))
    scaled = deepcopy(info)
    scaled.header = header
    scaled.height = round(info.height * scale_y)
    scaled.width = round(info.width * scale_x)
    k, p = scaled.k, scaled.p
    for matrix, columns in ((k, 3), (p, 4)):
        matrix[0] *= scale_x  # fx
        matrix[2] *= scale_x  # cx
        matrix[columns + 1] *= scale_y  # fy
        matrix[columns + 2] *= scale_y  # cy
    p[3] *= scale_x  # Tx = -fx * baseline
    p[7] *= scale_y  # Ty
    (mask_height, mask_width), (height, width) = mask_size, image_size
    scaled.roi.x_offset = info.roi.x_offset * mask_width // width
    scaled.roi.y_offset = info.roi.y_offset * mask_height // height
    scaled.roi.width = info.roi.width * mask_width // width
    scaled.roi.height = info.roi.height * mask_height // height
    return scaled
