import pytest

from ml.layout import Layout, LeftOut, Place, image_path, printable


@pytest.mark.parametrize(
    ("paths", "path", "place"),
    [
        (["benign/1.png", "malignant/2.png"], "benign/1.png", Place("benign", None)),
        (["data/set/benign/1.png", "data/set/malignant/2.png"], "data/set/benign/1.png", Place("benign", None)),
        (["benign/p1/40X/1.png", "malignant/p2/1.png"], "benign/p1/40X/1.png", Place("benign", None)),
        (["train/a/1.png", "test/b/1.png"], "test/b/1.png", Place("b", "test")),
        (["x/Train/a/1.png", "x/VAL/b/1.png"], "x/VAL/b/1.png", Place("b", "validation")),
        (["x/train/a/1.png", "x/valid/b/1.png"], "x/valid/b/1.png", Place("b", "validation")),
        (["train/a/1.png", "train/b/1.png"], "train/a/1.png", Place("a", "train")),
        (["cover.png", "data/a/1.png", "data/b/1.png"], "data/a/1.png", Place("a", None)),
        (["train/1.png", "car/1.png", "test/1.png"], "train/1.png", Place("train", None)),
        (["a/1.png", "a/2.png"], "a/1.png", Place("a", None)),
    ],
)
def test_folders_name_the_class_and_the_split(paths: list[str], path: str, place: Place) -> None:
    assert Layout.of(paths).place(path) == place


@pytest.mark.parametrize(
    ("paths", "path", "reason"),
    [
        (["a/1.png", "b/1.png", "1.png"], "1.png", "no class folder"),
        (["x/1.png", "x/a/1.png", "x/b/1.png"], "x/1.png", "no class folder"),
        (["train/a/1.png", "test/1.png"], "test/1.png", "no class folder"),
        (["train/a/1.png", "extra/a/1.png"], "extra/a/1.png", "outside the train"),
        (["train/a/1.png", "1.png"], "1.png", "outside the train"),
        (["a/1.png", "b" * 201 + "/1.png"], "b" * 201 + "/1.png", "longer than 200"),
    ],
)
def test_an_image_without_a_class_is_left_out(paths: list[str], path: str, reason: str) -> None:
    with pytest.raises(LeftOut, match=reason):
        Layout.of(paths).place(path)


@pytest.mark.parametrize(
    ("name", "path"),
    [("a/b.PNG", "a/b.PNG"), ("a\\b.jpeg", "a/b.jpeg"), ("./a//b.tif", "a/b.tif"), ("a/IMG0001", "a/IMG0001")],
)
def test_a_path_is_the_same_whatever_packed_it(name: str, path: str) -> None:
    assert image_path(name) == path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a/1.png", "out of the archive"),
        ("a/../../1.png", "out of the archive"),
        ("/etc/1.png", "out of the archive"),
        ("C:\\a\\1.png", "out of the archive"),
        ("..\\1.png", "out of the archive"),
        ("\\\\server\\a\\1.png", "out of the archive"),
        ("__MACOSX/a/._1.png", "system file"),
        ("a/.DS_Store", "system file"),
        ("a/Thumbs.db", "system file"),
        ("a/._1.png", "system file"),
        ("a/notes.txt", "not an image file"),
        ("a/inner.zip", "not an image file"),
        ("a/" * 600 + "1.png", "longer than 1000"),
        ("", "not an image file"),
    ],
)
def test_a_path_that_is_no_image_is_left_out(name: str, reason: str) -> None:
    with pytest.raises(LeftOut, match=reason):
        image_path(name)


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert printable("a\udcff\x00\n\u202e.png") == "a\ufffd\ufffd\ufffd\ufffd.png"
    assert printable("u\u0308.png") == "ü.png"
