"""Tables for spreadsheets: whole, in pieces, and inert."""

import csv
import io

import pytest

from webapp import spreadsheet


def test_a_table_in_pieces_is_read_back_whole() -> None:
    rows = [(number, 'with "quotes", commas\nand lines', None) for number in range(2000)]
    pieces = list(spreadsheet.pieces(["n", "text", "nothing"], rows))
    assert len(pieces) > 2
    head, *found = csv.reader(io.StringIO("".join(pieces), newline=""))
    assert head == ["n", "text", "nothing"]
    assert found == [[str(number), text, ""] for number, text, _ in rows]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_what_would_run_as_a_formula_is_text(text: str) -> None:
    (_, cells) = csv.reader(io.StringIO("".join(spreadsheet.pieces(["a", "b"], [(text, -1)])), newline=""))
    assert cells == [f"'{text}", "-1"]


def test_no_text_begins_a_new_cell_where_semicolons_or_tabs_part_them() -> None:
    table = "".join(spreadsheet.pieces(["a"], [("x;=1+1",), ("x\t=1+1",)]))
    for sign in ";\t":
        assert all(len(row) == 1 for row in csv.reader(io.StringIO(table, newline=""), delimiter=sign))
