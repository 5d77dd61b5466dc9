import io
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ml import containers
from ml.archive import candidates, look
from ml.errors import BadArchive, BadImage
from ml.ingest_options import ArchiveLimits
from tests.ml.factories import encoded, files, noise, tar_of, zip_of

Refused = dict[str, str]


def read(path: Path, **limits: int) -> tuple[dict[str, tuple[str, str | None]], Refused]:
    """What the archive holds, every image loaded: {path: (label, split)}, and {path: reason} of the rest."""
    found: dict[str, tuple[str, str | None]] = {}
    refused: Refused = {}
    for candidate in candidates(path, ArchiveLimits(**limits), refused.__setitem__):
        try:
            candidate.load()
            found[candidate.path] = (candidate.label, candidate.split)
        except BadImage as error:
            refused[candidate.path] = str(error)
    return found, refused


@pytest.mark.parametrize("kind", ["zip", "", "gz", "xz", "bz2"])
def test_every_kind_of_archive_gives_the_same_images(tmp_path: Path, kind: str) -> None:
    content = files("benign", "malignant", prefix="set/train/") | files("benign", prefix="set/test/", first_seed=50)
    path = tmp_path / "archive.bin"
    path = zip_of(path, content) if kind == "zip" else tar_of(path, content, kind)
    found, refused = read(path)
    assert found["set/train/malignant/3.png"] == ("malignant", "train")
    assert (len(found), refused) == (12, {})


def test_pixels_arrive_unchanged(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar.xz", files("a", "b"), "xz")
    loaded = [candidate.load() for candidate in candidates(path, ArchiveLimits(), print)]
    seeds = [0, 1, 2, 3, 1000, 1001, 1002, 1003]
    assert all(np.array_equal(image, noise(seed)) for image, seed in zip(loaded, seeds, strict=True))


def test_other_files_are_left_out_with_a_reason(tmp_path: Path) -> None:
    extra = {"set/README.txt": b"hello", "set/cover.png": encoded(noise(99)), "set/a/.DS_Store": b"", "set/e/": b""}
    found, refused = read(zip_of(tmp_path / "a.zip", files("a", "b", prefix="set/") | extra))
    assert len(found) == 8
    assert refused == {
        "set/README.txt": "It is not an image file.",
        "set/cover.png": "It lies in no class folder.",
        "set/a/.DS_Store": "It is a system file.",
    }


def test_no_path_leads_out_of_the_archive(tmp_path: Path) -> None:
    hostile = {name: encoded(noise(99)) for name in ("../x/1.png", "/x/1.png", "a/../../1.png", "..\\1.png")}
    for path in (zip_of(tmp_path / "a", files("a", "b") | hostile), tar_of(tmp_path / "b", files("a", "b") | hostile)):
        found, refused = read(path)
        assert (len(found), set(refused.values())) == (8, {"Its path leads out of the archive."})
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    others = []
    for name, kind in (
        ("sym", tarfile.SYMTYPE),
        ("hard", tarfile.LNKTYPE),
        ("dev", tarfile.CHRTYPE),
        ("pipe", tarfile.FIFOTYPE),
    ):
        info = tarfile.TarInfo(f"a/{name}.png")
        info.type, info.linkname = kind, "/etc/passwd"
        others.append(info)
    found, refused = read(tar_of(tmp_path / "a.tar", files("a", "b"), "", *others))
    assert len(found) == 8
    assert refused == {
        "a/sym.png": "It is a link.",
        "a/hard.png": "It is a link.",
        "a/dev.png": "It is not an ordinary file.",
        "a/pipe.png": "It is not an ordinary file.",
    }


def test_a_link_in_a_zip_is_left_out(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", files("a", "b"))
    link = zipfile.ZipInfo("a/link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert read(path)[1] == {"a/link.png": "It is a link."}


def test_an_encrypted_file_is_left_out(tmp_path: Path) -> None:
    data = bytearray(zip_of(tmp_path / "a.zip", files("a", "b")).read_bytes())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    found, refused = read(tmp_path / "a.zip")
    assert (len(found), refused) == (7, {"b/3.png": "It is encrypted."})


def test_the_second_file_of_a_path_is_left_out(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", files("a", "b"))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/0.png", encoded(noise(99)))
    found, refused = read(path)
    assert (len(found), refused) == (8, {"a/0.png": "It has the path of an earlier file."})


def test_names_with_odd_bytes_are_shown_with_replacements(tmp_path: Path) -> None:
    odd = {"a/\udcff\udcfe.png": encoded(noise(99)), "b/line\nbreak.png": encoded(noise(98))}
    found, _ = read(tar_of(tmp_path / "a.tar", files("a", "b") | odd))
    assert {"a/\ufffd\ufffd.png", "b/line\ufffdbreak.png"} < set(found)
    assert all(path.encode() for path in found)


def test_a_truncated_image_is_reported_and_left_out(tmp_path: Path) -> None:
    content = files("a", "b") | {"a/cut.png": encoded(noise(99))[:400], "a/text.png": b"text", "b/none.png": b""}
    found, refused = read(zip_of(tmp_path / "a.zip", content))
    assert (len(found), set(refused)) == (8, {"a/cut.png", "a/text.png", "b/none.png"})
    assert "truncated" in refused["a/cut.png"]


@pytest.mark.parametrize("kind", ["zip", "", "gz", "xz", "bz2"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.85])
def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "a"
    path = zip_of(path, files("a", "b", count=30)) if kind == "zip" else tar_of(path, files("a", "b", count=30), kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BadArchive, match=r"cut short|damaged"):
        read(path)


@pytest.mark.parametrize("kind", ["zip", "", "gz", "xz", "bz2"])
def test_any_damage_gives_images_or_a_refusal(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path = zip_of(path, files("a", "b")) if kind == "zip" else tar_of(path, files("a", "b"), kind)
    data, generator = path.read_bytes(), np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), 3):
            damaged[place] = generator.integers(0, 256)
        path.write_bytes(damaged)
        try:
            found, refused = read(path)
        except BadArchive:
            continue
        assert len(found) + len(refused) <= 8


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty"),
        (b"plain text", "no known archive"),
        (b"Rar!\x1a\x07\x00", "a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\x1f\x8b\x08\x00 no gzip", "damaged"),
        (b"PK\x03\x04 no zip", "cut short"),
        (b"\xfd7zXZ\x00 no xz", "damaged"),
        (b"BZh no bzip2", "damaged"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes, cause: str) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(BadArchive, match=cause):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize("kind", ["zip", "gz", "xz"])
def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path, kind: str) -> None:
    bomb = files("a", "b") | {"a/bomb.png": bytes(110_000_000)}
    path = tmp_path / "a"
    path = zip_of(path, bomb) if kind == "zip" else tar_of(path, bomb, kind)
    with pytest.raises(BadArchive, match="200 times its size"):
        read(path)


def test_an_archive_inside_an_archive_stays_closed(tmp_path: Path) -> None:
    inner = zip_of(tmp_path / "inner.zip", {"a/bomb.png": bytes(110_000_000)}).read_bytes()
    found, refused = read(zip_of(tmp_path / "a.zip", files("a", "b") | {"a/inner.zip": inner, "a/x.png": inner}))
    assert (len(found), refused["a/inner.zip"]) == (8, "It is not an image file.")
    assert "not an image" in refused["a/x.png"]


@pytest.mark.parametrize("kind", ["zip", "gz"])
@pytest.mark.parametrize(
    ("limits", "cause"),
    [
        ({"max_entries": 7}, "more than 7 files"),
        ({"max_entry_mb": 1}, "'b/big.png' unpacks to more than 1 MB"),
        ({"max_total_mb": 1}, "unpacks to more than 1 MB"),
    ],
)
def test_limits_are_counted_while_reading(tmp_path: Path, kind: str, limits: dict[str, int], cause: str) -> None:
    content = files("a", "b") | {"b/big.png": np.random.default_rng(0).bytes(1_100_000)}
    path = tmp_path / "a"
    path = zip_of(path, content) if kind == "zip" else tar_of(path, content, kind)
    with pytest.raises(BadArchive, match=cause):
        read(path, **limits)


@pytest.mark.parametrize("declared", [10, 2**31])
def test_a_declared_size_is_not_believed(tmp_path: Path, declared: int) -> None:
    data = bytearray(zip_of(tmp_path / "a.zip", files("a", "b")).read_bytes())
    struct.pack_into("<I", data, data.rfind(b"PK\x01\x02") + 24, declared)
    (tmp_path / "a.zip").write_bytes(data)
    found, refused = read(tmp_path / "a.zip")
    assert len(found) >= 7
    assert set(refused) <= {"b/3.png"}


def test_a_directory_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {f"a/{number}.png": b"" for number in range(200)})
    with pytest.raises(BadArchive, match="more than 10 files"):
        containers.check_directory(path, ArchiveLimits(max_entries=10))


def test_a_tar_header_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a/1.png")
        info.pax_headers = {"comment": "x" * 2_000_000}
        archive.addfile(info)
    with pytest.raises(BadArchive, match="header of more than 1 MiB"):
        read(tmp_path / "a.tar.gz")


def test_an_xz_file_may_not_ask_for_more_memory_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar_of(tmp_path / "a.tar.xz", files("a", "b"), "xz")
    monkeypatch.setattr(containers, "_XZ_MEMORY_BYTES", 1 << 20)
    with pytest.raises(BadArchive, match=r"[Mm]emory"):
        read(path)


def test_an_xz_file_of_several_streams_is_read_to_its_end(tmp_path: Path) -> None:
    data = tar_of(tmp_path / "a.tar", files("a", "b")).read_bytes()
    parts = [lzma.compress(data[start : start + 5000]) for start in range(0, len(data), 5000)]
    (tmp_path / "a.tar.xz").write_bytes(b"".join(parts[:2]) + bytes(8) + b"".join(parts[2:]))
    assert len(read(tmp_path / "a.tar.xz")[0]) == 8


def test_a_tar_that_stops_in_the_middle_of_nowhere_is_refused(tmp_path: Path) -> None:
    data = tar_of(tmp_path / "a.tar", files("a", "b")).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        second = archive.getmembers()[1].offset
    (tmp_path / "a.tar").write_bytes(data[:second])
    with pytest.raises(BadArchive, match="end mark"):
        read(tmp_path / "a.tar")


def test_a_stop_reaches_the_reader_before_the_first_image(tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError("stop")

    path = tar_of(tmp_path / "a.tar", files("a", "b"))
    with pytest.raises(InterruptedError):
        next(candidates(path, ArchiveLimits(), print, stop))


def test_class_folders_below_split_folders_are_not_taken_for_patients(tmp_path: Path) -> None:
    names = [f"set/{split}/{label}/{n}.png" for split in ("train", "test") for label in "abcde" for n in range(3)]
    archive = look(zip_of(tmp_path / "a.zip", dict.fromkeys(names, b"")), ArchiveLimits())
    assert archive.group_pattern is None
