"""Image messages to arrays and back, good ones and bad ones."""

import array
import struct
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_png import write_png
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from camss_ros.images.encodings import (
    ENCODINGS,
    ImageRejectedError,
    compressed_to_labels,
    compressed_to_rgb,
    image_to_labels,
    image_to_rgb,
)
from camss_ros.images.image_files import read_image, silence_decoders
from camss_ros.nodes.messages import to_image_message

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quadrants(height: int = 32, width: int = 48) -> np.ndarray:
    """Four colours, so that swapped channels, axes or rows show. uint8 [H, W, 3] RGB."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = WHITE
    return image


def message(
    encoding: str, rows: np.ndarray, width: int, padding: int = 0, bigendian: bool = False
) -> Image:
    """rows: uint8 [rows, bytes of a row]; padding: further bytes of each row."""
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    rows_a_pixel = {"nv12": 1.5, "nv21": 1.5, "nv24": 3}.get(encoding, 1)
    return Image(
        height=int(len(rows) / rows_a_pixel),
        width=width,
        encoding=encoding,
        is_bigendian=int(bigendian),
        step=padded.shape[1],
        data=array.array("B", padded.tobytes()),
    )


def bayer(image: np.ndarray, pattern: str) -> np.ndarray:
    mosaic = np.empty(image.shape[:2], np.uint8)
    for place, color in enumerate(pattern):
        y, x = divmod(place, 2)
        mosaic[y::2, x::2] = image[y::2, x::2, "rgb".index(color)]
    return mosaic


def yuv(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """BT.601 studio range, as sensor_msgs' YUV encodings have it. float [H, W] each."""
    r, g, b = (image[..., i].astype(float) / 255 for i in range(3))
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    return y, u, v


def yuv422(image: np.ndarray, luma_first: bool) -> np.ndarray:
    y, u, v = yuv(image)
    packed = np.empty((image.shape[0], image.shape[1], 2))
    luma, chroma = (0, 1) if luma_first else (1, 0)
    packed[..., luma] = y
    packed[:, ::2, chroma] = u[:, ::2]
    packed[:, 1::2, chroma] = v[:, ::2]
    return np.rint(packed).astype(np.uint8).reshape(image.shape[0], -1)


def planes(image: np.ndarray, encoding: str) -> np.ndarray:
    """Luma, then interleaved chroma: of every second pixel, but for nv24."""
    y, u, v = yuv(image)
    every = 1 if encoding == "nv24" else 2
    pair = (v, u) if encoding == "nv21" else (u, v)
    chroma = np.stack([plane[::every, ::every] for plane in pair], axis=-1)
    return np.rint(np.concatenate([y, chroma.reshape(-1, image.shape[1])])).astype(np.uint8)


def encode(encoding: str, image: np.ndarray, bigendian: bool = False) -> np.ndarray:
    """uint8 [H, W, 3] RGB -> uint8 [H, bytes of a row]."""
    height = image.shape[0]
    alpha = np.full((*image.shape[:2], 1), 9, np.uint8)
    if encoding.startswith("nv"):
        return planes(image, encoding)
    if encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        return yuv422(image, luma_first="yuy" in encoding)
    layout = {"8UC3": "bgr8", "8UC4": "bgra8"}.get(encoding, encoding)
    name = layout.removesuffix("16").removesuffix("8")
    if name.startswith("bayer_"):
        values = bayer(image, name.removeprefix("bayer_"))[..., None]
    else:
        color = image if name.startswith("rgb") else image[..., ::-1]
        values = np.concatenate([color, alpha], -1) if name.endswith("a") else color
    if layout.endswith("16"):
        values = (values.astype(np.uint16) * 257).astype(">u2" if bigendian else "<u2")
    return np.ascontiguousarray(values).view(np.uint8).reshape(height, -1)


COLOR_ENCODINGS = [name for name in ENCODINGS if name not in ("mono8", "mono16", "8UC1")]


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", COLOR_ENCODINGS)
def test_every_encoding_gives_the_same_colours(encoding: str, padding: int) -> None:
    image = quadrants()
    height, width = image.shape[:2]
    bigendian = padding > 0  # of no meaning where a value is one byte
    rows = encode(encoding, image, bigendian)
    converted = image_to_rgb(message(encoding, rows, width, padding, bigendian))
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


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_grey_of_16_bits_is_scaled_to_8(order: str) -> None:
    grey = np.array([[0, 128, 129, 32768, 65535]], order)
    converted = image_to_rgb(message("mono16", grey.view(np.uint8), 5, 3, order == ">u2"))
    np.testing.assert_array_equal(converted[0, :, 0], [0, 0, 1, 128, 255])


def test_the_8_bit_encodings_of_sensor_msgs_are_all_there() -> None:
    bayer_8 = {f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")}
    packed = {"yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv21", "nv24"}
    assert {"rgb8", "rgba8", "bgr8", "bgra8", "mono8"} | bayer_8 | packed <= set(ENCODINGS)


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
        ("size", {"encoding": "nv12", "height": 31}),
        ("size", {"encoding": "nv12", "width": 47}),
        ("size", {"encoding": "nv24", "height": 31}),
        ("size", {"encoding": "nv24", "width": 47}),
        ("data", {"encoding": "nv12", "height": 64, "width": 144}),
        ("encoding", {"encoding": "16UC1"}),
        ("step", {"encoding": "rgb16"}),
    ],
)
def test_a_bad_message_is_rejected_with_its_reason(reason: str, change: dict) -> None:
    image = message("rgb8", encode("rgb8", quadrants()), 48)
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(ImageRejectedError) as rejected:
        image_to_rgb(image)
    assert rejected.value.reason == reason


@pytest.mark.parametrize("encoding", ["yuv422", "yuv422_yuy2", "nv12"])
def test_an_even_width_is_enough_for_shared_chroma(encoding: str) -> None:
    image = quadrants(32, 44)
    assert image_to_rgb(message(encoding, encode(encoding, image), 44)).shape == image.shape


def test_the_error_of_truncated_data_has_the_sizes() -> None:
    image = message("rgb8", encode("rgb8", quadrants()), 48)
    image.data = image.data[:-1]
    expected = r"4607 bytes instead of rows \* step = 32 \* 144 = 4608"
    with pytest.raises(ImageRejectedError, match=expected):
        image_to_rgb(image)


@given(
    encoding=st.sampled_from([*ENCODINGS, "16UC1", ""]),
    bigendian=st.integers(0, 255),
    height=st.integers(0, 9),
    width=st.integers(0, 9),
    step=st.integers(0, 40),
    size=st.integers(0, 400),
)
def test_any_message_is_converted_or_rejected(
    encoding: str, bigendian: int, height: int, width: int, step: int, size: int
) -> None:
    image = Image(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=bigendian,
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


@pytest.mark.parametrize(
    ("format_", "stored"),
    [
        ("png", "bgr"),
        ("jpeg", "bgr"),
        ("rgb8; jpeg compressed bgr8", "bgr"),
        ("rgb8", "bgr"),  # without what is stored, as of plugins before they said it
        ("bgr8; png compressed bgr8", "bgr"),
        ("rgba8; png compressed bgr8", "bgr"),
        ("yuv422; jpeg compressed bgr8", "bgr"),
        ("rgb8; png compressed rgb8", "rgb"),
        ("bgr8; jpeg compressed ", "rgb"),
        ("bayer_grbg8; png compressed ", "bayer_grbg"),
    ],
)
def test_a_compressed_image_is_read_as_image_transport_does(format_: str, stored: str) -> None:
    image = quadrants()
    if stored.startswith("bayer"):
        pixels = bayer(image, stored.removeprefix("bayer_"))
    else:
        pixels = image if stored == "rgb" else image[..., ::-1]  # as cv2 takes it
    _, data = cv2.imencode(".jpg" if "jpeg" in format_ else ".png", pixels)
    decoded = compressed_to_rgb(
        CompressedImage(format=format_, data=array.array("B", data.tobytes()))
    )
    for y in (8, 24):
        for x in (12, 36):
            assert np.abs(decoded[y, x].astype(int) - image[y, x]).max() <= 3, (y, x)


def test_the_exif_orientation_turns_files_and_not_messages(tmp_path: Path) -> None:
    upright = quadrants()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise for display
    path = tmp_path / "photo.jpg"
    PIL.Image.fromarray(upright).save(path, exif=exif, quality=100, subsampling=0)
    turned = read_image(path)
    assert turned is not None
    message = CompressedImage(format="jpeg", data=array.array("B", path.read_bytes()))
    as_stored = compressed_to_rgb(message)
    assert as_stored.shape == upright.shape
    np.testing.assert_array_equal(turned, np.rot90(as_stored, -1))


def test_a_jpeg_with_a_16_where_a_png_has_its_depth_is_decoded() -> None:
    _, jpeg = cv2.imencode(".jpg", np.full((8, 8, 3), 100, np.uint8))
    comment = b"\xff\xfe\x00\x20" + 30 * b"\x10"
    data = array.array("B", jpeg.tobytes()[:2] + comment + jpeg.tobytes()[2:])
    assert (compressed_to_rgb(CompressedImage(format="jpeg", data=data)) == 100).all()


@pytest.mark.parametrize("format_", ["png", "16UC1; png compressed ", "mono16; png compressed "])
def test_a_png_of_16_bits_is_rejected_with_the_reason(format_: str) -> None:
    _, png = cv2.imencode(".png", np.full((4, 4), 40_000, np.uint16))
    with pytest.raises(ImageRejectedError, match="16 bits") as rejected:
        compressed_to_rgb(CompressedImage(format=format_, data=array.array("B", png.tobytes())))
    assert rejected.value.reason == "encoding"


def test_a_compressed_depth_image_is_rejected_with_the_reason() -> None:
    message = CompressedImage(format="16UC1; compressedDepth png", data=array.array("B", b"12"))
    with pytest.raises(ImageRejectedError, match="depth"):
        compressed_to_rgb(message)


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


def test_a_header_that_claims_too_many_pixels_is_rejected() -> None:
    # One that Pillow would refuse too, and one above our limit alone, without an allocation.
    _, jpeg = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))
    start = jpeg.tobytes().index(b"\xff\xc0") + 5
    for height, width in ((32_000, 32_000), (8200, 8200)):
        data = bytearray(jpeg.tobytes())
        data[start : start + 4] = struct.pack(">HH", height, width)
        with pytest.raises(ImageRejectedError, match="claims more than") as rejected:
            compressed_to_rgb(CompressedImage(format="jpeg", data=array.array("B", data)))
        assert rejected.value.reason == "size"


def test_a_truncated_jpeg_is_rejected() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    _, jpeg = cv2.imencode(".jpg", noise)
    photo = jpeg.tobytes()
    thumbnail = b"Exif\0\0" + cv2.imencode(".jpg", noise[:16, :16])[1].tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    for whole in (photo, photo[:2] + segment + photo[2:]):
        data = array.array("B", whole)
        assert compressed_to_rgb(CompressedImage(format="jpeg", data=data)).shape == noise.shape
        for length in (len(whole) // 2, len(whole) - len(photo) // 2, len(whole) - 2):
            with pytest.raises(ImageRejectedError, match="truncated") as rejected:
                compressed_to_rgb(CompressedImage(format="jpeg", data=data[:length]))
            assert rejected.value.reason == "data"


@pytest.mark.parametrize("interval", [1, 5])
def test_a_jpeg_with_restart_markers_is_whole(interval: int) -> None:
    """Such as many cameras make; the markers stand among the compressed pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    _, jpeg = cv2.imencode(".jpg", noise, (cv2.IMWRITE_JPEG_RST_INTERVAL, interval))
    compressed = CompressedImage(format="jpeg", data=jpeg.tobytes())
    assert compressed_to_rgb(compressed).shape == (64, 96, 3)
    compressed.data = jpeg.tobytes()[:-2]
    with pytest.raises(ImageRejectedError, match="truncated"):
        compressed_to_rgb(compressed)


def test_a_damaged_png_is_rejected_without_a_word_of_libpng(
    capfd: pytest.CaptureFixture[str],
) -> None:
    _, png = cv2.imencode(".png", quadrants())
    for place in (20, len(png) // 2, len(png) - 6):
        changed = array.array("B", png.tobytes())
        changed[place] ^= 1
        for data in (changed, changed[:place]):
            with pytest.raises(ImageRejectedError, match="damaged") as rejected:
                compressed_to_rgb(CompressedImage(format="png", data=data))
            assert rejected.value.reason == "data"
    assert capfd.readouterr().err == ""


def test_a_damaged_tiff_is_rejected_without_a_word_of_pillow(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    silence_decoders()
    _, tiff = cv2.imencode(".tiff", quadrants())
    samples = struct.pack("<HHI", 277, 3, 1)  # the tag of the samples of a pixel
    many = tiff.tobytes().replace(samples + b"\3", samples + b"\x10")
    assert many != tiff.tobytes()
    for data in (many, tiff.tobytes()[:-20]):
        with pytest.raises(ImageRejectedError) as rejected:
            compressed_to_rgb(CompressedImage(format="tiff", data=array.array("B", data)))
        assert rejected.value.reason == "data"
    assert caplog.records == []
    assert list(recwarn) == []


def test_labels_come_through_bit_for_bit() -> None:
    labels = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    np.testing.assert_array_equal(image_to_labels(message("mono8", labels, 7, padding=3)), labels)
    _, png = cv2.imencode(".png", labels)
    compressed = CompressedImage(format="png", data=array.array("B", png.tobytes()))
    np.testing.assert_array_equal(compressed_to_labels(compressed), labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_are_not_stretched(bits: int, tmp_path: Path) -> None:
    labels = np.arange(15, dtype=np.uint8).reshape(3, 5) % 2**bits
    write_png(tmp_path / "labels.png", labels, bits)
    png = array.array("B", (tmp_path / "labels.png").read_bytes())
    compressed = CompressedImage(format="png", data=png)
    np.testing.assert_array_equal(compressed_to_labels(compressed), labels)


def test_what_holds_no_labels_is_rejected() -> None:
    with pytest.raises(ImageRejectedError, match="mono8"):
        image_to_labels(message("rgb8", encode("rgb8", quadrants()), 48))
    for suffix, image in ((".jpg", np.zeros((4, 4), np.uint8)), (".png", quadrants())):
        _, data = cv2.imencode(suffix, image)
        compressed = CompressedImage(format=suffix, data=array.array("B", data.tobytes()))
        expected = "use PNG" if suffix == ".jpg" else "pixels of uint8, 3 channels"
        with pytest.raises(ImageRejectedError, match=expected) as rejected:
            compressed_to_labels(compressed)
        assert rejected.value.reason == "encoding"


@pytest.mark.parametrize(
    "encoding",
    ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "rgb16", "bgr16", "mono16", "yuv422",
     "yuv422_yuy2", "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8"],
)  # fmt: skip
def test_rosbags_image_agrees(encoding: str) -> None:
    others = pytest.importorskip("rosbags.image")
    noise = np.random.default_rng(0).integers(0, 256, (16, 24 * 8), np.uint8)
    channels = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "rgb16": 6, "bgr16": 6}.get(
        encoding, 2 if encoding in ("mono16", "yuv422", "yuv422_yuy2") else 1
    )
    image = message(encoding, noise[:, : 24 * channels], 24)
    difference = np.abs(image_to_rgb(image).astype(int) - others.message_to_cvimage(image, "rgb8"))
    # It cuts where 16 bits become 8, and we round.
    assert difference.max() <= (1 if "16" in encoding else 0)
