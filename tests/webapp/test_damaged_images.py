"""Damaged files of every format: each is answered, or refused with a reason, and none is a 5xx."""

import random
from collections.abc import Callable

import numpy as np
from flask import Flask
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless
from werkzeug.test import TestResponse

from ml import images
from tests.factories import Auth, make_activation
from tests.ml.factories import encoded, noise
from tests.ml.test_dicom import made, packed

FILES = 2_000
EXPLAINED = 5  # one of so many rounds through all files asks for maps
WITHOUT_PALETTE = ("JPEG", "AVIF", "PPM")
EXTREMES = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x00\x00\x00")
Data = bytearray


def seeds() -> list[bytes]:
    """A small file of each format, grey, in colours and with a palette, and DICOM in each compression."""
    colours = Image.fromarray(noise(height=24, width=32))
    kinds = (colours, colours.convert("L"), colours.quantize(16))
    ways = [(kind, format) for format in images.FORMATS for kind in kinds]
    pictures = [encoded(kind, format) for kind, format in ways if (kind.mode, format in WITHOUT_PALETTE) != ("P", True)]
    deep = noise()[..., 0].astype(np.uint16) << 4
    compressed = [
        made(deep, RLELossless),
        packed(colours, "JPEG2000", JPEG2000Lossless),
        packed(colours, "JPEG", JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422"),
    ]
    tiff = encoded(colours, "TIFF", compression="tiff_lzw")
    return [*pictures, tiff, encoded(deep), made(noise()), made(noise()[..., 0]), *compressed]


def flip(data: Data, chance: random.Random, other: bytes) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwrite(data: Data, chance: random.Random, other: bytes) -> None:
    value, at = chance.choice(EXTREMES), chance.randrange(min(len(data), chance.choice((64, 512, 1 << 30))))
    data[at : at + len(value)] = value


def cut(data: Data, chance: random.Random, other: bytes) -> None:
    del data[max(8, chance.randrange(len(data))) :]


def take_out(data: Data, chance: random.Random, other: bytes) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randrange(1, 40)]


def repeat(data: Data, chance: random.Random, other: bytes) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randrange(1, 200)] * chance.randrange(1, 4)


def splice(data: Data, chance: random.Random, other: bytes) -> None:
    data[chance.randrange(len(data)) :] = other[chance.randrange(len(other)) :]


WAYS: tuple[Callable[[Data, random.Random, bytes], None], ...] = (flip, overwrite, cut, take_out, repeat, splice)


def damaged(sound: list[bytes], number: int) -> bytes:
    """A file of the seeds, harmed in one to six ways; the same number gives the same file."""
    chance = random.Random(number)
    data = bytearray(sound[number % len(sound)])
    for _ in range(chance.randrange(1, 7)):
        if data:
            chance.choice(WAYS)(data, chance, chance.choice(sound))
    return bytes(data)


def is_explained(number: int, sound: list[bytes]) -> bool:
    return number // len(sound) % EXPLAINED == 0


def has_map(answer: TestResponse) -> bool:
    return answer.json["predictions"][0]["heatmap_png"] is not None


def test_two_thousand_damaged_images_are_answered_or_refused(app: Flask, auth: Auth) -> None:
    headers, sound = auth.token("predict") | {"Content-Type": "application/octet-stream"}, seeds()
    with app.app_context():
        make_activation()
    statuses = []
    for number in range(FILES):
        address = f"/predict{'?explain=1' * is_explained(number, sound)}"
        answer = auth.client.post(address, data=damaged(sound, number), headers=headers)
        assert answer.status_code in (200, 413, 422), (number, answer.text)
        assert answer.status_code == 200 or answer.json["detail"], number
        assert answer.status_code != 200 or has_map(answer) == is_explained(number, sound), number
        statuses.append(answer.status_code)
    assert 0.1 * FILES < statuses.count(200) < 0.9 * FILES  # the damage is neither overlooked nor total
    intact = [auth.client.post("/predict", data=data, headers=headers).status_code for data in sound]
    assert intact == [200] * len(sound)
