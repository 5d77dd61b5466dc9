"""DICOM files: frames as pixels, and the few acquisition fields that are kept. Nothing that names a person leaves here.

The windowing is the same for training and serving: modality rescale, then the file's first window (PS3.3, C.11.2.1.2);
without a window the whole range of values that the file can hold. MONOCHROME1 is inverted.
"""

import io
import logging
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
_DEFLATED = "1.2.840.10008.1.2.1.99"
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
    TypeError,
    ValueError,
)

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its messages quote values of the file


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
            pixels = next(iter_pixels(io.BytesIO(self._data), indices=[index], raw=False))
            return _as_rgb(pixels, self._dataset)
        except StopIteration as error:
            raise BadImage("The DICOM file is truncated. A frame is missing.") from error
        except _FROM_OUTSIDE as error:
            raise BadImage(_reason(self._dataset)) from error


def read(data: bytes, max_megapixels: int) -> Dicom:
    """The file, its header read and judged; no pixel is decoded yet. Raises BadImage."""
    import pydicom

    _silence()
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=_is_deflated(data))
        width, height = int(dataset.Columns), int(dataset.Rows)
        frames = int(dataset.get("NumberOfFrames") or 1)
        patient = str(dataset.get("PatientID") or "").strip() or None
        kept = {name: _text(dataset.get(name)) for name in KEPT}
    except _FROM_OUTSIDE as error:
        raise BadImage("The DICOM file is damaged or has no image.") from error
    if _is_deflated(data) or "PixelData" not in dataset:
        raise BadImage("The DICOM file has no pixels that can be read. Save it uncompressed or as JPEG 2000.")
    if width * height > max_megapixels * 1e6 or min(width, height, frames) < 1:
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


def _is_deflated(data: bytes) -> bool:
    """Deflated files unpack to any size before they can be judged."""
    return _DEFLATED.encode() in data[:1024]


def _as_rgb(pixels: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(pixels, dataset)
        return np.ascontiguousarray(_to_bytes(colours, 0, float(np.iinfo(colours.dtype).max))[..., :3])
    if pixels.ndim == 3:  # already RGB: `raw=False` converts YBR
        return np.ascontiguousarray(_to_bytes(pixels, 0, 2.0 ** int(dataset.BitsStored) - 1)[..., :3])
    values = apply_modality_lut(pixels, dataset).astype(np.float64)
    low, high = _window(dataset)
    grey = _to_bytes(values, low, high)
    if kind == "MONOCHROME1":
        grey = 255 - grey
    return np.repeat(grey[..., None], 3, axis=2)


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
    if not any(entry[3] is not None and getattr(entry[3], "pattern", "") == r"pydicom\." for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=r"pydicom\.")
