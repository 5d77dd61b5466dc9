"""DICOM becomes pixels by the file's own window; what names a person stays outside."""

import io
import logging
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from ml import dicom, images
from ml.errors import BadImage
from ml.ingest import ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.preview import preview
from tests.ml.factories import zip_of

RAMP_HW = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def made(pixels: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """A DICOM file of these pixels: (H, W), (F, H, W) or (H, W, 3)."""
    is_colour = pixels.ndim == 3 and pixels.shape[2] == 3
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, "1.2.840.10008.5.1.4.1.1.6.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = pixels.shape[:2] if pixels.ndim == 2 or is_colour else pixels.shape[1:]
    if pixels.ndim == 3 and not is_colour:
        dataset.NumberOfFrames = len(pixels)
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    dataset.SamplesPerPixel = 3 if is_colour else 1
    dataset.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        dataset.PlanarConfiguration = 0
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", "MRN-4711", "US"
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def packed(image: Image.Image, format: str, syntax: str, **tags: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **({"irreversible": False} if format == "JPEG2000" else {"quality": 95}))
    return made(np.asarray(image), syntax, PixelData=encapsulate([buffer.getvalue()]), **tags)


def grey_of(data: bytes) -> NDArray[np.uint8]:
    image_HWC = images.decode(data)
    assert (image_HWC[..., 0] == image_HWC[..., 2]).all()
    return image_HWC[..., 0]


def test_the_window_of_the_file_decides_what_is_black_and_white() -> None:
    grey = grey_of(made(RAMP_HW, WindowCenter=1024, WindowWidth=512))
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)
    assert abs(int(grey.reshape(-1)[1024]) - 128) <= 1


def test_without_a_window_the_full_range_counts_and_monochrome1_is_inverted() -> None:
    assert grey_of(made(RAMP_HW))[-1, -1] == round(4095 * 255 / 65535)
    assert grey_of(made(RAMP_HW, BitsStored=12, HighBit=11))[-1, -1] == 255
    assert grey_of(made(RAMP_HW, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1"))[-1, -1] == 0


def test_signed_and_rescaled_values_are_windowed_in_their_units() -> None:
    signed = (RAMP_HW.astype(np.int16) - 1024).astype(np.int16)
    grey = grey_of(made(signed, RescaleSlope=2, RescaleIntercept=100, WindowCenter=100, WindowWidth=1000))
    assert abs(int(grey.reshape(-1)[1024]) - 128) <= 1


COLOUR = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64))


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (made(np.asarray(COLOUR)), 0),
        (made(np.asarray(COLOUR), RLELossless), 0),
        (packed(COLOUR, "JPEG2000", JPEG2000Lossless), 0),
        (packed(COLOUR, "JPEG", JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422"), 4),
    ],
    ids=["plain", "RLE", "JPEG 2000", "JPEG"],
)
def test_colours_come_through_every_compression(data: bytes, tolerance: float) -> None:
    difference = np.abs(images.decode(data).astype(int) - np.asarray(COLOUR).astype(int))
    assert difference.mean() <= tolerance


def test_a_palette_is_looked_up() -> None:
    ramp = np.arange(256, dtype=np.uint16) * 257
    tables = {f"{name}PaletteColorLookupTableData": ramp.tobytes() for name in ("Red", "Green", "Blue")}
    numbers = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in ("Red", "Green", "Blue")}
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    decoded = images.decode(made(pixels, PhotometricInterpretation="PALETTE COLOR", **numbers, **tables))
    assert decoded[7, 7].tolist() == [63, 63, 63]


def test_several_frames_are_several_images_of_one_nameless_patient(tmp_path: Path) -> None:
    def frames(seed: int) -> NDArray[np.uint8]:
        return np.random.default_rng(seed).integers(0, 256, (3, 32, 32), np.uint8)

    files = {
        f"{label}/{n}.dcm": made(frames(10 * n + ord(label)), PatientID=f"MRN-{n}") for label in "ab" for n in (1, 2)
    }
    path = zip_of(tmp_path / "a.zip", files)
    rows = ingest(path, tmp_path, IngestOptions(), ArchiveLimits()).manifest.rows
    assert [row.path for row in rows[:3]] == ["a/1.dcm#0001", "a/1.dcm#0002", "a/1.dcm#0003"]
    assert {row.group for row in rows} == {"patient 001", "patient 002"}
    assert rows[0].metadata["Modality"] == "US"
    everything = (tmp_path / "manifest.jsonl.gz").read_bytes() + preview(
        path, IngestOptions(), ArchiveLimits()
    ).model_dump_json().encode()
    import gzip

    assert b"MRN" not in gzip.decompress((tmp_path / "manifest.jsonl.gz").read_bytes())
    assert b"MRN" not in everything
    assert "Jane" not in str([row.metadata for row in rows])


def lying(change: Callable[[bytes], bytes]) -> bytes:
    return change(made(RAMP_HW))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (lying(lambda data: data[:-4000]), "truncated"),
        (lying(lambda data: data[:200]), "damaged or has no image"),
        (lying(lambda data: data[:132]), "damaged or has no image"),
        (made(RAMP_HW, Rows=60_000, Columns=60_000), "too many pixels"),
        (made(RAMP_HW, NumberOfFrames=10**9), "claims 1000000000 frames"),
        (made(np.stack([RAMP_HW, RAMP_HW])), "has 2 frames"),
        (
            made(RAMP_HW, JPEGLosslessSV1, PixelData=encapsulate([b"\xff\xd8" + bytes(50)])),
            "cannot be read .JPEG Lossless",
        ),
        (made(RAMP_HW, DeflatedExplicitVRLittleEndian), "no pixels that can be read"),
        (made(RAMP_HW, RescaleSlope=1e308, RescaleIntercept=1e308), "damaged"),
        (made(RAMP_HW, NumberOfFrames=-4), "claims to have no pixels"),
        (packed(COLOUR.resize((200, 200)), "JPEG2000", JPEG2000Lossless, Rows=64, Columns=64), "another size"),
        (packed(COLOUR.resize((200, 200)), "JPEG", JPEGBaseline8Bit, Rows=64, Columns=64), "another size"),
        (b"\0" * 128 + b"DICM" + struct.pack("<I", 2**31) * 9, "damaged or has no image"),
    ],
)
def test_what_cannot_be_read_is_named_without_its_values(data: bytes, cause: str) -> None:
    with pytest.raises(BadImage, match=cause) as refusal:
        images.decode(data)
    assert "Jane" not in str(refusal.value)
    assert "MRN" not in str(refusal.value)


def element(number: int, kind: bytes, value: bytes) -> bytes:
    """One short element of group 2."""
    return struct.pack("<HH2sH", 2, number, kind, len(value)) + value


def test_a_deflated_file_is_refused_before_it_unpacks_wherever_it_says_so() -> None:
    meta = element(3, b"UI", b"1." * 900) + element(0x10, b"UI", b"1.2.840.10008.1.2.1.99")
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"".join(bomb.compress(bytes(2**20)) for _ in range(64)) + bomb.flush()
    data = b"\0" * 128 + b"DICM" + element(0, b"UL", struct.pack("<I", len(meta))) + meta + body
    tracemalloc.start()
    with pytest.raises(BadImage, match="no pixels that can be read"):
        images.decode(data)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 32 * 2**20


def test_a_lookup_table_of_the_file_goes_before_the_window() -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData, table.LUTExplanation = [4096, 0, 16], RAMP_HW[::-1, ::-1].tobytes(), "x"
    values = made(RAMP_HW, BitsStored=12, HighBit=11, VOILUTSequence=[table], WindowCenter=10, WindowWidth=10)
    grey = grey_of(values)
    assert (grey[0, 0], grey[-1, -1]) == (round(4095 * 255 / 65535), 0)


def test_values_of_a_file_reach_no_log(caplog: pytest.LogCaptureFixture) -> None:
    data = made(RAMP_HW, NumberOfFrames=1, InstanceNumber=12345678)
    with caplog.at_level(logging.WARNING), pytest.raises(BadImage):
        images.decode(data.replace(b"IS\x02\x001 ", b"IS\x02\x00J "))
    assert not caplog.records


def test_the_header_is_known_without_the_pixels() -> None:
    assert images.header(made(RAMP_HW)) == ("DICOM", 64, 64)
    assert dicom.read(made(RAMP_HW), 100).metadata == {
        "Modality": "US",
        "BitsStored": "16",
        "PhotometricInterpretation": "MONOCHROME2",
    }
