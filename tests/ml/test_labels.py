"""A label table names class, split, group and metadata of each image, and every mistake in it is named."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.archive import Candidate, candidates, look
from ml.errors import BadArchive
from ml.ingest_options import ArchiveLimits
from ml.labels import Table
from tests.ml.factories import encoded, noise, zip_of

IMAGES = {f"images/{number}.png": encoded(noise(number)) for number in range(4)}
ROWS = "Path;Label;Split;Patient_ID;View;Patient name\n" + "".join(
    f"images/{number}.png;{'ab'[number % 2]};{('train', 'test')[number // 2]};p{number // 2};CC;Jane\n"
    for number in range(4)
)


def read(path: Path) -> tuple[list[Candidate], dict[str, str]]:
    left_out: dict[str, str] = {}
    return list(candidates(path, ArchiveLimits(), left_out.__setitem__)), left_out


@pytest.mark.parametrize("folder", ["", "data set/"])
def test_a_table_says_what_folders_do_not(tmp_path: Path, folder: str) -> None:
    content = {f"{folder}{path}": data for path, data in IMAGES.items()}
    path = zip_of(tmp_path / "a.zip", {**content, f"{folder}labels.csv": ROWS.encode("utf-8-sig")})
    found, _ = read(path)
    assert [(one.label, one.split, one.group, one.metadata) for one in found] == [
        ("a", "train", "p0", {"View": "CC"}),
        ("b", "train", "p0", {"View": "CC"}),
        ("a", "test", "p1", {"View": "CC"}),
        ("b", "test", "p1", {"View": "CC"}),
    ]
    archive = look(path, ArchiveLimits())
    assert (archive.label_rule, archive.group_pattern) == ("The class is in the table labels.csv", None)


def test_a_parquet_table_is_read_too(tmp_path: Path) -> None:
    table = pa.table({"file": list(IMAGES), "class": ["a", "b", "a", "b"], "age": [50, 61, None, 70]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    found, _ = read(zip_of(tmp_path / "a.zip", {**IMAGES, "labels.parquet": buffer.getvalue()}))
    assert [(one.label, one.metadata) for one in found][1:3] == [("b", {"age": "61"}), ("a", {})]


def test_images_without_a_row_and_rows_without_an_image_are_reported(tmp_path: Path) -> None:
    table = b"path,label\nimages/0.png,a\nimages/9.png,b\n"
    found, left_out = read(zip_of(tmp_path / "a.zip", {**IMAGES, "labels.csv": table}))
    assert [one.path for one in found] == ["images/0.png"]
    assert "labels.csv" not in left_out
    assert left_out["images/3.png"] == "It has no row in labels.csv."
    assert left_out["images/9.png"] == "Its row in labels.csv names no image of the archive."


def test_columns_that_name_people_are_dropped_and_named() -> None:
    table = Table.read(ROWS.encode(), "labels.csv")
    assert (table.columns, table.dropped) == (("View",), ("Patient name",))


def test_a_second_name_of_the_patient_is_no_metadata() -> None:
    table = Table.read(b"path,label,group,patient_id,case\nx.png,a,g1,MRN123,C9\n", "labels.csv")
    assert (table.rows["x.png"].group, table.rows["x.png"].metadata) == ("g1", {})
    assert table.dropped == ("patient_id", "case")


def test_a_long_text_in_many_rows_is_held_once_and_cut() -> None:
    rows = 2_000
    note = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 1_000_000])
    buffer = io.BytesIO()
    pq.write_table(pa.table({"path": [f"{n}.png" for n in range(rows)], "label": ["a"] * rows, "note": note}), buffer)
    assert len(buffer.getvalue()) < 1_100_000
    table = Table.read(buffer.getvalue(), "labels.parquet")
    assert {len(row.metadata["note"]) for row in table.rows.values()} == {200}


def test_cells_are_data_whatever_a_spreadsheet_would_do_with_them() -> None:
    table = Table.read(b"path,label,note\nx.png,a,=HYPERLINK(1)\n", "labels.csv")
    assert table.rows["x.png"].metadata == {"note": "=HYPERLINK(1)"}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"", "no column 'path'"),
        (b"path,grade\nx.png,1\n", "no column 'label'"),
        (b"path,label\n", "no rows"),
        (b"path,label\nx.png,\n", "row 2: path and label must be filled"),
        (b"path,label\nx.png,a\nx.png,b\n", "row 3: 'x.png' has a row already"),
        (b"path,label,split\nx.png,a,holdout\n", "row 2: the split is 'holdout'"),
        (b"path,label\n\xff\xfe,a\n", "not UTF-8"),
        (b"path,label\n" + b"x" * 200_000 + b",a\n", "no CSV table"),
        (b",".join(b"c%d" % number for number in range(60)), "at most 50"),
    ],
)
def test_a_mistake_in_the_table_is_named(text: bytes, cause: str) -> None:
    with pytest.raises(BadArchive, match=cause):
        Table.read(text, "labels.csv")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_damaged_parquet_table_is_named(data: bytes) -> None:
    with pytest.raises(BadArchive, match="no Parquet table"):
        Table.read(data, "labels.parquet")
