#!/bin/sh
# The entry point of the images: `docker run IMAGE image:=/camera/image_raw device:=cuda`.
set -e
. "/opt/ros/$ROS_DISTRO/setup.sh"
. /ws/install/setup.sh
exec ros2 launch camss_ros segment.launch.py "$@"
