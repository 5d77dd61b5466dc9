"""Copies on the local disk: brought once, kept while they are used, removed when they are too many."""

import errno
import os
import threading
import time
from pathlib import Path
from typing import IO

import pytest

from webapp.storage.contract import DamagedObject
from webapp.storage.copies import KEPT_S, Copies

LIMIT_BYTES = 25


def bring(sha256: str, file: IO[bytes]) -> None:
    file.write(sha256.encode() * 10)


def asked(copies: Copies, *names: str) -> None:
    for name in names:
        with copies.of(name, bring) as path:
            assert path.read_text() == name * 10
        time.sleep(0.01)  # the order of use is told by times


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_copy_that_was_asked_for_longest_ago_goes_first(tmp_path: Path) -> None:
    asked(Copies(tmp_path, LIMIT_BYTES), "a", "b", "a", "c")
    assert names(tmp_path) == {"a", "c"}


def test_a_copy_in_use_stays_though_others_need_its_room(tmp_path: Path) -> None:
    copies = Copies(tmp_path, LIMIT_BYTES)
    with copies.of("a", bring) as path, copies.of("b", bring):
        asked(Copies(tmp_path, LIMIT_BYTES), "c", "d")
        assert path.read_text() == "a" * 10
        assert names(tmp_path) == {"a", "b", "d"}
    asked(copies, "e")
    assert len(names(tmp_path)) == 2


def aged(path: Path, used_before_s: float) -> None:
    at = time.time() - used_before_s
    os.utime(path, (at, at))


def test_what_was_not_used_for_a_day_is_removed_by_whoever_sweeps_or_makes_a_new_one(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 1000)
    for sweep in (copies.remove_unused, lambda: asked(copies, "c")):
        asked(copies, "a", "b")
        aged(tmp_path / "a", KEPT_S + 60)
        aged(tmp_path / "b", KEPT_S - 60)
        sweep()
        assert names(tmp_path) - {"c"} == {"b"}


def test_what_is_in_use_for_days_stays_and_its_day_begins_when_the_use_ends(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 1000)
    with copies.of("a", bring) as path:
        aged(path, 3 * KEPT_S)
        copies.remove_unused()
        assert path.exists()
    copies.remove_unused()
    assert path.exists()


def test_where_no_copy_was_ever_made_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    Copies(tmp_path / "none", 1000).remove_unused()


def test_what_is_larger_than_the_limit_can_be_used_all_the_same(tmp_path: Path) -> None:
    asked(Copies(tmp_path, 5), "a", "b")
    assert names(tmp_path) == {"b"}


def test_a_disk_that_is_full_before_the_limit_is_reached_is_freed_of_what_nobody_uses(tmp_path: Path) -> None:
    copies, tried = Copies(tmp_path, 1000), []

    def on_a_full_disk(sha256: str, file: IO[bytes]) -> None:
        tried.append(sha256)
        if "b" in names(tmp_path):
            raise OSError(errno.ENOSPC, "No space left on device")
        bring(sha256, file)

    with copies.of("a", bring):
        asked(copies, "b")
        with copies.of("c", on_a_full_disk) as path:
            assert path.read_text() == "c" * 10
        assert names(tmp_path) == {"a", "c"}
    assert tried == ["c", "c"]


def test_what_finds_no_room_at_all_leaves_no_wreck(tmp_path: Path) -> None:
    def on_a_full_disk(sha256: str, file: IO[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"), Copies(tmp_path, 1000).of("a", on_a_full_disk):
        pass
    assert names(tmp_path) == set()


def test_what_many_ask_for_at_once_is_brought_once(tmp_path: Path) -> None:
    brought = []

    def slowly(sha256: str, file: IO[bytes]) -> None:
        brought.append(sha256)
        time.sleep(0.2)
        bring(sha256, file)

    def ask() -> None:
        with Copies(tmp_path, LIMIT_BYTES).of("a", slowly) as path:
            found.append(path.read_text())

    found: list[str] = []
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, brought) == (["a" * 10] * 8, ["a"])


def test_a_copy_that_could_not_be_brought_leaves_nothing(tmp_path: Path) -> None:
    def fail(sha256: str, file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("the network is away")

    with pytest.raises(OSError, match="network"), Copies(tmp_path, LIMIT_BYTES).of("a", fail):
        pass
    assert names(tmp_path) == set()


@pytest.mark.parametrize("has_another_made_it_anew", [False, True])
def test_a_copy_found_damaged_is_forgotten_and_a_good_one_in_its_place_is_not(
    tmp_path: Path, has_another_made_it_anew: bool
) -> None:
    copies = Copies(tmp_path, LIMIT_BYTES)

    def find_damaged() -> None:
        with copies.of("a", bring):
            if has_another_made_it_anew:
                copies.forget("a")
                asked(copies, "a")
            raise DamagedObject("a")

    with pytest.raises(DamagedObject):
        find_damaged()
    assert (tmp_path / "a").exists() == has_another_made_it_anew


def test_drafts_of_the_dead_count_and_go_first(tmp_path: Path) -> None:
    (tmp_path / "draft-of-the-dead").write_bytes(bytes(20))
    time.sleep(0.01)
    asked(Copies(tmp_path, LIMIT_BYTES), "a")
    assert names(tmp_path) == {"a"}
