"""Configuration is read once, checked at the start, and safe where nothing is set."""

import multiprocessing
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from webapp.settings import SOCKET_PATH_LIMIT, Settings

KEY = "k" * 32


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("APP_PORT", "8123")
    monkeypatch.setenv("APP_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("APP_WEIGHTS_DIR", "")
    settings = Settings()
    assert (settings.port, settings.data_dir, settings.weights_dir) == (8123, tmp_path, None)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_PORT", "0"),
        ("APP_PORT", "65536"),
        ("APP_PORT", "http"),
        ("APP_ENV", "prod"),
        ("APP_DEVICE", "tpu"),
        ("APP_SERVING_DEVICE", "mps"),
        ("APP_WEB_CONCURRENCY", "0"),
        ("APP_MAX_UPLOAD_MB", "-1"),
        ("APP_LOG_LEVEL", "loud"),
        ("APP_SESSION_HOURS", "0"),
        ("APP_LOGIN_LIMIT", "often"),
        ("APP_LOGIN_LIMIT", "many per minute"),
        ("APP_STORAGE_URL", "s3://"),
        ("APP_STORAGE_URL", "file://relative/folder"),
        ("APP_STORAGE_URL", "/var/objects"),
        ("APP_REDIS_URL", "http://queue:6379"),
        ("APP_REDIS_URL", "queue:6379"),
        ("APP_MAX_PREDICT_MB", "0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.removeprefix("APP_").lower()):
        Settings()


def test_production_does_not_start_without_a_secret() -> None:
    with pytest.raises(ValidationError, match="APP_SECRET_KEY is not set"):
        Settings(env="production")
    assert Settings(env="production", secret_key=KEY).secret == KEY


def test_a_short_secret_is_refused_everywhere() -> None:
    with pytest.raises(ValidationError, match="has 31 characters; at least 32"):
        Settings(secret_key="k" * 31)


def test_a_key_without_its_secret_is_refused() -> None:
    with pytest.raises(ValidationError, match="both APP_S3_ACCESS_KEY_ID and"):
        Settings(s3_access_key_id="key")


def test_a_secret_is_not_shown() -> None:
    settings = Settings(secret_key=KEY, admin_password="hidden-word")
    assert KEY not in repr(settings)
    assert "hidden-word" not in repr(settings)


def test_a_setting_that_is_refused_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_REDIS_URL", "http://:hidden-word@queue")
    monkeypatch.setenv("APP_ADMIN_PASSWORD", "hidden-word")
    monkeypatch.setenv("APP_SECRET_KEY", "hidden-word")
    monkeypatch.setenv("APP_PORT", "http")
    with pytest.raises(ValidationError, match="redis://, rediss://, unix://") as refusal:
        Settings()
    assert "hidden-word" not in str(refusal.value)
    monkeypatch.delenv("APP_REDIS_URL")
    monkeypatch.delenv("APP_PORT")
    with pytest.raises(ValidationError, match="11 characters") as refusal:
        Settings()
    assert "hidden-word" not in str(refusal.value)


def test_the_embedded_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    secret = Settings(data_dir=tmp_path).secret
    assert len(secret) >= 32
    assert Settings(data_dir=tmp_path).secret == secret
    assert Settings(data_dir=tmp_path / "other").secret != secret
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["secret_key"]


def test_processes_that_start_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        secrets = pool.map(_secret, [tmp_path] * 16, chunksize=1)
    assert len(set(secrets)) == 1


def _secret(folder: Path) -> str:
    return Settings(data_dir=folder).secret


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("postgres://u:p@db/x", "postgresql+psycopg://u:p@db/x"),
        ("postgresql://u:p@db/x", "postgresql+psycopg://u:p@db/x"),
        ("postgresql+psycopg://u:p@db/x?sslmode=require", "postgresql+psycopg://u:p@db/x?sslmode=require"),
        ("sqlite:////var/x.db", "sqlite:////var/x.db"),
    ],
)
def test_a_database_url_names_the_driver_that_is_installed(written: str, used: str) -> None:
    assert Settings(database_url=written).database == used


def test_everything_embedded_lies_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.database == f"sqlite:///{tmp_path}/platform.db"
    assert settings.redis == f"unix://{tmp_path}/redis.sock"
    assert settings.storage == f"file://{tmp_path}/objects"
    assert settings.scratch == tmp_path / "cache"


def test_the_socket_of_a_deep_data_folder_lies_where_the_kernel_takes_it(tmp_path: Path) -> None:
    deep = Settings(data_dir=tmp_path / ("d" * 120))
    assert len(str(deep.redis_socket)) <= SOCKET_PATH_LIMIT
    assert deep.redis_socket == Settings(data_dir=tmp_path / ("d" * 120)).redis_socket
    assert deep.redis_socket != Settings(data_dir=tmp_path / ("e" * 120)).redis_socket


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("10.1.2.3", False),
        ("example.org", False),
    ],
)
def test_a_site_is_local_only_where_no_other_machine_reaches_it(host: str, is_local: bool) -> None:
    assert Settings(host=host).is_local is is_local
    assert not Settings(host=host, trusted_proxies=1).is_local


def test_relative_folders_do_not_depend_on_where_a_process_goes_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_dir=Path("var"), weights_dir=Path("weights"))
    assert (settings.data_dir, settings.weights_dir) == (tmp_path / "var", tmp_path / "weights")
