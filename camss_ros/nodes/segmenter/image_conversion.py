"""ROS images as RGB: through cv_bridge where that gives the pixels of our own conversion.

`python -m camss_ros.nodes.segmenter.image_conversion` is the self-test. It is a process of its own,
because a cv_bridge that was built for another NumPy than the one that is loaded ends the process.
"""

from __future__ import annotations

import array
import importlib.util
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from camss_ros.images.encodings import (
    ENCODINGS,
    check_image_message,
    compressed_to_rgb,
    image_to_rgb,
    pixel_bytes,
)

_TEST_TIME = 60  # s after which the self-test ends itself
_TEST_SIZE = (8, 16)


class CvBridgeUnusableError(RuntimeError):
    """cv_bridge is not there or cannot be used here."""


class ImageConverter:
    """Messages to RGB.

    Args:
        bridge: a CvBridge, or None.
        encodings: of the images that it converts as we do.
        note: why there is no bridge.
        warn: called where the bridge fails on an image of these encodings after all.
    """

    def __init__(
        self,
        bridge: Any = None,
        encodings: frozenset[str] = frozenset(),
        note: str = "",
        warn: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._bridge, self._encodings, self._note, self._warn = bridge, encodings, note, warn

    @property
    def name(self) -> str:
        """As in the parameter `image_conversion`."""
        return "cv_bridge" if self._encodings else "builtin"

    def __str__(self) -> str:
        if self._encodings:
            rest = ", ".join(name for name in ENCODINGS if name not in self._encodings)
            return f"cv_bridge; builtin for {rest}"
        return f"builtin ({self._note})" if self._note else "builtin"

    def to_rgb(self, message: Image | CompressedImage) -> np.ndarray:
        """The pixels of a message, uint8 [H, W, 3] RGB.

        Raises:
            ImageRejectedError: it is no usable image.
        """
        if isinstance(message, CompressedImage):
            return compressed_to_rgb(message)
        check_image_message(message)
        if _is_plain(message) and message.encoding in self._encodings:
            try:
                return np.asarray(self._bridge.imgmsg_to_cv2(message, "rgb8"))
            except Exception as error:  # whatever it is, we can do without
                self._encodings -= {message.encoding}
                self._warn(
                    f"cv_bridge failed on an image of {message.width} x {message.height} "
                    f"{message.encoding}, which is converted without it from now on: {error}"
                )
        return image_to_rgb(message)


def start_conversion(choice: str, warn: Callable[[str], object]) -> Future[ImageConverter]:
    """Find out how to convert images, while the caller does something else.

    Args:
        choice: parameter `image_conversion`. auto takes cv_bridge where it passes the self-test.
        warn: called where auto cannot use the cv_bridge that is there, and see `ImageConverter`.

    Returns:
        The converter; or CvBridgeUnusableError, of the choice cv_bridge that fails its self-test.

    Raises:
        CvBridgeUnusableError: the choice is cv_bridge, which is not installed.
    """
    done: Future[ImageConverter] = Future()
    if choice == "builtin":
        done.set_result(ImageConverter())
        return done
    if importlib.util.find_spec("cv_bridge") is None:
        if choice == "cv_bridge":
            raise CvBridgeUnusableError(
                "image_conversion is cv_bridge, which is not installed: install "
                "ros-<distribution>-cv-bridge, or set it to auto"
            )
        done.set_result(ImageConverter(note="cv_bridge is not installed"))
        return done
    background = ThreadPoolExecutor(1, "cv_bridge self-test")
    try:
        return background.submit(_choose, choice, warn)
    finally:
        background.shutdown(wait=False)


def _choose(choice: str, warn: Callable[[str], object]) -> ImageConverter:
    try:
        encodings = _faithful_encodings()
        return ImageConverter(_open_bridge(), encodings, warn=warn)
    except Exception as error:  # of cv_bridge's import: whatever it is
        reason = f"cv_bridge cannot be used: {error}"
        if choice == "cv_bridge":
            raise CvBridgeUnusableError(
                f"{reason}; image_conversion may be auto or builtin"
            ) from error
        warn(f"{reason}; images are converted without it")
        return ImageConverter(note="cv_bridge failed its self-test")


def _faithful_encodings() -> frozenset[str]:
    """Those whose images cv_bridge converts as we do, by the self-test.

    Raises CvBridgeUnusableError where there are none.
    """
    command = [sys.executable, "-m", "camss_ros.nodes.segmenter.image_conversion"]
    test = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    result, errors = (
        output.decode(errors="replace").strip().splitlines()[-1:]
        for output in (test.stdout, test.stderr)
    )
    if test.returncode < 0:
        raise CvBridgeUnusableError(
            f"its self-test was ended by {signal.Signals(-test.returncode).name}; of SIGSEGV the "
            f"usual cause is that it was built for another NumPy than {np.__version__}"
        )
    if test.returncode > 0 or not result:
        raise CvBridgeUnusableError("".join(errors) or "its self-test ended without a result")
    problems: dict[str, str] = json.loads(result[0])
    faithful = frozenset(name for name, problem in problems.items() if not problem)
    if not faithful:
        raise CvBridgeUnusableError(f"no image comes out right (rgb8: {problems['rgb8']})")
    return faithful


def _open_bridge() -> Any:
    from cv_bridge import CvBridge

    return CvBridge()


def _is_plain(message: Image) -> bool:
    """Whether cv_bridge can be trusted with the layout of an image.

    It cuts padding by whole pixels, and swaps bytes by a method that NumPy 2 does not have.
    """
    return not message.is_bigendian and message.step % pixel_bytes(message.encoding) == 0


def _self_test() -> dict[str, str]:
    """What is wrong with an image of each encoding through cv_bridge; empty where nothing is."""
    bridge = _open_bridge()
    return {encoding: _problem(bridge, _noise(encoding)) for encoding in ENCODINGS}


def _noise(encoding: str) -> Image:
    """A small image, its rows padded by a pixel. It has data for as many planes as there may be."""
    height, width = _TEST_SIZE
    step = (width + 1) * pixel_bytes(encoding)
    data = np.random.default_rng(0).integers(0, 256, 3 * height * step, np.uint8)
    message = Image(height=height, width=width, encoding=encoding, step=step)
    message.data = array.array("B", data.tobytes())
    return message


def _problem(bridge: Any, message: Image) -> str:
    try:
        converted = bridge.imgmsg_to_cv2(message, "rgb8")
    except Exception as error:  # of an encoding that it does not know, or of its build
        return f"{type(error).__name__}: {error}"
    ours = image_to_rgb(message)
    if not isinstance(converted, np.ndarray) or converted.dtype != ours.dtype:
        return "no array of bytes"
    return "" if np.array_equal(converted, ours) else "other pixels than ours"


if __name__ == "__main__":
    signal.alarm(_TEST_TIME)  # also where nobody waits any more
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core file of a crash that is expected
    print(json.dumps(_self_test()))
