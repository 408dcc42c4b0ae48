"""Images through cv_bridge where that is as good as our own conversion, and without it elsewhere.

Most tests make a stand-in for cv_bridge, a module that the self-test's process finds too.
"""

import array
import importlib
import importlib.util
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from rclpy.parameter import Parameter
from ros_peer import wait_until
from scripted_node import Running
from sensor_msgs.msg import CompressedImage, Image

from camss_ros.images.encodings import ENCODINGS, ImageRejectedError, image_to_rgb, pixel_bytes
from camss_ros.nodes.segmenter.image_conversion import (
    CvBridgeUnusableError,
    ImageConverter,
    start_conversion,
)

WORKS = """
    from camss_ros.images.encodings import image_to_rgb

    class CvBridge:
        images = 0

        def imgmsg_to_cv2(self, message, desired_encoding="passthrough"):
            assert desired_encoding == "rgb8"
            if message.encoding not in ("rgb8", "bgr8", "bayer_rggb8", "mono16"):
                raise TypeError(f"Unrecognized image encoding [{message.encoding}]")
            CvBridge.images += 1
            return image_to_rgb(message).copy()
    """
BROKEN = {
    "raises": (
        """
        class CvBridge:
            def imgmsg_to_cv2(self, message, desired_encoding):
                raise AttributeError("_ARRAY_API not found")
        """,
        "_ARRAY_API not found",
    ),
    "wrong pixels": (
        """
        import numpy

        class CvBridge:
            def imgmsg_to_cv2(self, message, desired_encoding):
                shape = message.height, message.width, 3  # without regard to padding
                return numpy.frombuffer(message.data, numpy.uint8, numpy.prod(shape)).reshape(shape)
        """,
        "other pixels",
    ),
    "no array": ("class CvBridge:\n    imgmsg_to_cv2 = len", "no image comes out right"),
    "cannot be imported": ("raise ImportError('numpy.core failed to import')", "numpy.core failed"),
    "crashes": ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    "ends": ("import os; os._exit(0)", "without a result"),
    "has no CvBridge": ("", "CvBridge"),
}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs the text of a module as cv_bridge."""

    def install(text: str) -> None:
        (tmp_path / "cv_bridge.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    sys.modules.pop("cv_bridge", None)
    yield install
    sys.modules.pop("cv_bridge", None)


def convert(choice: str = "auto") -> tuple[ImageConverter, list[str]]:
    """A converter, and the list of what it warns of."""
    warnings: list[str] = []
    return start_conversion(choice, warnings.append).result(), warnings


def noise(encoding: str, padding: int = 0, bigendian: bool = False, height: int = 32) -> Image:
    """48 pixels wide; `padding`: further bytes of each row."""
    step = 48 * pixel_bytes(encoding) + padding
    data = np.random.default_rng(1).integers(0, 256, 3 * height * step, np.uint8)
    message = Image(height=height, width=48, encoding=encoding, step=step)
    message.is_bigendian = int(bigendian)
    message.data = array.array("B", data.tobytes())
    return message


def test_what_cv_bridge_converts_goes_through_it_and_the_rest_does_not(
    stand_in: Callable[[str], None],
) -> None:
    stand_in(WORKS)
    converter, warnings = convert()
    assert (converter.name, warnings) == ("cv_bridge", [])
    assert "builtin for rgba8," in str(converter)
    assert str(convert("builtin")[0]) == "builtin"
    import cv_bridge

    for encoding in ENCODINGS:
        before = cv_bridge.CvBridge.images
        message = noise(encoding)
        np.testing.assert_array_equal(converter.to_rgb(message), image_to_rgb(message))
        used = cv_bridge.CvBridge.images - before
        assert used == (encoding in ("rgb8", "bgr8", "bayer_rggb8", "mono16")), encoding


def test_layouts_that_cv_bridge_misreads_do_not_go_through_it(
    stand_in: Callable[[str], None],
) -> None:
    stand_in(WORKS)
    converter, _ = convert()
    import cv_bridge

    for message, through_it in (
        (noise("rgb8", padding=3 * 4), True),
        (noise("rgb8", padding=5), False),  # of which cv_bridge makes other pixels
        (noise("mono16", padding=1), False),
        (noise("mono16", bigendian=True), False),
        (noise("rgb8", bigendian=True), False),  # on which it fails with NumPy 2
    ):
        before = cv_bridge.CvBridge.images
        np.testing.assert_array_equal(converter.to_rgb(message), image_to_rgb(message))
        assert cv_bridge.CvBridge.images - before == through_it
    before = cv_bridge.CvBridge.images
    cut_off = noise("rgb8", height=4)
    cut_off.height = 40
    with pytest.raises(ImageRejectedError):
        converter.to_rgb(cut_off)
    assert cv_bridge.CvBridge.images == before


def test_an_encoding_with_wrong_pixels_alone_does_without_it(
    stand_in: Callable[[str], None],
) -> None:
    swapped = "return image_to_rgb(message)[..., :: -1 if message.encoding == 'bgr8' else 1]"
    stand_in(WORKS.replace("return image_to_rgb(message)", swapped))
    converter, _ = convert()
    assert converter.name == "cv_bridge"
    assert "builtin for bgr8," in str(converter)
    message = noise("bgr8")
    np.testing.assert_array_equal(converter.to_rgb(message), image_to_rgb(message))


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_cv_bridge_is_told_and_not_used(
    stand_in: Callable[[str], None], kind: str
) -> None:
    text, reason = BROKEN[kind]
    stand_in(text)
    converter, warnings = convert()
    assert str(converter) == "builtin (cv_bridge failed its self-test)"
    assert len(warnings) == 1
    assert "cv_bridge cannot be used" in warnings[0]
    assert reason in warnings[0]
    message = noise("rgb8")
    np.testing.assert_array_equal(converter.to_rgb(message), image_to_rgb(message))


def test_a_broken_cv_bridge_is_an_error_where_it_is_asked_for(
    stand_in: Callable[[str], None],
) -> None:
    stand_in(BROKEN["crashes"][0])
    with pytest.raises(CvBridgeUnusableError, match="SIGSEGV"):
        convert("cv_bridge")
    assert convert("builtin")[0].name == "builtin"


def test_a_missing_cv_bridge_is_an_error_only_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    converter, warnings = convert()
    assert (str(converter), warnings) == ("builtin (cv_bridge is not installed)", [])
    with pytest.raises(CvBridgeUnusableError, match="not installed"):
        start_conversion("cv_bridge", warnings.append)


def test_after_a_failure_on_a_good_image_its_encoding_does_without_it(
    stand_in: Callable[[str], None],
) -> None:
    stand_in(WORKS.replace("CvBridge.images += 1", "assert message.height < 30, 'too high'"))
    converter, warnings = convert()
    message = noise("rgb8")
    for _ in range(2):
        np.testing.assert_array_equal(converter.to_rgb(message), image_to_rgb(message))
    assert len(warnings) == 1
    assert "48 x 32 rgb8" in warnings[0]
    assert "too high" in warnings[0]
    assert converter.name == "cv_bridge"  # for the other encodings


def test_compressed_images_are_decoded_as_ever(stand_in: Callable[[str], None]) -> None:
    stand_in(WORKS)
    picture = image_to_rgb(noise("rgb8"))
    _, png = cv2.imencode(".png", picture[..., ::-1])
    message = CompressedImage(format="png", data=array.array("B", png.tobytes()))
    np.testing.assert_array_equal(convert()[0].to_rgb(message), picture)


def test_the_real_cv_bridge_gives_our_pixels() -> None:
    if importlib.util.find_spec("cv_bridge") is None:  # importing it may end the process
        pytest.skip("cv_bridge is not installed")
    converter, warnings = convert()
    if converter.name == "builtin":
        pytest.skip(warnings[0])
    for encoding in ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "rgb16", "bgr16", "rgba16",
                     "bgra16", "mono16", "yuv422", "yuv422_yuy2",
                     *(f"bayer_{p}{depth}" for p in ("rggb", "bggr", "gbrg", "grbg")
                       for depth in (8, 16))):  # fmt: skip
        assert encoding not in str(converter), f"{encoding} does not pass the self-test"
        message = noise(encoding, height=480)
        np.testing.assert_array_equal(converter.to_rgb(message), image_to_rgb(message), encoding)
    assert warnings == []


@pytest.mark.parametrize(
    ("text", "choice", "state", "log"),
    [
        (WORKS, "auto", "active", "image conversion: cv_bridge; builtin for rgba8"),
        (BROKEN["crashes"][0], "auto", "active", "image conversion: builtin"),
        (BROKEN["crashes"][0], "cv_bridge", "unconfigured", "SIGSEGV"),
    ],
)
def test_the_node_says_what_converts(
    stand_in: Callable[[str], None], domain_id: int, text: str, choice: str, state: str, log: str,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stand_in(text)
    running = Running(domain_id, Parameter("image_conversion", value=choice))
    try:
        wait_until(running._started.is_set, "the node started")
        assert running.node._state == state, capfd.readouterr().err
    finally:
        running.close()
    assert log in capfd.readouterr().err
