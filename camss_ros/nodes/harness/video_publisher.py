"""A video file, an image folder or the synthetic street as a camera.

Node `video_publisher`; topics, relative to its namespace, all with the stamp of the image:

- `image` (sensor_msgs/Image, rgb8) or, with `image_transport: compressed`, `image/compressed`
  (sensor_msgs/CompressedImage, jpeg), and `camera_info` (sensor_msgs/CameraInfo): sensor data QoS
- with `depth`, of the synthetic street: `depth/image` (sensor_msgs/Image, 32FC1) and
  `depth/camera_info`, registered to the image: sensor data QoS
- `source_frame` (std_msgs/Header): the name of the frame in the source, as the frame_id; reliable
  and transient local. What was sent, complete even where images got lost.

    python -m camss_ros.nodes.harness.video_publisher --ros-args -p path:=drive.mp4 -p rate:=10.0
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import rclpy
import rclpy.logging
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.images.frames import FrameSource, open_frames
from camss_ros.images.message_fields import pinhole
from camss_ros.nodes.messages import to_image_message, to_jpeg_message
from camss_ros.nodes.parameter_table import DeclaredParameters, read_specs
from camss_ros.nodes.qos import LATCHED_HISTORY
from camss_ros.nodes.start_up import START_ERRORS, GivenParameters, start_problem
from camss_ros.termination import DeferredSignals

# A subscriber learns of this publisher a little later than the publisher of the subscriber, and
# what is sent in between is lost.
_MATCHING_S = 0.5
_NAMES_S = 10.0  # nothing is lost meanwhile, but the process ends later where nobody counts
# Best-effort images still on their way are lost when the process that sent them ends.
_LINGER_S = 0.5
_SIGNAL_S = 0.1
_JPEG_QUALITY = 90
_FOV = 60.0  # degrees, of a camera of which nothing is known

SPECS = read_specs(Path(__file__).with_suffix(".yaml"), {})


class VideoPublisher(GivenParameters):
    """Publishes the frames of a source at a steady rate or a video's own stamps; `run()` does it.

    Raises:
        FileNotFoundError, ValueError, ParameterException: bad parameters.
    """

    def __init__(self) -> None:
        super().__init__("video_publisher")
        given = self._given = DeclaredParameters(self, SPECS, lambda: False)
        self.warn_of_unknown_parameters()
        path = given["path"]
        if not path:
            raise ValueError("parameter 'path' is empty: set it to a video, an image or a folder")
        self._source: FrameSource = open_frames(path)
        if given["preload"] and self._source.endless:
            raise ValueError(f"parameter 'preload': '{path}' has no end")
        if given["depth"] and not self._source.has_depth:
            raise ValueError(f"parameter 'depth': '{path}' knows no depth, synthetic does")
        self._source.with_depth = given["depth"]
        self._fov = given["horizontal_fov"] or self._source.horizontal_fov or _FOV
        self._compressed = given["image_transport"] == "compressed"
        sensor = qos_profile_sensor_data
        self._images = (
            self.create_publisher(CompressedImage, "image/compressed", sensor)
            if self._compressed
            else self.create_publisher(Image, "image", sensor)
        )
        self._infos = self.create_publisher(CameraInfo, "camera_info", sensor)
        if given["depth"]:
            self._depths = self.create_publisher(Image, "depth/image", sensor)
            self._depth_infos = self.create_publisher(CameraInfo, "depth/camera_info", sensor)
        self._names = self.create_publisher(Header, "source_frame", LATCHED_HISTORY)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        height, width = self._source.size
        self._period = 1.0 / (given["rate"] or self._source.fps)
        self.get_logger().info(f"'{path}': {width} x {height} at {1.0 / self._period:.6g} Hz")

    def run(self, signals: DeferredSignals) -> int:
        """Send until the end, or for ever with `loop`; returns the number of frames sent.

        Raises:
            ExternalShutdownException: ROS is shut down meanwhile.
            KeyboardInterrupt, SystemExit: see `signals`.
        """
        self._signals = signals
        given, messages = self._given, self._messages()
        if given["preload"]:
            made = list(itertools.islice(messages, given["frames"] or None))
            messages = itertools.cycle(made) if given["loop"] else iter(made)
        if given["wait_for_subscriber"]:
            while self._images.get_subscription_count() == 0:
                self._spin_until(time.monotonic() + 0.05)
            self._spin_until(time.monotonic() + _MATCHING_S)
        sent = 0
        started = ended = due = time.monotonic()
        for name, size, pause, image, depth in messages:
            if sent:
                # A frame that comes late moves the following ones: a camera doesn't catch up in
                # bursts.
                due = max(due, ended - pause) + pause
            self._spin_until(due)
            self._publish(name, size, image, depth)
            sent += 1
            if sent == given["frames"]:
                break
            ended = time.monotonic()
        elapsed = time.monotonic() - started
        if given["wait_for_subscriber"]:
            # Who counts the frames by their names may find the topic later than the image's reader.
            latest = time.monotonic() + _NAMES_S
            while self._names.get_subscription_count() == 0 and time.monotonic() < latest:
                self._spin_until(time.monotonic() + 0.05)
        self._names.wait_for_all_acked(Duration(seconds=2))
        self._spin_until(time.monotonic() + _LINGER_S)
        self.get_logger().info(f"sent {sent} frames in {elapsed:.1f} s")
        return sent

    def _messages(
        self,
    ) -> Iterator[tuple[str, tuple[int, int], float, Image | CompressedImage, Image | None]]:
        """Name, (height, width), seconds after the one before and messages of image and depth,
        without their stamp, of each frame."""
        again = self._given["loop"] and not self._given["preload"]
        while True:
            empty = True
            before: float | None = None
            for frame in self._source:
                self._signals.check()
                empty = False
                pause = self._period
                if not self._given["rate"] and frame.time is not None and before is not None:
                    pause = frame.time - before
                before = frame.time
                header = Header(frame_id=self._given["frame_id"])
                message = (
                    to_jpeg_message(frame.image, _JPEG_QUALITY, header)
                    if self._compressed
                    else to_image_message(frame.image, "rgb8", header)
                )
                depth = frame.depth
                depth_message = None if depth is None else to_image_message(depth, "32FC1", header)
                size = (frame.image.shape[0], frame.image.shape[1])
                yield frame.name, size, pause, message, depth_message
            if empty or not again:  # every file has become unreadable, or the end
                return

    def _spin_until(self, due: float) -> None:
        self._executor.spin_once(timeout_sec=0)
        self._signals.check()
        while (remaining := due - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(remaining, _SIGNAL_S))
            self._signals.check()

    def _publish(
        self,
        name: str,
        size: tuple[int, int],
        image: Image | CompressedImage,
        depth: Image | None,
    ) -> None:
        stamp = self.get_clock().now().to_msg()
        image.header.stamp = stamp
        self._names.publish(Header(stamp=stamp, frame_id=name))
        info = CameraInfo(header=image.header, **pinhole(*size, self._fov))
        self._infos.publish(info)
        if depth is not None:  # of a source that was asked for it
            depth.header.stamp = stamp
            self._depth_infos.publish(info)
            self._depths.publish(depth)
        self._images.publish(image)


def main(args: list[str] | None = None) -> int:
    """Run the node; returns the exit code: 0 at the end or after a signal, 1 after an error."""
    logger = rclpy.logging.get_logger("video_publisher")
    try:
        with DeferredSignals() as signals:
            # rclpy's own handlers shut ROS down under the feet of a running wait.
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
            node = VideoPublisher()
            try:
                if node.run(signals) == 0:
                    logger.error("no frame could be read")
                    return 1
            finally:
                node.destroy_node()
    except (KeyboardInterrupt, SystemExit, ExternalShutdownException):
        return 0
    except (FileNotFoundError, ValueError) as error:
        logger.error(str(error))
        return 1
    except START_ERRORS as error:
        logger.error(start_problem(error))
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
