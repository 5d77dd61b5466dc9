import multiprocessing
import pickle
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ml.errors import BadArtifact
from ml.images import encode_canonical, pixel_sha256
from ml.pack import PackReader, PackWriter, encode
from tests.ml.factories import noise


def write(folder: Path, count: int = 5, max_mb: int = 256) -> tuple[list[Path], list[tuple[int, str]]]:
    folder.mkdir(exist_ok=True)
    with PackWriter(folder, max_mb) as writer:
        places = [writer.add(encode(noise(seed)))[:2] for seed in range(count)]
    return writer.paths, places


def test_images_come_back_as_they_went_in(tmp_path: Path) -> None:
    paths, places = write(tmp_path)
    reader = PackReader(paths)
    assert len(paths) == 1
    assert all(np.array_equal(reader.read(*place), noise(seed)) for seed, place in enumerate(places))


def test_a_full_pack_is_followed_by_another(tmp_path: Path) -> None:
    with PackWriter(tmp_path, max_mb=1) as writer:
        places = [writer.add(encode(noise(seed, 400, 400))) for seed in range(5)]  # about 0.48 MB each
    assert [place.pack for place in places] == [0, 0, 1, 1, 2]
    assert all(path.stat().st_size < 1_000_000 for path in writer.paths)
    assert np.array_equal(PackReader(writer.paths).read(*places[4][:2]), noise(4, 400, 400))


def test_a_place_names_the_bytes_of_its_image(tmp_path: Path) -> None:
    with PackWriter(tmp_path) as writer:
        places = [writer.add(encode(noise(seed))) for seed in range(3)]
    data = writer.paths[0].read_bytes()
    for seed, place in enumerate(places):
        assert data[place.offset :][: place.length] == encode_canonical(noise(seed))


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a")[0][0], write(tmp_path / "b")[0][0]
    assert first.read_bytes() == second.read_bytes()


def test_a_pack_is_an_ordinary_zip_of_png_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path)[0][0]) as archive:
        assert archive.namelist() == [f"{number:06d}.png" for number in range(5)]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("000000.png").startswith(b"\x89PNG")


def test_threads_share_one_reader(tmp_path: Path) -> None:
    paths, places = write(tmp_path, count=20)
    reader = PackReader(paths)
    with ThreadPoolExecutor(4) as pool:
        hashes = list(pool.map(lambda place: pixel_sha256(reader.read(*place)), places * 10))
    assert hashes == [pixel_sha256(noise(seed)) for seed in range(20)] * 10


def hash_of(reader: PackReader, place: tuple[int, str]) -> str:
    return pixel_sha256(reader.read(*place))


def test_a_reader_survives_pickling_and_a_new_process(tmp_path: Path) -> None:
    paths, places = write(tmp_path)
    reader = PackReader(paths)
    reader.read(*places[0])
    assert hash_of(pickle.loads(pickle.dumps(reader)), places[1]) == pixel_sha256(noise(1))  # noqa: S301
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(hash_of, reader, places[2]).result() == pixel_sha256(noise(2))


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    reader = PackReader(write(tmp_path)[0])
    with pytest.raises(BadArtifact, match=r"'000099\.png' cannot be read from 'pack-0000\.zip'"):
        reader.read(0, "000099.png")
    with pytest.raises(BadArtifact, match="Pack 3 is not among the 1 packs"):
        reader.read(3, "000000.png")


def test_a_damaged_pack_is_told_from_an_image(tmp_path: Path) -> None:
    paths, places = write(tmp_path)
    damaged = bytearray(paths[0].read_bytes())
    damaged[200] ^= 0xFF
    paths[0].write_bytes(damaged)
    with pytest.raises(BadArtifact, match="Bring the data set in again"):
        PackReader(paths).read(*places[0])


def test_a_pack_without_its_end_is_refused(tmp_path: Path) -> None:
    paths, places = write(tmp_path)
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    with pytest.raises(BadArtifact, match=r"pack-0000\.zip"):
        PackReader(paths).read(*places[0])


def test_a_pack_of_many_small_images_ends_at_a_number(tmp_path: Path) -> None:
    with PackWriter(tmp_path, max_images=2) as writer:
        places = [writer.add(encode(np.zeros((4, 4, 3), np.uint8))) for _ in range(5)]
    assert [place.pack for place in places] == [0, 0, 1, 1, 2]
    assert len(writer.paths) == 3
