"""Synthetic images that look like ultrasound, for trying the platform without any download. No medical value.

Drawn after the textbook signs: a benign lesion tends to be smooth, wider than tall, bright behind; a malignant one
irregular, taller than wide, with a shadow behind. Every sign overlaps between the classes, so no classifier is perfect.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BENIGN, MALIGNANT = "benign", "malignant"

_EPOCH = (1980, 1, 1, 0, 0, 0)
_OVERLAP = 0.7  # spread of each sign, in distances between the two classes


@dataclass(frozen=True)
class _Lesion:
    """Lengths are shares of the image's side; y grows with depth."""

    center_x: float
    center_y: float
    radius: float
    aspect: float  # width / height
    roughness: float  # of the outline, as a share of the radius
    contrast: float  # echo inside / echo outside
    behind: float  # echo below / echo elsewhere


def write_archive(path: Path, images_per_class: int = 300, size_px: int = 64, seed: int = 0) -> None:
    """Writes a zip of PNG files, `benign/synthetic_0001.png` and so on. The same arguments give the same bytes."""
    generator = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for label in (BENIGN, MALIGNANT):
            for number in range(1, images_per_class + 1):
                info = zipfile.ZipInfo(f"{label}/synthetic_{number:04d}.png", date_time=_EPOCH)
                info.create_system = 3
                archive.writestr(info, _png(draw(label, size_px, generator)))


def draw(label: str, size_px: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """One grey image, shape (H, W)."""
    lesion = _lesion(label == MALIGNANT, generator)
    y_HW, x_HW = (np.mgrid[:size_px, :size_px] + 0.5) / size_px
    echo_HW = _tissue(y_HW, generator)
    inside_HW = _inside(lesion, x_HW, y_HW, generator)
    echo_HW *= 1 - inside_HW * (1 - lesion.contrast)
    echo_HW *= 1 + _behind(lesion, x_HW, y_HW) * (1 - inside_HW) * (lesion.behind - 1)
    return _display(echo_HW * _speckle(size_px, generator))


def _lesion(is_malignant: bool, generator: np.random.Generator) -> _Lesion:
    """Signs drawn around the mean of the class: -0.5 for benign, +0.5 for malignant, wide enough to overlap."""
    mean = 0.5 if is_malignant else -0.5
    shape, outline, rear, darkness = generator.normal(mean, _OVERLAP, 4)
    return _Lesion(
        center_x=generator.uniform(0.35, 0.65),
        center_y=generator.uniform(0.35, 0.55),
        radius=generator.uniform(0.15, 0.24),
        aspect=float(np.exp(0.12 - 0.45 * shape)),
        roughness=float(np.clip(0.11 + 0.12 * outline, 0.01, 0.3)),
        contrast=float(np.clip(0.25 - 0.08 * darkness, 0.06, 0.7)),
        behind=float(np.exp(-0.5 * rear)),
    )


def _inside(
    lesion: _Lesion, x_HW: NDArray[np.float64], y_HW: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """1 inside the lesion, 0 outside, with a narrow slope between."""
    dx_HW = (x_HW - lesion.center_x) / np.sqrt(lesion.aspect)
    dy_HW = (y_HW - lesion.center_y) * np.sqrt(lesion.aspect)
    angle_HW = np.arctan2(dy_HW, dx_HW)
    waves = np.arange(3, 12)
    phases, heights = generator.uniform(0, 2 * np.pi, waves.size), generator.normal(0, 1, waves.size)
    outline_HW = np.tensordot(heights, np.cos(waves[:, None, None] * angle_HW + phases[:, None, None]), 1)
    outline_HW *= lesion.roughness / np.sqrt(waves.size / 2)
    distance_HW = np.hypot(dx_HW, dy_HW) / lesion.radius - 1 - outline_HW
    return 1 / (1 + np.exp(np.clip(distance_HW / 0.08, -50, 50)))


def _behind(lesion: _Lesion, x_HW: NDArray[np.float64], y_HW: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 in the column below the lesion, fading sideways and upwards."""
    half_width = lesion.radius * np.sqrt(lesion.aspect)
    sideways_HW = np.exp(-(((x_HW - lesion.center_x) / half_width) ** 4))
    return sideways_HW / (1 + np.exp(-(y_HW - lesion.center_y) / 0.03))


def _tissue(y_HW: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Bright skin on top, layers below, weaker with depth."""
    waves, phase = generator.uniform(2, 5), generator.uniform(0, 2 * np.pi)
    layers_HW = 1 + 0.25 * np.sin(2 * np.pi * waves * y_HW + phase)
    return (layers_HW + 1.5 * np.exp(-y_HW / 0.04)) * np.exp(-generator.uniform(0.4, 1.2) * y_HW)


def _speckle(size_px: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Mean of three Rayleigh-distributed envelopes (spatial compounding), grain of about two pixels, mean 1."""
    real_LHW, imaginary_LHW = generator.normal(size=(2, 3, size_px, size_px))
    frequency_HW = np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.fftfreq(size_px)[None, :])
    field_LHW = np.fft.ifft2(np.fft.fft2(real_LHW + 1j * imaginary_LHW) * np.exp(-((frequency_HW / 0.25) ** 2)))
    envelope_HW = np.abs(field_LHW).mean(axis=0)
    return envelope_HW / envelope_HW.mean()


def _display(echo_HW: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Logarithmic compression to 40 dB, as a scanner does."""
    decibel_HW = 20 * np.log10(np.maximum(echo_HW, 1e-6) / 4)
    return np.clip(np.rint((decibel_HW / 40 + 1) * 255), 0, 255).astype(np.uint8)


def _png(pixels_HW: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HW).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
