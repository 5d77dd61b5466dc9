"""A column of texts: what a list of them would say, in less memory."""

import sys

import pytest

from ml.texts import Texts


def test_it_reads_like_a_list() -> None:
    given = ["a/1.png", "", "é\udce4\n", "b"]
    texts = Texts(given)
    assert (list(texts), len(texts), texts[2], texts[-1], texts[1:3]) == (given, 4, given[2], "b", given[1:3])
    assert "b" in texts
    with pytest.raises(IndexError):
        texts[4]


def test_it_takes_less_than_half_of_the_memory() -> None:
    given = [f"train/class{number % 10}/{number:06d}.jpg" for number in range(10_000)]
    as_objects = sys.getsizeof(given) + sum(map(sys.getsizeof, given))
    texts = Texts(given)
    assert sys.getsizeof(texts._bytes) + sys.getsizeof(texts._ends) < 0.45 * as_objects
