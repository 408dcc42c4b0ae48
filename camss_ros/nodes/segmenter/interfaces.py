"""Every topic and service of the segmenter: name, type, quality of service, and when there is one.

The node makes them where it uses them; the tests compare a running node with this list. The
topics reference is written from it.
"""

from __future__ import annotations

from camss_ros.nodes.endpoints import Endpoint

SUBSCRIBED = (
    Endpoint(
        "image",
        "sensor_msgs/msg/Image",
        "Every 8-bit encoding, nv12 and nv21 too; 16-bit rgb, bgr, mono and bayer scaled.",
        "image_qos",
        ("image_transport", ("raw",)),
    ),
    Endpoint(
        "image/compressed",
        "sensor_msgs/msg/CompressedImage",
        "JPEG or PNG, instead of `image`; an EXIF orientation is ignored.",
        "image_qos",
        ("image_transport", ("compressed",)),
    ),
    Endpoint(
        "camera_info",
        "sensor_msgs/msg/CameraInfo",
        "Calibration of the images; optional.",
        "image_qos",
    ),
)

PUBLISHED = (
    Endpoint(
        "segmentation/mask",
        "sensor_msgs/msg/Image",
        "Every image: mono8 class ids, 255 is void, `step == width`; with `mask_format: "
        "autoware_rle` runs of class and length.",
        "output_qos",
        ("mask_format", ("mono8", "autoware_rle")),
    ),
    Endpoint(
        "segmentation/mask/compressed",
        "sensor_msgs/msg/CompressedImage",
        "Every image, instead of `segmentation/mask`: class ids as PNG.",
        "output_qos",
        ("mask_format", ("png",)),
    ),
    Endpoint(
        "segmentation/confidence",
        "sensor_msgs/msg/Image",
        "Every image: mono8, probability of the class times 255.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/uncertainty",
        "sensor_msgs/msg/Image",
        "Every image while somebody listens: mono8, entropy over the classes, 255 is the largest.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/overlay",
        "sensor_msgs/msg/Image",
        "Every image while somebody listens: rgb8, the image under the colours of its classes.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/mask_color",
        "sensor_msgs/msg/Image",
        "Every image while somebody listens: rgb8, the mask in the colours of its classes.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/camera_info",
        "sensor_msgs/msg/CameraInfo",
        "Every image once a `camera_info` has come: the calibration scaled to the mask.",
        "output_qos",
    ),
    Endpoint(
        "segmentation/label_info",
        "vision_msgs/msg/LabelInfo",
        "At activation, before the first mask, after `~/reload_model`, and when the threshold has "
        "changed: names of the class ids, and `ignore_below_confidence` as the threshold.",
        "latched",
        needs="vision_msgs",
    ),
    Endpoint(
        "segmentation/status",
        "camss_ros/msg/SegmenterStatus",
        "Every image, once a second, and at activation and deactivation: counts, latency, time of "
        "every stage.",
        "latched",
    ),
    Endpoint(
        "/diagnostics",
        "diagnostic_msgs/msg/DiagnosticArray",
        "Once a second, in every state: rates, drops, rejections by reason, latency, memory.",
        "reliable",
    ),
)

SERVICES = (
    Endpoint(
        "~/set_enabled",
        "std_srvs/srv/SetBool",
        "Stop and go on listening to images; the model stays loaded.",
    ),
    Endpoint(
        "~/reload_model",
        "std_srvs/srv/Trigger",
        "Load the model of the parameters beside the one in use, which stays where that fails.",
    ),
)
