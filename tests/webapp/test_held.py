"""What web processes say of the connections that they hold."""

import math
import multiprocessing

import pytest

from webapp import held


@pytest.fixture(autouse=True)
def nobody_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_counts", "_told_s"):
        part = getattr(held, name)
        monkeypatch.setattr(held, name, memoryview(bytearray(part.nbytes)).cast("d"))


def test_nobody_holds_fewest_where_nobody_told() -> None:
    assert held.fewest() == math.inf


def test_the_fewest_are_those_of_the_process_that_holds_fewest() -> None:
    for place, count in enumerate((3, 1, 2)):
        held.tell(place, count)
    assert held.fewest() == 1


def test_a_process_that_takes_no_more_does_not_count() -> None:
    held.tell(0, math.inf)
    held.tell(1, 7)
    assert held.fewest() == 7


def test_what_a_dead_process_told_is_soon_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    held.tell(0, 0)
    monkeypatch.setattr(held, "FRESH_S", 0.0)
    assert held.fewest() == math.inf


def test_more_processes_one_after_another_than_there_are_places_do_no_harm() -> None:
    held.tell(10 * held.PLACES + 1, 4)
    assert held.fewest() == 4


def test_processes_hear_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    before = held.fewest()
    assert before != -1
    process = multiprocessing.get_context("fork").Process(target=held.tell, args=(held.PLACES - 1, -1))
    process.start()
    process.join()
    assert held.fewest() == -1
    held.tell(held.PLACES - 1, math.inf)
