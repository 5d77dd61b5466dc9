"""Whatever is in an archive: a data set with reasons, or a refusal with a sentence, and nothing anywhere else."""

import re
from pathlib import Path

import pytest

from ml.errors import BadArchive, BadConfig
from ml.ingest import MANIFEST_NAME, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from tests.ml.hostile import CASES


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_archive_ends_well(tmp_path: Path, name: str) -> None:
    case, folder = CASES[name], tmp_path / "in" / "data set"
    folder.mkdir(parents=True)
    (tmp_path / "in" / "archive").write_bytes(case.make())
    before = sorted(tmp_path.parent.iterdir())
    try:
        done = ingest(tmp_path / "in" / "archive", folder, IngestOptions(), ArchiveLimits())
        end, said = "ready", [file.reason for file in (*done.report.rejected, *done.report.left_out)]
    except (BadArchive, BadConfig) as refusal:
        end, said = "rejected", [str(refusal)]
    assert case.end in (end, "any"), said
    assert not case.says or any(re.search(case.says, sentence) for sentence in said), said
    assert (folder / MANIFEST_NAME).exists() == (end == "ready")
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["archive", "data set"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]  # where "../../evil.png" leads
    assert sorted(tmp_path.parent.iterdir()) == before
