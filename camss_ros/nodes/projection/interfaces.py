"""Every topic of the projector: name, type, quality of service, and when there is one.

The node makes them where it uses them; the tests compare a running node with this list.
"""

from __future__ import annotations

from camss_ros.nodes.endpoints import Endpoint

SUBSCRIBED = (
    Endpoint(
        "segmentation/mask",
        "sensor_msgs/msg/Image",
        "Class ids of the segmenter with `mask_format: mono8`.",
        "input_qos",
    ),
    Endpoint(
        "segmentation/confidence",
        "sensor_msgs/msg/Image",
        "Of the same stamp and size as the mask.",
        "input_qos",
    ),
    Endpoint(
        "segmentation/camera_info",
        "sensor_msgs/msg/CameraInfo",
        "Calibration of the masks; the newest holds.",
        "input_qos",
    ),
    Endpoint(
        "depth/image",
        "sensor_msgs/msg/Image",
        "16UC1 (mm) or 32FC1 (m), in the optical frame of the masks (registered).",
        "input_qos",
        ("cloud_from", ("depth",)),
    ),
    Endpoint(
        "depth/camera_info",
        "sensor_msgs/msg/CameraInfo",
        "Calibration of depth images of another size than the masks'; the newest holds.",
        "input_qos",
        ("cloud_from", ("depth",)),
    ),
    Endpoint(
        "points",
        "sensor_msgs/msg/PointCloud2",
        "Points of a lidar, of any layout.",
        "input_qos",
        ("cloud_from", ("lidar",)),
    ),
    Endpoint(
        "odometry",
        "nav_msgs/msg/Odometry",
        "Places of the vehicle.",
        "input_qos",
        ("grid_memory", ("true",)),
    ),
)

PUBLISHED = (
    Endpoint(
        "labeled_cloud",
        "sensor_msgs/msg/PointCloud2",
        "Points with label, confidence and the colour of the class; header of the depth image's "
        "mask, or of the lidar's cloud.",
        "output_qos",
        ("cloud_from", ("depth", "lidar")),
    ),
    Endpoint(
        "filtered_cloud",
        "sensor_msgs/msg/PointCloud2",
        "Those of its points that drop_classes and keep_classes leave.",
        "output_qos",
        ("cloud_from", ("depth", "lidar")),
    ),
    Endpoint(
        "drivable_grid",
        "nav_msgs/msg/OccupancyGrid",
        "Expected occupancy of the ground, in percent, -1 where nothing is known.",
        "output_qos",
    ),
    Endpoint(
        "obstacle_points",
        "sensor_msgs/msg/PointCloud2",
        "Where the drivable ground ends in each direction, with label and confidence.",
        "output_qos",
    ),
    Endpoint(
        "obstacle_scan",
        "sensor_msgs/msg/LaserScan",
        "The same as a laser at vehicle_frame would scan it: infinity over free ground, NaN where "
        "none is seen.",
        "output_qos",
    ),
    Endpoint(
        "/diagnostics",
        "diagnostic_msgs/msg/DiagnosticArray",
        "Once a second, in every state: what was projected, dropped, rejected and why.",
        "reliable",
    ),
)
