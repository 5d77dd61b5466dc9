"""Every kind of store behaves the same: the suite takes any."""

import hashlib
import io
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import pytest

from webapp.storage import (
    CHUNK_BYTES,
    DamagedObject,
    FolderStore,
    MissingObject,
    Store,
    open_store,
    remove_abandoned,
    verify,
    workspace,
)

DATA = b"pixels" * 1000
ADDRESS = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind, with nothing in it."""
    urls = {"folder": f"file://{tmp_path / 'objects'}"}
    return open_store(urls[request.param])


def kept(store: Store, data: bytes = DATA) -> str:
    return store.keep(io.BytesIO(data))


class Stream(io.RawIOBase, BinaryIO):  # type: ignore[misc]
    """So many zeros, made while they are read; breaks off at `fails_at`."""

    def __init__(self, size: int, fails_at: int | None = None) -> None:
        self.left, self.fails_at = size, fails_at

    def read(self, size: int = -1) -> bytes:
        if self.fails_at is not None and self.left <= self.fails_at:
            raise OSError("the client went away")
        size = min(self.left, size)
        self.left -= size
        return bytes(size)


def test_what_was_kept_is_found_under_its_sha256(store: Store) -> None:
    assert kept(store) == ADDRESS
    with store.open(ADDRESS) as stream:
        assert stream.read() == DATA
    with store.fetch(ADDRESS) as path:
        assert path.read_bytes() == DATA


def test_no_bytes_are_an_object_too(store: Store) -> None:
    with store.open(kept(store, b"")) as stream:
        assert stream.read() == b""


def test_the_same_bytes_twice_are_one_object(store: Store) -> None:
    assert kept(store) == kept(store)
    assert [address for address, _ in store.addresses()] == [ADDRESS]


def test_keeping_again_makes_an_object_young_again(store: Store, tmp_path: Path) -> None:
    """Else garbage collection could remove what a new row is about to name."""
    kept(store)
    for path in tmp_path.rglob(ADDRESS):
        os.utime(path, (0, 0))
    assert next(store.addresses())[1] > 1000
    kept(store)
    assert next(store.addresses())[1] < 1000


def test_what_was_deleted_is_gone_and_deleting_twice_is_harmless(store: Store) -> None:
    kept(store)
    store.delete(ADDRESS)
    store.delete(ADDRESS)
    assert list(store.addresses()) == []
    with pytest.raises(MissingObject):
        store.open(ADDRESS)


def test_a_missing_object_is_named(store: Store) -> None:
    with pytest.raises(MissingObject, match=ADDRESS):
        store.open(ADDRESS)
    with pytest.raises(MissingObject, match=ADDRESS), store.fetch(ADDRESS):
        pass


@pytest.mark.parametrize(
    "address", ["", "../../etc/passwd", "/etc/passwd", ADDRESS.upper(), ADDRESS[:63], f"{ADDRESS}\n"]
)
def test_what_is_no_address_reaches_no_file(store: Store, address: str) -> None:
    with pytest.raises(MissingObject, match="not the address"):
        store.open(address)
    with pytest.raises(MissingObject, match="not the address"):
        store.delete(address)


def test_a_stream_that_breaks_off_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="went away"):
        store.keep(Stream(5 * CHUNK_BYTES, fails_at=2 * CHUNK_BYTES))
    assert list(store.addresses()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_large_stream_is_never_in_memory_as_a_whole(store: Store) -> None:
    tracemalloc.start()
    try:
        store.keep(Stream(200 * CHUNK_BYTES))
        assert tracemalloc.get_traced_memory()[1] < 8 * CHUNK_BYTES
    finally:
        tracemalloc.stop()


def test_the_same_bytes_from_many_threads_at_once_are_one_whole_object(store: Store) -> None:
    data = bytes(range(256)) * 40_000
    threads = [threading.Thread(target=kept, args=(store, data)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (found,) = [address for address, _ in store.addresses()]
    with store.fetch(found) as path:
        verify(path, hashlib.sha256(data).hexdigest())


def test_a_reader_keeps_what_it_opened_though_it_is_deleted_meanwhile(store: Store) -> None:
    kept(store)
    with store.open(ADDRESS) as stream:
        store.delete(ADDRESS)
        assert stream.read() == DATA


def test_two_stores_at_one_place_see_the_same_objects(tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'with%20space'}"
    kept(open_store(url))
    with open_store(url).open(ADDRESS) as stream:
        assert stream.read() == DATA
    assert (tmp_path / "with space").is_dir()


def test_a_damaged_object_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(DamagedObject, match=ADDRESS[:12]):
        verify(path, ADDRESS)


def test_a_store_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        open_store(f"file://{tmp_path / 'file'}").check()
    open_store(f"file://{tmp_path / 'folder'}").check()
    assert list(open_store(f"file://{tmp_path / 'folder'}").addresses()) == []


@pytest.mark.parametrize("url", ["ftp://host/x", "/var/objects", "objects"])
def test_a_url_of_an_unknown_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="APP_STORAGE_URL"):
        open_store(url)


def test_workspaces_and_drafts_of_dead_processes_are_removed_and_those_in_use_kept(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from webapp.storage import FolderStore, workspace\n"
        "with workspace(Path(sys.argv[1])) as folder, FolderStore(Path(sys.argv[1]) / 'objects')._draft() as draft:\n"
        "    (folder / 'cache.npy').touch(); draft.touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(list(tmp_path.glob("work-*/cache.npy"))) == len(list(tmp_path.glob("objects/drafts/*"))) == 1
    with workspace(tmp_path) as mine:
        remove_abandoned(tmp_path)
        assert list(tmp_path.glob("work-*")) == [mine]
    FolderStore(tmp_path / "objects").remove_drafts(older_than_s=-1)
    assert list(tmp_path.glob("objects/drafts/*")) == []


def test_a_workspace_is_gone_afterwards_whatever_happened(tmp_path: Path) -> None:
    def work() -> None:
        with workspace(tmp_path) as folder:
            (folder / "deep" / "deeper").mkdir(parents=True)
            (folder / "absent").read_bytes()

    with pytest.raises(FileNotFoundError, match="absent"):
        work()
    assert list(tmp_path.iterdir()) == []
