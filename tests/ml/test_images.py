import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ml import images
from ml.errors import BadImage
from ml.images import InputSpec
from tests.ml.factories import encoded, noise

DATA = os.environ.get("APP_TEST_DATA")

QUADRANTS = np.zeros((16, 24, 3), np.uint8)  # wider than tall, a different grey in each corner
QUADRANTS[:8, :12], QUADRANTS[:8, 12:], QUADRANTS[8:, :12], QUADRANTS[8:, 12:] = 0, 80, 160, 240


def corners(image_HWC: np.ndarray) -> list[int]:
    return [int(image_HWC[y, x, 0]) for y in (2, -3) for x in (2, -3)]


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 10)
    chunks = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, data)
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_lossless_file_gives_its_pixels(format: str) -> None:
    assert np.array_equal(images.decode(encoded(noise(), format)), noise())


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_a_lossy_file_gives_nearly_its_pixels(format: str) -> None:
    difference = images.decode(encoded(QUADRANTS, format)).astype(int) - QUADRANTS
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [0, 80, 160, 240]),
        (2, [80, 0, 240, 160]),
        (3, [240, 160, 80, 0]),
        (4, [160, 240, 0, 80]),
        (5, [0, 160, 80, 240]),
        (6, [160, 0, 240, 80]),
        (7, [240, 80, 160, 0]),
        (8, [80, 240, 0, 160]),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_the_orientation_of_the_camera_is_applied_once(format: str, orientation: int, expected: list[int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image_HWC = images.decode(encoded(QUADRANTS, format, exif=exif))
    assert corners(image_HWC) == expected
    assert image_HWC.shape == ((16, 24, 3) if orientation < 5 else (24, 16, 3))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_by_the_range_of_the_type(format: str) -> None:
    pixels_HW = np.array([[0, 256, 32768, 40000]], np.uint16)
    assert images.decode(encoded(pixels_HW, format))[0, :, 0].tolist() == [0, 1, 128, 156]


def test_transparent_pixels_become_black() -> None:
    rgba = np.full((2, 2, 4), 200, np.uint8)
    rgba[0, :, 3] = 0
    rgba[1, :, 3] = 255
    assert images.decode(encoded(rgba))[:, 0, 0].tolist() == [0, 200]


def test_a_palette_with_transparency_becomes_rgb_on_black() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putdata([0, 1])
    assert images.decode(encoded(image, transparency=0)).tolist() == [[[0, 0, 0], [0, 255, 0]]]


def test_grey_and_two_tone_images_become_rgb() -> None:
    assert images.decode(encoded(Image.new("L", (2, 2), 77))).tolist() == [[[77] * 3] * 2] * 2
    assert images.decode(encoded(Image.new("1", (1, 1), 1))).tolist() == [[[255] * 3]]


def test_cmyk_becomes_rgb() -> None:
    image_HWC = images.decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(image_HWC[4, 4].astype(int) - [255, 0, 0]).max() < 10


@pytest.mark.parametrize(
    ("size", "decoded"), [((2100, 2300), (1050, 1150)), ((2047, 2300), (2047, 2300)), ((4100, 6000), (1025, 1500))]
)
def test_a_large_photograph_is_decoded_at_a_fraction_that_keeps_its_shorter_side(
    size: tuple[int, int], decoded: tuple[int, int]
) -> None:
    gradient = Image.linear_gradient("L").resize(size)
    found = images.decode(encoded(gradient, "JPEG", quality=95))
    assert (found.shape[1], found.shape[0]) == decoded
    small = np.asarray(gradient.resize(decoded))
    assert np.abs(found[..., 0].astype(int) - small).max() < 6


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert images.decode(animation)[0, 0].tolist() == [10, 10, 10]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty"),
        (b"no image at all", "not an image"),
        (b"\0" * 128 + b"DICM", "damaged or has no image"),
        (encoded(noise())[:300], "is truncated"),
        (encoded(noise(), "JPEG")[:300], "is truncated|is damaged"),
        (encoded(noise(), "WEBP")[:200], "is truncated|is damaged|not an image"),
        (encoded(np.zeros((2, 2), np.float32), "TIFF"), "floating-point"),
        (encoded(np.full((2, 2), -5, np.int32), "TIFF"), "32-bit or signed"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_cause(data: bytes, cause: str) -> None:
    with pytest.raises(BadImage, match=cause):
        images.decode(data)


@pytest.mark.parametrize("side_px", [10_001, 200_000, 2**31 - 1])
def test_too_many_pixels_are_refused_by_the_header_alone(side_px: int) -> None:
    with pytest.raises(BadImage, match="too many pixels"):
        images.decode(png_header(side_px, side_px))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "AVIF", "PPM"])
def test_any_damage_gives_pixels_or_a_refusal(format: str) -> None:
    data = encoded(noise(), format)
    generator = np.random.default_rng(7)
    for _ in range(150):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), 4):
            damaged[place] = generator.integers(0, 256)
        with contextlib.suppress(BadImage):
            assert images.decode(bytes(damaged), max_megapixels=1).shape[2] == 3


def test_the_input_of_a_network_has_its_channels_first_and_its_size() -> None:
    input_CHW = images.to_input(QUADRANTS, InputSpec(size_px=8))
    assert (input_CHW.shape, input_CHW.dtype) == ((3, 8, 8), np.uint8)
    assert [input_CHW[0, y, x] for y in (1, 6) for x in (1, 6)] == [0, 80, 160, 240]
    assert images.to_input(QUADRANTS, InputSpec(size_px=8, channels=1)).shape == (1, 8, 8)


def test_an_image_of_the_right_size_enters_the_network_unchanged() -> None:
    image_HWC = noise(height=16, width=16)
    assert np.array_equal(images.to_input(image_HWC, InputSpec(size_px=16)).transpose(1, 2, 0), image_HWC)


def test_scaling_down_averages_rather_than_skips_pixels() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(images.to_input(stripes, InputSpec(size_px=16))) < 20


def test_the_canonical_file_loses_nothing_and_knows_grey() -> None:
    grey = np.repeat(noise()[:, :, :1], 3, axis=2)
    for image_HWC in (noise(), grey):
        assert np.array_equal(images.decode(images.encode_canonical(image_HWC)), image_HWC)
    assert len(images.encode_canonical(grey)) < len(images.encode_canonical(noise())) / 2


def told(format: str) -> bytes:
    """An image of this format with a secret wherever the format has room for one."""
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    places: dict[str, object] = {"exif": exif} if format in ("PNG", "JPEG", "WEBP", "AVIF") else {}
    if format == "PNG":
        places["pnginfo"] = texts = PngInfo()
        texts.add_text("tEXt", "SECRET")
        texts.add_itxt("iTXt", "SECRET")
        texts.add_text("zTXt", "SECRET", zip=True)
    if format in ("JPEG", "GIF"):
        places["comment"] = b"SECRET"
    if format == "TIFF":
        places["tiffinfo"] = {270: "SECRET", 315: "SECRET"}
    icc = {} if format == "GIF" else {"icc_profile": b"SECRET" * 30}
    return encoded(noise(), format, **places, **icc)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "AVIF"])
def test_what_is_stored_holds_pixels_and_nothing_that_was_said_beside_them(format: str) -> None:
    assert b"SECRET" in told(format)
    stored = images.encode_canonical(images.decode(told(format)))
    with Image.open(io.BytesIO(stored)) as image:
        assert not image.info
        assert not image.getexif()
    assert b"SECRET" not in stored


def test_the_pixel_hash_ignores_the_file_but_not_the_shape() -> None:
    assert images.pixel_sha256(images.decode(encoded(noise(), "BMP"))) == images.pixel_sha256(noise())
    assert images.pixel_sha256(noise()) != images.pixel_sha256(noise(seed=1))
    flat = noise(height=2, width=8)
    assert images.pixel_sha256(flat) != images.pixel_sha256(flat.reshape(8, 2, 3))


def test_a_thumbnail_keeps_proportions() -> None:
    assert images.decode(images.thumbnail(noise(height=100, width=200), 50)).shape == (25, 50, 3)


@pytest.mark.skipif(not DATA, reason="APP_TEST_DATA is not set")
def test_files_that_clients_send_are_decoded_or_refused() -> None:
    refused = set()
    for path in sorted(Path(str(DATA), "client-images").iterdir()):
        try:
            assert images.decode(path.read_bytes()).dtype == np.uint8
        except BadImage:
            refused.add(path.name)
    assert refused == {"pillow_crash-2020-10-test.tif", "pillow_truncated_image.png", "pydicom_badVR.dcm"}
