"""Every kind of store behaves the same: a folder, and a bucket of a real server."""

import hashlib
import io
import selectors
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import obstore
import pytest

from tests import servers
from webapp.settings import Settings
from webapp.storage import CHUNK_BYTES, DamagedObject, MissingObject, Store, StoreAway, open_store, verify
from webapp.storage.bucket import PART_BYTES
from webapp.storage.folder import FolderStore
from webapp.storage.scratch import remove_abandoned, workspace

DATA = b"pixels" * 1000
ADDRESS = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind, with nothing in it."""
    return open_store(Settings(data_dir=tmp_path, **request.getfixturevalue(f"in_a_{request.param}")))


@pytest.fixture
def in_a_folder() -> dict[str, str]:
    return {}


@pytest.fixture
def in_a_bucket(bucket: dict[str, str]) -> dict[str, str]:
    return bucket


def folder_store(folder: Path) -> Store:
    return open_store(Settings(storage_url=f"file://{folder}"))


def forward(port: int, to: int) -> None:
    """Carries one connection from the port to another one, until either side ends it."""
    with (
        socket.create_server(("127.0.0.1", port)) as server,
        server.accept()[0] as near,
        socket.create_connection(("127.0.0.1", to)) as far,
        selectors.DefaultSelector() as both,
    ):
        both.register(near, selectors.EVENT_READ, far)
        both.register(far, selectors.EVENT_READ, near)
        while data := [(key.data, key.fileobj.recv(1 << 16)) for key, _ in both.select()]:
            if not all(part for _, part in data):
                return
            for other, part in data:
                other.sendall(part)


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


def test_keeping_again_makes_an_object_young_again(store: Store) -> None:
    """Else garbage collection could remove what a new row is about to name."""
    kept(store)
    time.sleep(2)
    old_s = next(store.addresses())[1]
    kept(store)
    assert next(store.addresses())[1] < old_s - 0.9  # a server may count in seconds


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


def test_a_part_of_a_large_object_is_read_as_from_a_file(store: Store) -> None:
    data = hashlib.shake_256(b"large").digest(PART_BYTES + CHUNK_BYTES)
    with store.open(kept(store, data)) as stream:
        assert stream.seek(-5, io.SEEK_END) == len(data) - 5
        assert stream.read() == data[-5:]
        stream.seek(1_000_000)
        assert stream.read(300_000) == data[1_000_000:1_300_000]
        assert (stream.read(7), stream.tell()) == (data[1_300_000:1_300_007], 1_300_007)
    with store.fetch(hashlib.sha256(data).hexdigest()) as path:
        assert path.read_bytes() == data


def test_a_large_stream_is_never_in_memory_as_a_whole(store: Store) -> None:
    tracemalloc.start()
    try:
        store.keep(Stream(48 * CHUNK_BYTES))
        assert tracemalloc.get_traced_memory()[1] < PART_BYTES + 4 * CHUNK_BYTES
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
    kept(folder_store(tmp_path / "with%20space"))
    with folder_store(tmp_path / "with%20space").open(ADDRESS) as stream:
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
        folder_store(tmp_path / "file").check()


def test_a_check_leaves_no_object(store: Store) -> None:
    store.check()
    assert list(store.addresses()) == []


@pytest.mark.parametrize("url", ["ftp://host/x", "/var/objects", "objects", "s3://", "s3:///prefix", "s3://A_b"])
def test_a_url_of_an_unknown_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        Settings(storage_url=url)


def test_a_machine_with_an_empty_disk_finds_what_another_one_kept(tmp_path: Path, bucket: dict[str, str]) -> None:
    kept(open_store(Settings(data_dir=tmp_path / "one", **bucket)))
    other = open_store(Settings(data_dir=tmp_path / "other", **bucket))
    with other.fetch(ADDRESS) as path:
        assert path.is_relative_to(tmp_path / "other")
        assert path.read_bytes() == DATA


def test_what_was_damaged_in_a_bucket_is_never_handed_out(tmp_path: Path, bucket: dict[str, str]) -> None:
    store = open_store(Settings(data_dir=tmp_path, **bucket))
    obstore.put(store._bucket, f"{ADDRESS[:2]}/{ADDRESS}", DATA[:-1] + b"!")  # type: ignore[attr-defined]
    with pytest.raises(DamagedObject, match=ADDRESS[:12]), store.fetch(ADDRESS):
        pass
    assert not list(tmp_path.rglob(f"*{ADDRESS}*"))


def test_a_copy_that_is_found_damaged_is_brought_anew(tmp_path: Path, bucket: dict[str, str]) -> None:
    store = open_store(Settings(data_dir=tmp_path, **bucket))
    kept(store)
    with store.fetch(ADDRESS) as path:
        path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(DamagedObject), store.fetch(ADDRESS) as path:
        verify(path, ADDRESS)
    with store.fetch(ADDRESS) as path:
        assert path.read_bytes() == DATA


@pytest.mark.parametrize("fault", [{"s3_endpoint_url": "http://127.0.0.1:9"}, {"s3_secret_access_key": "another"}])
def test_a_bucket_that_does_not_answer_or_refuses_is_away(
    tmp_path: Path, bucket: dict[str, str], fault: dict[str, str]
) -> None:
    store = open_store(Settings(data_dir=tmp_path, **bucket | fault), patience_s=0.3)
    for ask in (lambda: kept(store), lambda: store.open(ADDRESS), lambda: list(store.addresses()), store.check):
        with pytest.raises(StoreAway):
            ask()


def test_a_bucket_that_comes_back_within_patience_was_never_away(tmp_path: Path, bucket: dict[str, str]) -> None:
    (port,) = servers.free_ports(1)
    settings = Settings(data_dir=tmp_path, **bucket | {"s3_endpoint_url": f"http://127.0.0.1:{port}"})
    late = threading.Timer(1, forward, (port, urlsplit(bucket["s3_endpoint_url"]).port))
    late.start()
    assert kept(open_store(settings, patience_s=20)) == ADDRESS


def test_workspaces_and_drafts_of_dead_processes_are_removed_and_those_in_use_kept(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from webapp.storage.folder import FolderStore\n"
        "from webapp.storage.scratch import workspace\n"
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
