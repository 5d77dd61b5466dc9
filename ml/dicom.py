"""DICOM files: frames as pixels, and the few acquisition fields that are kept. Nothing that names a person leaves here.

The windowing is the same for training and serving: modality rescale, then the file's lookup table (VOI LUT) or its
first window (PS3.3, C.11.2.1); without either the whole range of values that the file can hold. MONOCHROME1 is
inverted.
"""

import io
import logging
import re
import struct
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.errors import BadImage

# Acquisition fields only: no dates, identifiers, names, places, or private fields.
KEPT = (
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "BodyPartExamined",
    "ViewPosition",
    "ImageLaterality",
    "Laterality",
    "PatientOrientation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "SliceThickness",
    "KVP",
    "ExposureTime",
    "BitsStored",
    "PhotometricInterpretation",
)
MAX_TEXT = 100
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_RLE = "1.2.840.10008.1.2.5"
_J2K_START = b"\xff\x4f\xff\x51"
_J2K_SIZE = struct.Struct(">HH8IH")  # ISO 15444-1, A.5.1: width and height with offsets, tiles, components
_QUIET = r"(pydicom|PIL)\."
_FROM_OUTSIDE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    struct.error,
    TypeError,
    ValueError,
)


def _from_outside() -> tuple[type[Exception], ...]:
    """What the readers let through when the bytes are hostile; pydicom has classes of its own for some of it."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*_FROM_OUTSIDE, BytesLengthException, InvalidDicomError)


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins so (132 bytes) is DICOM."""
    return start[128:132] == b"DICM"


@dataclass(frozen=True)
class Dicom:
    """One file. `patient` serves to keep a patient's images together, within one ingest; it is never stored."""

    frames: int
    width: int
    height: int
    metadata: dict[str, str]
    patient: str | None
    _data: bytes
    _dataset: Any

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Pixels of one frame, shape (H, W, 3). Raises BadImage."""
        from pydicom.pixels import iter_pixels

        try:
            _check_stream(self, index)
            pixels = next(iter_pixels(io.BytesIO(self._data), indices=[index], raw=False))
            return _as_rgb(pixels, self._dataset)
        except StopIteration as error:
            raise BadImage("The DICOM file is truncated. A frame is missing.") from error
        except _from_outside() as error:
            raise BadImage(_reason(self._dataset)) from error


def read(data: bytes, max_megapixels: int) -> Dicom:
    """The file, its header read and judged; no pixel is decoded yet. Raises BadImage."""
    import pydicom

    _silence()
    if _DEFLATED in data:  # anywhere: pydicom unpacks all of it before anything can be judged
        raise BadImage("The DICOM file has no pixels that can be read. Save it uncompressed or as JPEG 2000.")
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        width, height = int(dataset.Columns), int(dataset.Rows)
        frames = int(dataset.get("NumberOfFrames") or 1)
        patient = str(dataset.get("PatientID") or "").strip() or None
        kept = {name: _text(dataset.get(name)) for name in KEPT}
    except _from_outside() as error:
        raise BadImage("The DICOM file is damaged or has no image.") from error
    if "PixelData" not in dataset:
        raise BadImage("The DICOM file has no pixels that can be read. Save it uncompressed or as JPEG 2000.")
    if min(width, height, frames) < 1:
        raise BadImage("The DICOM file is damaged. It claims to have no pixels.")
    if width * height > max_megapixels * 1e6:
        size, limit = f"{width} x {height}", f"{max_megapixels} megapixels"
        raise BadImage(f"The image has too many pixels. It is {size}; at most {limit} are accepted.")
    if frames > max(1, len(data)):  # a frame takes a byte at the very least
        raise BadImage(f"The DICOM file is damaged. It claims {frames} frames.")
    return Dicom(frames, width, height, {name: text for name, text in kept.items() if text}, patient, data, dataset)


def decode(data: bytes, max_megapixels: int) -> NDArray[np.uint8]:
    """Pixels of the only frame, shape (H, W, 3). Raises BadImage."""
    file = read(data, max_megapixels)
    if file.frames > 1:
        raise BadImage(f"The DICOM file has {file.frames} frames; one is expected. Send the frames one by one.")
    return file.frame(0)


def _check_stream(file: Dicom, index: int) -> None:
    """Raises BadImage where a compressed frame has another size than the header was judged by."""
    from pydicom.encaps import get_frame

    dataset = file._dataset
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == _RLE:
        return
    offsets = None
    if "ExtendedOffsetTable" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    stream = get_frame(dataset.PixelData, index, number_of_frames=file.frames, extended_offsets=offsets)
    claimed = (file.width, file.height, int(dataset.SamplesPerPixel))
    if any(size != claimed for size in _sizes(stream)):
        raise BadImage("The DICOM file is damaged. A compressed frame has another size than its header says.")


def _sizes(stream: bytes) -> list[tuple[int, int, int]]:
    """Every width, height and number of channels that a JPEG or JPEG 2000 stream states."""
    if not stream.startswith(b"\xff\xd8"):
        found = [_J2K_SIZE.unpack_from(stream, match.end()) for match in re.finditer(_J2K_START, stream)]
        return [(size[2] - size[4], size[3] - size[5], size[10]) for size in found]
    with Image.open(io.BytesIO(stream), formats=("JPEG",)) as image:
        return [(*image.size, len(image.getbands()))]


def _as_rgb(pixels: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(pixels, dataset)
        return np.ascontiguousarray(_to_bytes(colours, 0, float(np.iinfo(colours.dtype).max))[..., :3])
    if pixels.ndim == 3:  # already RGB: `raw=False` converts YBR
        return np.ascontiguousarray(_to_bytes(pixels, 0, 2.0 ** int(dataset.BitsStored) - 1)[..., :3])
    with np.errstate(over="ignore", invalid="ignore"):
        values = apply_modality_lut(pixels, dataset).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("the rescaled values have no range")
    grey = _looked_up(values, dataset) if dataset.get("VOILUTSequence") else _to_bytes(values, *_window(dataset))
    if kind == "MONOCHROME1":
        grey = 255 - grey
    return np.repeat(grey[..., None], 3, axis=2)


def _looked_up(values: NDArray[np.float64], dataset: Any) -> NDArray[np.uint8]:
    """Grey by the file's first VOI lookup table, whose entries have a range of their own."""
    from pydicom.pixels import apply_voi

    bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
    return _to_bytes(apply_voi(np.rint(values).astype(np.int64), dataset), 0, 2.0**bits - 1)


def _window(dataset: Any) -> tuple[float, float]:
    """The values that become black and white."""
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if centre is not None and width is not None and width >= 1:
        return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    bits = int(dataset.BitsStored)
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0.0, 2.0**bits - 1)
    slope, intercept = _first(dataset.get("RescaleSlope")) or 1.0, _first(dataset.get("RescaleIntercept")) or 0.0
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)
    return number if np.isfinite(number) else None


def _to_bytes(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    scaled = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-9))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return "".join(letter for letter in text if letter.isprintable()).strip()[:MAX_TEXT]


def _reason(dataset: Any) -> str:
    """What stands in the way, without a value that could name somebody."""
    name = getattr(getattr(dataset.file_meta, "TransferSyntaxUID", None), "name", "unknown")
    return (
        f"The DICOM file is truncated, damaged, or compressed in a way that cannot be read ({_text(name)}). Save it "
        "uncompressed or as JPEG 2000."
    )


def _silence() -> None:
    """Odd values are no news. A filter set once: `catch_warnings` is not safe between threads."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # quotes values of the file; its import resets this
    if not any(entry[3] is not None and getattr(entry[3], "pattern", "") == _QUIET for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=_QUIET)
