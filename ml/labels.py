"""The label table of an archive: `labels.csv` or `labels.parquet`, one row an image.

Columns are known by their names, in any case: path (or file, filename, image), label (or class, target, diagnosis), and
if present split and group (or patient, patient_id, case, subject). Further columns become metadata; those that name
people are dropped.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from ml.config import Split
from ml.errors import BadArchive
from ml.layout import SPLIT_NAMES, printable

NAMES = ("labels.csv", "labels.parquet")
MAX_MB = 64
MAX_ROWS = 200_000
MAX_COLUMNS = 50
MAX_CELL = 200

_PATH = ("path", "file", "filename", "file_name", "image", "image_path")
_LABEL = ("label", "class", "target", "diagnosis")
_SPLIT = ("split", "set", "partition")
_GROUP = ("group", "patient", "patient_id", "patientid", "case", "case_id", "subject", "subject_id")
# Columns whose name holds one of these words name people and are never kept.
_PERSONAL = ("name", "birth", "dob", "address", "phone", "mail", "mrn", "ssn", "insurance", "physician", "accession")


@dataclass(frozen=True)
class Row:
    """What the table says of one image."""

    label: str
    split: Split | None
    group: str | None
    metadata: dict[str, str]


@dataclass(frozen=True)
class Table:
    """The rows by path as written there, the folder in which the table lies, and its columns."""

    name: str
    folder: str
    rows: Mapping[str, Row]
    columns: tuple[str, ...]
    dropped: tuple[str, ...]
    has_groups: bool
    _used: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, data: bytes, path: str) -> Self:
        """The table in the file. Raises BadArchive, naming the row or column at fault."""
        folder, _, name = path.rpartition("/")
        cells = _parquet(data, name) if name.lower().endswith(".parquet") else _csv(data, name)
        header = [str(cell).strip() for cell in next(cells, [])]
        places = _Places.of(header, name)
        rows: dict[str, Row] = {}
        for number, record in enumerate(cells, start=2):
            if len(rows) == MAX_ROWS:
                raise BadArchive(f"{name} has more than {MAX_ROWS} rows. Split the data set up.")
            if any(record):
                key, row = places.row(record, f"{name}, row {number}")
                if rows.setdefault(key, row) is not row:
                    raise BadArchive(f"{name}, row {number}: '{key}' has a row already. Keep one row for each image.")
        if not rows:
            raise BadArchive(f"{name} has no rows. Write one row for each image, below the names of the columns.")
        return cls(name, folder, rows, tuple(places.metadata), tuple(places.dropped), places.group is not None)

    @property
    def path(self) -> str:
        """Where the table lies in the archive."""
        return f"{self.folder}/{self.name}" if self.folder else self.name

    def find(self, path: str) -> Row | None:
        """The row of an image; the table's paths count from its folder or from the root of the archive."""
        for key in (path.removeprefix(f"{self.folder}/") if self.folder else path, path):
            if key in self.rows:
                self._used.add(key)
                return self.rows[key]
        return None

    def unused(self) -> list[str]:
        """Paths whose image was never asked for."""
        return [path for path in self.rows if path not in self._used]


@dataclass(frozen=True)
class _Places:
    """Where each kind of column stands."""

    path: int
    label: int
    split: int | None
    group: int | None
    metadata: dict[str, int]
    dropped: list[str]

    @classmethod
    def of(cls, header: Sequence[str], name: str) -> Self:
        if len(header) > MAX_COLUMNS:
            raise BadArchive(f"{name} has {len(header)} columns; at most {MAX_COLUMNS} are accepted.")
        lower = [column.lower() for column in header]

        def place(names: Iterable[str]) -> int | None:
            return next((lower.index(known) for known in names if known in lower), None)

        path, label, split, group = (place(names) for names in (_PATH, _LABEL, _SPLIT, _GROUP))
        if path is None or label is None:
            missing = "path" if path is None else "label"
            found = ", ".join(header)[:300] or "none"
            raise BadArchive(
                f"{name} has no column '{missing}'. Its columns are: {found}. Rename one and upload again."
            )
        others = {printable(header[i])[:60]: i for i in range(len(header)) if i not in (path, label, split, group)}
        personal = [column for column in others if _is_personal(column.lower())]
        kept = {column: i for column, i in others.items() if column and column not in personal}
        return cls(path, label, split, group, kept, personal)

    def row(self, record: Sequence[Any], where: str) -> tuple[str, Row]:
        """Path and row. Raises BadArchive."""

        def cell(place: int | None) -> str:
            given = record[place] if place is not None and place < len(record) else None
            return "" if given is None else printable(str(given).strip())

        path, label, split = cell(self.path).replace("\\", "/").removeprefix("./"), cell(self.label), cell(self.split)
        if not path or not label or max(len(path) // 5, len(label)) > MAX_CELL:
            raise BadArchive(f"{where}: path and label must be filled, the label with at most {MAX_CELL} characters.")
        if split and split.lower() not in SPLIT_NAMES:
            raise BadArchive(
                f"{where}: the split is '{split[:40]}'; write train, validation or test, or leave it empty."
            )
        metadata = {column: cell(place)[:MAX_CELL] for column, place in self.metadata.items() if cell(place)}
        return path, Row(label, SPLIT_NAMES.get(split.lower()), cell(self.group)[:MAX_CELL] or None, metadata)


def _is_personal(column: str) -> bool:
    """Whether the column names people: also one that could have been the group, beside the one that is."""
    return column in _GROUP or any(word in column for word in _PERSONAL)


def _csv(data: bytes, name: str) -> Iterator[Sequence[Any]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadArchive(f"{name} is not UTF-8 text. Save it as CSV with UTF-8 and upload again.") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise BadArchive(f"{name} is no CSV table: {error}. Save it again and upload again.") from error


def _parquet(data: bytes, name: str) -> Iterator[Sequence[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(pa.BufferReader(data))
        texts = [
            field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        ]
        # As dictionaries, so that one long text in many rows is held once.
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        if size > MAX_MB * 2**20 or file.metadata.num_rows > MAX_ROWS or file.metadata.num_columns > MAX_COLUMNS:
            raise BadArchive(f"{name} is too large: at most {MAX_ROWS} rows, {MAX_COLUMNS} columns, {MAX_MB} MiB.")
        yield file.schema_arrow.names
        for batch in file.iter_batches(batch_size=100):
            yield from zip(*(_cells(column) for column in batch.columns), strict=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadArchive(f"{name} is no Parquet table or is damaged. Save it again and upload again.") from error


def _cells(column: Any) -> list[Any]:
    """The values of a column of a batch, texts cut to what a cell may have. Raises ValueError for nested columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_nested(column.type):
        raise ValueError("a nested column")
    if pa.types.is_dictionary(column.type):
        longest = 10 * MAX_CELL
        short = pc.utf8_slice_codeunits(column.dictionary.cast(pa.string()), 0, longest)
        return pa.DictionaryArray.from_arrays(column.indices, short).to_pylist()
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        raise ValueError("a column of bytes")
    return column.to_pylist()
