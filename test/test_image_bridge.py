"""Image messages to arrays and back, good ones and bad ones."""

import array

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.data.image_encoding import (
    ImageRejectedError,
    compressed_to_labels,
    compressed_to_rgb,
    image_to_labels,
    image_to_rgb,
)
from camss_ros.nodes.image_bridge import to_image_message

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quadrants(height: int = 32, width: int = 48) -> np.ndarray:
    """Four colours, so that swapped channels, axes or rows show. uint8 [H, W, 3] RGB."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = WHITE
    return image


def message(encoding: str, rows: np.ndarray, width: int, padding: int = 0) -> Image:
    """rows: uint8 [H, bytes of a row]; padding: further bytes of each row."""
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return Image(
        height=len(rows),
        width=width,
        encoding=encoding,
        step=padded.shape[1],
        data=array.array("B", padded.tobytes()),
    )


def bayer(image: np.ndarray, pattern: str) -> np.ndarray:
    mosaic = np.empty(image.shape[:2], np.uint8)
    for place, color in enumerate(pattern):
        y, x = divmod(place, 2)
        mosaic[y::2, x::2] = image[y::2, x::2, "rgb".index(color)]
    return mosaic


def yuv422(image: np.ndarray, luma_first: bool) -> np.ndarray:
    """BT.601 studio range, as sensor_msgs' YUV 4:2:2 encodings have it."""
    r, g, b = (image[..., i].astype(float) / 255 for i in range(3))
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = (128 - 37.797 * r - 74.203 * g + 112.0 * b)[:, ::2]
    v = (128 + 112.0 * r - 93.786 * g - 18.214 * b)[:, ::2]
    packed = np.empty((image.shape[0], image.shape[1], 2))
    luma, chroma = (0, 1) if luma_first else (1, 0)
    packed[..., luma] = y
    packed[:, ::2, chroma] = u
    packed[:, 1::2, chroma] = v
    return np.rint(packed).astype(np.uint8).reshape(image.shape[0], -1)


def encode(encoding: str, image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] RGB -> uint8 [H, bytes of a row]."""
    height = image.shape[0]
    alpha = np.full((*image.shape[:2], 1), 9, np.uint8)
    if encoding.startswith("bayer_"):
        return bayer(image, encoding[len("bayer_") : -1])
    return {
        "rgb8": lambda: image.reshape(height, -1),
        "bgr8": lambda: image[..., ::-1].reshape(height, -1),
        "rgba8": lambda: np.concatenate([image, alpha], -1).reshape(height, -1),
        "bgra8": lambda: np.concatenate([image[..., ::-1], alpha], -1).reshape(height, -1),
        "yuv422_yuy2": lambda: yuv422(image, luma_first=True),
        "yuyv": lambda: yuv422(image, luma_first=True),
        "yuv422": lambda: yuv422(image, luma_first=False),
        "uyvy": lambda: yuv422(image, luma_first=False),
    }[encoding]()


COLOR_ENCODINGS = [
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    "yuv422_yuy2",
    "yuyv",
    "yuv422",
    "uyvy",
    "bayer_rggb8",
    "bayer_bggr8",
    "bayer_gbrg8",
    "bayer_grbg8",
]


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", COLOR_ENCODINGS)
def test_every_encoding_gives_the_same_colours(encoding: str, padding: int) -> None:
    image = quadrants()
    height, width = image.shape[:2]
    converted = image_to_rgb(message(encoding, encode(encoding, image), width, padding))
    assert converted.dtype == np.uint8
    assert converted.shape == image.shape
    for y in (height // 4, 3 * height // 4):  # in the middle of each quadrant
        for x in (width // 4, 3 * width // 4):
            assert np.abs(converted[y, x].astype(int) - image[y, x]).max() <= 3, (y, x)


@pytest.mark.parametrize("padding", [0, 3])
def test_grey_has_three_equal_channels(padding: int) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    converted = image_to_rgb(message("mono8", grey, 4, padding))
    np.testing.assert_array_equal(converted, np.repeat(grey[..., None], 3, axis=2))


def test_rgb8_is_read_without_a_copy() -> None:
    image = message("rgb8", encode("rgb8", quadrants()), 48)
    assert np.shares_memory(image_to_rgb(image), np.frombuffer(image.data, np.uint8))


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("encoding", {"encoding": "rainbow9"}),
        ("size", {"height": 0, "width": 0, "step": 0, "data": array.array("B")}),
        ("size", {"width": 0}),
        ("size", {"encoding": "yuv422_yuy2", "width": 47}),
        ("step", {"step": 48 * 3 - 1}),
        ("data", {"data": array.array("B", bytes(48 * 3 * 32 - 1))}),
        ("data", {"height": 33}),
    ],
)
def test_a_bad_message_is_rejected_with_its_reason(reason: str, change: dict) -> None:
    image = message("rgb8", encode("rgb8", quadrants()), 48)
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(ImageRejectedError) as rejected:
        image_to_rgb(image)
    assert rejected.value.reason == reason


@given(
    encoding=st.sampled_from([*COLOR_ENCODINGS, "mono8", "16UC1", ""]),
    height=st.integers(0, 9),
    width=st.integers(0, 9),
    step=st.integers(0, 40),
    size=st.integers(0, 400),
)
def test_any_message_is_converted_or_rejected(
    encoding: str, height: int, width: int, step: int, size: int
) -> None:
    image = Image(
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        data=array.array("B", bytes(size)),
    )
    try:
        converted = image_to_rgb(image)
    except ImageRejectedError as error:
        rejection = error
    else:
        assert converted.shape == (height, width, 3)
        return
    assert rejection.reason in {"encoding", "size", "step", "data"}


def test_a_compressed_image_is_decoded() -> None:
    _, png = cv2.imencode(".png", quadrants()[..., ::-1])
    decoded = compressed_to_rgb(CompressedImage(format="png", data=array.array("B", png.tobytes())))
    np.testing.assert_array_equal(decoded, quadrants())


@given(st.binary(max_size=200))
def test_compressed_garbage_is_rejected(data: bytes) -> None:
    with pytest.raises(ImageRejectedError) as rejected:
        compressed_to_rgb(CompressedImage(format="jpeg", data=array.array("B", data)))
    assert rejected.value.reason == "data"


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_an_array_becomes_a_message_without_padding(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    header = Header(frame_id="camera")
    image = to_image_message(pixels, "mono8" if len(shape) == 2 else "rgb8", header)
    assert image.header == header
    assert (image.height, image.width, image.step) == (4, 6, 6 * (1 if len(shape) == 2 else 3))
    assert image.data.tobytes() == pixels.tobytes()


def test_a_truncated_jpeg_is_rejected() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    _, jpeg = cv2.imencode(".jpg", noise)
    data = array.array("B", jpeg.tobytes()[: len(jpeg) // 2])
    with pytest.raises(ImageRejectedError, match="truncated") as rejected:
        compressed_to_rgb(CompressedImage(format="jpeg", data=data))
    assert rejected.value.reason == "data"


def test_labels_come_through_bit_for_bit() -> None:
    labels = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    np.testing.assert_array_equal(image_to_labels(message("mono8", labels, 7, padding=3)), labels)
    _, png = cv2.imencode(".png", labels)
    compressed = CompressedImage(format="png", data=array.array("B", png.tobytes()))
    np.testing.assert_array_equal(compressed_to_labels(compressed), labels)


def test_what_holds_no_labels_is_rejected() -> None:
    with pytest.raises(ImageRejectedError, match="mono8"):
        image_to_labels(message("rgb8", encode("rgb8", quadrants()), 48))
    for suffix, image in ((".jpg", np.zeros((4, 4), np.uint8)), (".png", quadrants())):
        _, data = cv2.imencode(suffix, image)
        compressed = CompressedImage(format=suffix, data=array.array("B", data.tobytes()))
        with pytest.raises(ImageRejectedError) as rejected:
            compressed_to_labels(compressed)
        assert rejected.value.reason == "encoding"
