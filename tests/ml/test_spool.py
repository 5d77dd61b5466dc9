"""The spool: rows on disk come back as they were."""

import warnings
from typing import NamedTuple

from ml.spool import Spool


class Line(NamedTuple):
    name: str
    size: int
    told: dict[str, str]


def test_rows_come_back_in_their_order_as_often_as_asked() -> None:
    rows = [Line("a\n\udce4.png", 1, {}), Line("b", 2**40, {"side": "left"})]  # a name that is no UTF-8, a line break
    spool = Spool(Line)
    for row in rows:
        spool.add(row)
    assert (list(spool), list(spool), len(spool)) == (rows, rows, 2)


def test_what_no_longer_fits_into_memory_lies_in_a_file_that_ends_with_the_spool() -> None:
    spool = Spool(Line)
    for number in range(2_000):
        spool.add(Line("x" * 1_000, number, {}))
    assert [line.size for line in spool] == list(range(2_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a file left open would be told of
        del spool
