"""The same bytes get the same probability, whether they are in a data set that is evaluated or sent to /predict."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from numpy.typing import NDArray
from PIL import Image

from ml import evaluation, images
from ml.artifact import Card
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.pack import PackReader
from ml.serving import Predictor
from tests.factories import Auth, find_user, make_version
from tests.ml.factories import encoded, zip_of
from tests.ml.test_dicom import made
from webapp.datasets import contents
from webapp.registry import service as registry

CLOSE = 1e-5


def drawn(seed: int, width: int = 300, height: int = 220) -> Image.Image:
    """A coloured picture with edges and gradients, which every way of scaling treats in another way."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def deep(seed: int) -> NDArray[np.uint16]:
    """Grey of sixteen bits."""
    return np.asarray(drawn(seed).convert("L")).astype(np.uint16) * 257 + np.uint16(seed)


def formats(seed: int) -> dict[str, bytes]:
    """One picture in each format, under the ending of its name."""
    photograph = Image.Exif()
    photograph[0x0112] = 6  # lying on its side
    return {
        "jpg": encoded(drawn(seed), "JPEG", quality=90),
        "large.jpg": encoded(drawn(seed + 10, 2700, 2100), "JPEG", quality=90),
        "turned.jpg": encoded(drawn(seed + 20, 2100, 2700), "JPEG", quality=90, exif=photograph),
        "png": encoded(drawn(seed + 30)),
        "deep.png": encoded(deep(seed + 40)),
        "grey.png": encoded(drawn(seed + 50).convert("L")),
        "palette.png": encoded(drawn(seed + 60).quantize(64)),
        "gif": encoded(drawn(seed + 70), "GIF"),
        "webp": encoded(drawn(seed + 80), "WEBP", quality=80),
        "bmp": encoded(drawn(seed + 90), "BMP"),
        "tiff": encoded(deep(seed + 100), "TIFF"),
        "dcm": made(deep(seed + 110) >> 4, WindowCenter=2000, WindowWidth=3000),
    }


@pytest.fixture
def files() -> dict[str, bytes]:
    """For each of two classes, the bytes of every format by their paths in an archive."""
    return {
        f"{label}/{number}.{ending}": data
        for number, label in enumerate(("benign", "malignant"))
        for ending, data in formats(number).items()
    }


@pytest.fixture
def ingested(tmp_path: Path, files: dict[str, bytes]) -> Iterator[tuple[Ingested, PackReader]]:
    folder = tmp_path / "dataset"
    folder.mkdir()
    found = ingest(zip_of(tmp_path / "a.zip", files), folder, IngestOptions(group_pattern=""), ArchiveLimits())
    with PackReader(found.pack_paths) as packs:
        yield found, packs


def test_predict_and_the_evaluation_say_the_same_of_the_same_bytes_in_every_format(
    app: Flask, client: FlaskClient, auth: Auth, files: dict[str, bytes], ingested: tuple[Ingested, PackReader]
) -> None:
    found, packs = ingested
    with app.app_context(), contextlib.ExitStack() as stack:
        version = make_version()
        card = Card.model_validate(version.card)
        predictor = Predictor(stack.enter_context(contents.store().fetch(version.model_sha256)), card)
        asked = (predictor, found.manifest, packs, "all", card.operating_point)
        evaluated = {one.path: one.probabilities for one in evaluation.evaluate_split(*asked, lambda *_: None).answers}
        registry.activate(version, "for a test", find_user("researcher"))
    assert set(evaluated) == set(files)
    for path, data in files.items():
        said = predicted(client, auth.token("predict"), data)
        assert said == pytest.approx(evaluated[path], abs=CLOSE), path
    for row in found.manifest.rows:  # one pixel that differs might not move a probability
        kept, sent = packs.read(row.pack, row.member), images.read_input(files[row.path], card.input)
        assert np.array_equal(images.to_input(kept, card.input), sent), row.path


def predicted(client: FlaskClient, headers: dict[str, str], data: bytes) -> Any:
    answer = client.post("/predict", data=data, headers=headers | {"Content-Type": "application/octet-stream"})
    assert answer.status_code == 200, answer.text
    return answer.json["predictions"][0]["probabilities"]
