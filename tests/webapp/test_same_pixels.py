"""The same bytes get the same probability, whether they are in a data set that is evaluated or sent to /predict."""

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from ml import images, scored
from ml.config import TrainConfig
from ml.images import InputSpec
from ml.ingest_options import IngestOptions
from ml.pack import PackReader
from tests.factories import Auth, find_user, make_experiment, make_version
from tests.jobs.processes import Processes, wait_for
from tests.ml.factories import encoded, zip_of
from tests.ml.test_dicom import made, packed
from webapp.datasets import contents
from webapp.datasets import service as datasets
from webapp.models import Dataset, Evaluation, ModelVersion
from webapp.registry import service as registry
from webapp.settings import Settings

CLOSE = 1e-5
SIZE_PX = 64
Files = dict[str, bytes]


def drawn(seed: int, width: int = 300, height: int = 220) -> Image.Image:
    """A coloured picture with edges and gradients, which every way of scaling treats in another way."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def deep(seed: int) -> NDArray[np.uint16]:
    """Grey of sixteen bits."""
    return np.asarray(drawn(seed).convert("L")).astype(np.uint16) * 257 + np.uint16(seed)


def translucent(seed: int) -> Image.Image:
    picture = drawn(seed)
    picture.putalpha(drawn(seed + 1).convert("L"))
    return picture


def formats(first: int) -> Files:
    """A picture of its own in each format, and in each kind of pixels that it has, under the ending of its name."""
    seeds, photograph = itertools.count(first, 2), Image.Exif()
    photograph[0x0112] = 6  # lying on its side
    window = {"WindowCenter": 2000, "WindowWidth": 3000}
    return {
        "jpg": encoded(drawn(next(seeds)), "JPEG", quality=90),
        "large.jpg": encoded(drawn(next(seeds), 2700, 2100), "JPEG", quality=90),
        "turned.jpg": encoded(drawn(next(seeds), 2100, 2700), "JPEG", quality=90, exif=photograph),
        "cmyk.jpg": encoded(drawn(next(seeds)).convert("CMYK"), "JPEG", quality=90),
        "grey.jpg": encoded(drawn(next(seeds)).convert("L"), "JPEG", quality=90),
        "png": encoded(drawn(next(seeds))),
        "deep.png": encoded(deep(next(seeds))),
        "grey.png": encoded(drawn(next(seeds)).convert("L")),
        "palette.png": encoded(drawn(next(seeds)).quantize(64)),
        "alpha.png": encoded(translucent(next(seeds))),
        "gif": encoded(drawn(next(seeds)), "GIF"),
        "palette.gif": encoded(drawn(next(seeds)).quantize(16), "GIF"),
        "moving.gif": encoded(drawn(next(seeds)), "GIF", save_all=True, append_images=[drawn(next(seeds))]),
        "webp": encoded(drawn(next(seeds)), "WEBP", quality=80),
        "alpha.webp": encoded(translucent(next(seeds)), "WEBP", quality=80),
        "avif": encoded(drawn(next(seeds)), "AVIF", quality=80),
        "turned.avif": encoded(drawn(next(seeds)), "AVIF", quality=80, exif=photograph),
        "bmp": encoded(drawn(next(seeds)), "BMP"),
        "ppm": encoded(drawn(next(seeds)), "PPM"),
        "deep.pgm": encoded(deep(next(seeds)), "PPM"),
        "tiff": encoded(drawn(next(seeds)), "TIFF", compression="tiff_lzw"),
        "deep.tiff": encoded(deep(next(seeds)), "TIFF"),
        "cmyk.tiff": encoded(drawn(next(seeds)).convert("CMYK"), "TIFF"),
        "dcm": made(deep(next(seeds)) >> 4, **window),
        "rle.dcm": made(deep(next(seeds)) >> 4, RLELossless, **window),
        "jpeg2000.dcm": packed(drawn(next(seeds)), "JPEG2000", JPEG2000Lossless),
        "grey-jpeg2000.dcm": packed(drawn(next(seeds)).convert("L"), "JPEG2000", JPEG2000Lossless),
        "jpeg.dcm": packed(drawn(next(seeds)), "JPEG", JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422"),
    }


@pytest.fixture(scope="module")
def files() -> Files:
    """For each of two classes, the bytes of every format by their paths in an archive."""
    return {
        f"{label}/{number}.{ending}": data
        for number, label in enumerate(("benign", "malignant"))
        for ending, data in formats(1000 * number).items()
    }


def test_every_accepted_format_is_among_them(files: Files) -> None:
    assert {images.header(data).format for data in files.values()} == {*images.FORMATS, "DICOM"}


@pytest.fixture
def evaluated(context: Flask, settings: Settings, files: Files, tmp_path: Path) -> Iterator[Evaluation]:
    """All of them, ingested and evaluated by a worker with an exported network."""
    archive = zip_of(tmp_path / "a.zip", files).read_bytes()
    with contextlib.closing(Processes(settings)) as processes:
        processes.worker()
        user = find_user("researcher")
        row = datasets.create_from_archive(io.BytesIO(archive), "Formats", IngestOptions(group_pattern=""), user)
        dataset: Dataset = wait_for(row, lambda row: row.status == "ready")
        config = TrainConfig(network="cnn", image_size_px=SIZE_PX)
        trained = make_experiment(dataset, status="succeeded", progress=1.0, config=config)
        version: ModelVersion = make_version(trained, is_exported=True)
        evaluation = registry.start_evaluation(version.id, dataset.id, "all", user)
        yield wait_for(evaluation, lambda row: row.status == "succeeded")


def test_predict_and_the_evaluation_job_say_the_same_of_the_same_bytes_in_every_format(
    evaluated: Evaluation, client: FlaskClient, auth: Auth, files: Files
) -> None:
    registry.activate(evaluated.version, "for a test", find_user("researcher"))
    headers = auth.token("predict") | {"Content-Type": "application/octet-stream"}
    said = {path: predicted(client, headers, data) for path, data in files.items()}
    by_job = answers_of(evaluated)
    assert set(by_job) == set(files)
    for path in files:
        assert said[path] == pytest.approx(by_job[path], abs=CLOSE), path
    assert np.std([one["malignant"] for one in said.values()]) > 100 * CLOSE  # the network tells them apart
    for path, (kept, sent) in pixels(evaluated.dataset, files).items():  # one that differs might move no probability
        assert np.array_equal(kept, sent), path


def answers_of(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """What the job kept of each image, by its path."""
    manifest = contents.manifest_of(evaluation.dataset)
    with contents.store().fetch(evaluation.predictions_sha256) as path:
        kept = scored.read(path)
    return {
        manifest.rows[number].path: dict(zip(kept.classes, said.tolist(), strict=True))
        for number, said in zip(kept.number_N, kept.probabilities_NK, strict=True)
    }


def pixels(dataset: Dataset, files: Files) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """What the network sees of each image: by what the data set keeps of it, and by the bytes that are sent."""
    spec = InputSpec(size_px=SIZE_PX)
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(contents.store().fetch(sha256)) for sha256 in dataset.pack_sha256s]
        packs = stack.enter_context(PackReader(paths))
        return {
            row.path: (
                images.to_input(packs.read(row.pack, row.member), spec),
                images.read_input(files[row.path], spec),
            )
            for row in contents.manifest_of(dataset).rows
        }


def predicted(client: FlaskClient, headers: dict[str, str], data: bytes) -> Any:
    answer = client.post("/predict", data=data, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json["predictions"][0]["probabilities"]
