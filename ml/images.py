"""Images: bytes to pixels, pixels to the network's input. The same code for training, evaluation and serving.

A decoded image is `image_HWC`: uint8, RGB, three channels, upright, without alpha. What the ingest keeps and what
`/predict` looks at are the same pixels, because nothing here asks who decodes, or for which network.
"""

import hashlib
import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ml import dicom
from ml.config import Frozen
from ml.errors import BadImage

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")

SCALED_SIDE_PX = 1024  # twice the side of the largest input
_ANY_SIZE = 1_000_000  # megapixels
_TINY_PX = 64 * 64
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's readers let through when the bytes are hostile.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
_PILLOW_IS_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


class InputSpec(Frozen):
    """What a network eats: a square of uint8 pixels. Travels inside the artifact."""

    size_px: int
    channels: Literal[1, 3] = 3
    resize: Literal["squash-bilinear"] = "squash-bilinear"


class Header(NamedTuple):
    """What the beginning of a file says of the image; `format` is Pillow's name of it."""

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageFile:
    """The bytes of an image that is not decoded yet; called, it decodes them. May travel to another process."""

    data: bytes
    max_megapixels: int

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def __call__(self) -> NDArray[np.uint8]:
        return decode(self.data, self.max_megapixels)


@dataclass(frozen=True, slots=True)
class ImageArray:
    """An image of an array archive: (H, W), (H, W, 1) or (H, W, 3); called, it gives three channels. It may travel."""

    pixels: NDArray[np.uint8]

    @property
    def size_bytes(self) -> int:
        return self.pixels.nbytes

    def __call__(self) -> NDArray[np.uint8]:
        image_HWC = self.pixels[..., None] if self.pixels.ndim == 2 else self.pixels
        return np.repeat(image_HWC, 3, axis=2) if image_HWC.shape[2] == 1 else image_HWC


def header(data: bytes) -> Header:
    """Format and size without decoding a pixel. Raises BadImage."""
    if dicom.is_dicom(data):
        file = dicom.read(data, _ANY_SIZE)
        return Header("DICOM", file.width, file.height)
    _silence_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return Header(str(image.format), *image.size)
    except UnidentifiedImageError as error:
        raise BadImage("The file is not an image of an accepted format.") from error
    except Image.DecompressionBombError as error:
        raise BadImage("The image has too many pixels.") from error
    except _DAMAGE as error:
        raise BadImage("The image is damaged.") from error


def decode(data: bytes, max_megapixels: int = 100) -> NDArray[np.uint8]:
    """Pixels of one image file, upright RGB in shape (H, W, 3); the array may be read-only.

    Grey becomes RGB; 16-bit is scaled by the full range of the type, never by the image's own range; alpha is
    flattened on black, the background of ultrasound; of an animation the first frame counts. A large photograph (JPEG)
    is decoded at a half, a quarter or an eighth of its size, which takes a fourth of the time, as long as its shorter
    side keeps 1024 px. Raises BadImage.
    """
    if dicom.is_dicom(data):
        return dicom.decode(data, max_megapixels)
    return np.asarray(_opened(data, max_megapixels))


def read_input(data: bytes, spec: InputSpec, max_megapixels: int = 100) -> NDArray[np.uint8]:
    """`to_input(decode(data))`, the same pixels without an array of all of them between. Raises BadImage.

    For a photograph the two copies that this spares cost as much as a quarter of its decoding.
    """
    return read_sized(data, spec, max_megapixels)[0]


def read_sized(data: bytes, spec: InputSpec, max_megapixels: int = 100) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The same, and width and height of what `decode` gives. Raises BadImage."""
    if dicom.is_dicom(data):
        image = Image.fromarray(dicom.decode(data, max_megapixels))
    else:
        image = _opened(data, max_megapixels)
    return _squashed(image, spec), image.size


def _opened(data: bytes, max_megapixels: int) -> Image.Image:
    """The image, upright and RGB. Raises BadImage."""
    if not data:
        raise BadImage("The file is empty.")
    _silence_pillow()
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(image.size, max_megapixels)  # the header is known, no pixel is decoded yet
        image.draft(None, (SCALED_SIDE_PX, SCALED_SIDE_PX))  # nothing happens to other formats
        image.load()
        return _upright(_to_rgb(image), _orientation(image))
    except UnidentifiedImageError as error:
        accepted = ", ".join(FORMATS)
        raise BadImage(f"The file is not an image of an accepted format. Accepted are {accepted}.") from error
    except Image.DecompressionBombError as error:
        raise BadImage(f"The image has too many pixels. {error}") from error
    except _DAMAGE as error:
        state = "truncated" if "truncated" in str(error) else "damaged"
        raise BadImage(f"The image is {state}. {error}") from error


def to_input(image_HWC: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """The network's input, shape (C, size_px, size_px): squashed to a square, bilinear with antialiasing."""
    return _squashed(Image.fromarray(image_HWC), spec)


def _squashed(image: Image.Image, spec: InputSpec) -> NDArray[np.uint8]:
    if spec.channels == 1:
        image = image.convert("L")
    if image.size != (spec.size_px, spec.size_px):
        image = image.resize((spec.size_px, spec.size_px), Image.Resampling.BILINEAR, reducing_gap=3.0)
    pixels_HWC = np.asarray(image).reshape(spec.size_px, spec.size_px, spec.channels)
    return pixels_HWC.transpose(2, 0, 1).copy()


def encode_canonical(image_HWC: NDArray[np.uint8]) -> bytes:
    """A lossless PNG without metadata; one channel where the three are equal.

    Tens of thousands of tiny images cost time, not space: they are stored as they are.
    """
    height, width = image_HWC.shape[:2]
    level = 0 if height * width <= _TINY_PX else 1
    buffer = io.BytesIO()
    Image.fromarray(_without_needless_channels(image_HWC)).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def pixel_sha256(image_HWC: NDArray[np.uint8]) -> str:
    """Hash of shape and pixels: equal for files that differ only in format, compression or metadata."""
    digest = hashlib.sha256(f"{image_HWC.shape}".encode())
    digest.update(np.ascontiguousarray(image_HWC).data)
    return digest.hexdigest()


def thumbnail(image_HWC: NDArray[np.uint8], side_px: int) -> bytes:
    """A JPEG for pages, its longer side at most `side_px`; proportions are kept."""
    image = Image.fromarray(image_HWC)
    image.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _silence_pillow() -> None:
    """Odd metadata is no news. A filter set once: `catch_warnings` is not safe between threads."""
    if _PILLOW_IS_QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _check_size(size: tuple[int, int], max_megapixels: int) -> None:
    width, height = size
    if width * height > max_megapixels * 1e6:
        raise BadImage(
            f"The image has too many pixels. It is {width} x {height}; at most {max_megapixels} megapixels are "
            "accepted. Scale it down."
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise BadImage("The image has floating-point pixels. They have no fixed range; save it with 8 or 16 bits.")
    if image.mode.startswith("I"):
        image = _sixteen_to_eight_bits(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _sixteen_to_eight_bits(image: Image.Image) -> Image.Image:
    """Mode I holds 16-bit PGM as well as 32-bit TIFF; only values of the former have a known range."""
    pixels_HW = np.asarray(image).astype(np.int64)
    if pixels_HW.min() < 0 or pixels_HW.max() > 65_535:
        raise BadImage("The image has 32-bit or signed pixels. Save it with 8 or 16 bits.")
    return Image.fromarray((pixels_HW >> 8).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8; 1 where the metadata is missing or damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DAMAGE:
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _without_needless_channels(image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    red_HW, green_HW, blue_HW = np.moveaxis(image_HWC, 2, 0)
    is_grey = np.array_equal(red_HW, green_HW) and np.array_equal(red_HW, blue_HW)
    return np.ascontiguousarray(red_HW if is_grey else image_HWC)
