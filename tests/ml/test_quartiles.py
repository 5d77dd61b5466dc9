"""Numbers as ranges."""

import numpy as np
import pytest

from ml import quartiles


def test_each_range_holds_about_a_quarter_and_is_named_by_its_own_bounds() -> None:
    numbers = np.random.default_rng(0).normal(60, 10, 1000).round(1)
    found = quartiles.ranges([str(number) for number in numbers], "-")
    assert found
    for name in sorted(set(found)):
        inside_M = numbers[np.array(found) == name]
        assert name == f"{inside_M.min()}–{inside_M.max()}"
        assert 240 <= len(inside_M) <= 260


def test_equal_numbers_are_in_one_range() -> None:
    assert quartiles.ranges(["0"] * 90 + [str(n) for n in range(1, 11)], "-") == ["0"] * 90 + ["1–10"] * 10
    assert quartiles.ranges([str(n) for n in range(1, 11)] + ["99"] * 90, "-") == ["1–10"] * 10 + ["99"] * 90
    assert quartiles.ranges(["7", "7.0"], "-") == ["7.0", "7.0"]


def test_bounds_are_written_as_the_archive_writes_them() -> None:
    assert quartiles.ranges(["0012", "1e3", "-5", " 2.50 "], "-") == ["0012", "1e3", "-5", "2.50"]


@pytest.mark.parametrize("text", ["old", "45Y", "1_0", "inf", "4,5", "2026-01-01"])
def test_a_column_with_a_text_has_no_ranges(text: str) -> None:
    assert quartiles.ranges(["1", "2", text], "-") is None


def test_words_for_no_number_are_missing() -> None:
    assert quartiles.ranges(["1", "", "NaN", "N/A", "unknown", "-"], "none") == ["1", *["none"] * 5]
    assert quartiles.ranges(["", "na"], "none") == ["none", "none"]
