"""Configuration: one typed, frozen object, read once from `APP_*` environment variables."""

import os
import re
import secrets
import tempfile
from functools import cached_property
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from limits import parse_many
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
STORE_URL = re.compile(r"file:///|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/|$)")  # the rule of S3 for names of buckets
SOCKET_PATH_LIMIT = 100  # the kernel's limit for a unix socket's path is 104 (macOS) or 108 (Linux) bytes


class Settings(BaseSettings):
    """Every setting of the platform. A URL that is left empty means the embedded default under `data_dir`."""

    model_config = SettingsConfigDict(
        env_prefix="APP_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    env: Literal["development", "production"] = Field(
        "development", description="`production` refuses to start without a secret key and sends secure cookies"
    )
    host: str = Field("127.0.0.1", description="Address that the site listens on")
    port: int = Field(8000, ge=1, le=65535, description="Port that the site listens on")
    data_dir: Path = Field(Path("var"), description="Folder that holds everything the embedded defaults keep")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the data folder")
    redis_url: str = Field("", description="Redis or Valkey URL; empty: an embedded server on a unix socket")
    storage_url: str = Field(
        "", description="Object store: `file:///folder` or `s3://bucket/prefix`; empty: a folder in the data folder"
    )
    s3_endpoint_url: str = Field("", description="Address of the S3-compatible server; empty: that of Amazon")
    s3_region: str = Field("us-east-1", description="Region of the bucket; servers that have none ignore it")
    s3_access_key_id: str = Field("", description="Key of the bucket; empty: the role of the machine or of the pod")
    s3_secret_access_key: SecretStr = Field(SecretStr(""), description="The secret that belongs to the key")
    cache_dir: Path | None = Field(None, description="Scratch folder for fetched objects; empty: in the data folder")
    cache_mb: int = Field(
        20480, ge=1, description="Copies of objects of a bucket, and decoded images, that one machine keeps"
    )
    secret_key: SecretStr = Field(
        SecretStr(""), description="Signs sessions; at least 32 characters; empty: generated and kept (development)"
    )
    admin_password: SecretStr = Field(SecretStr(""), description="Password that `create-admin` takes instead of asking")
    web_concurrency: int = Field(2, ge=1, le=256, description="Web processes")
    web_threads: int = Field(16, ge=1, le=256, description="Threads of each web process")
    workers: int = Field(1, ge=0, le=256, description="Worker processes that `make run` starts")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Device of a worker")
    serving_device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device of `/predict`")
    weights_dir: Path | None = Field(None, description="Folder of pretrained weight files")
    datasets_dir: Path | None = Field(None, description="Folder of published data set files, used before the network")
    max_upload_mb: int = Field(4096, ge=1, description="Largest archive that may be uploaded")
    upload_quota_mb: int = Field(16384, ge=1, description="Unfinished uploads of one person, all together")
    upload_hours: float = Field(48, gt=0, description="Time until an upload that nobody goes on with is removed")
    max_predict_mb: int = Field(100, ge=1, description="Largest request to `/predict`")
    max_image_mb: int = Field(30, ge=1, description="Largest image that `/predict` takes")
    max_images_per_request: int = Field(32, ge=1, le=1024, description="Images in one `/predict` request")
    max_predicts_in_flight: int = Field(12, ge=1, description="Requests to `/predict` at once in one web process")
    batch_days: float = Field(30, gt=0, description="Time until the results of a batch prediction are deleted")
    session_hours: float = Field(12, gt=0, description="Time until a person must log in again")
    login_limit: str = Field("10 per minute", description="Attempts to log in, for each address and account")
    token_limit: str = Field("60000 per minute", description="Requests with one token")
    address_limit: str = Field("120000 per minute", description="Requests from one address")
    trusted_proxies: int = Field(0, ge=0, description="Reverse proxies in front whose `X-Forwarded-*` is believed")
    heartbeat_timeout_s: float = Field(30, gt=1, description="Silence after which a job's worker counts as lost")
    max_attempts: int = Field(
        3, ge=1, description="Workers that one job may lose in a row; each epoch begins a new count"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log line; `INFO` has one for each request"
    )

    @field_validator("data_dir", "cache_dir", "weights_dir", "datasets_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _with_driver(cls, url: str) -> str:
        """The URL with psycopg 3 as PostgreSQL's driver, whichever way the administrator wrote it."""
        for prefix in ("postgres://", "postgresql://"):
            if url.startswith(prefix):
                return "postgresql+psycopg://" + url.removeprefix(prefix)
        return url

    @field_validator("storage_url")
    @classmethod
    def _in_a_store(cls, url: str) -> str:
        if url and not STORE_URL.match(url):
            raise ValueError("Write file:///path/to/folder, with an absolute path, or s3://bucket/prefix.")
        return url

    @field_validator("s3_endpoint_url")
    @classmethod
    def _to_a_server(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("Write a URL that begins with https:// or http://.")
        return url

    @field_validator("redis_url")
    @classmethod
    def _to_a_queue(cls, url: str) -> str:
        if url and not url.startswith(REDIS_SCHEMES):
            raise ValueError(f"Write a URL that begins with one of {', '.join(REDIS_SCHEMES)}.")
        return url

    @field_validator("login_limit", "token_limit", "address_limit")
    @classmethod
    def _countable(cls, limit: str) -> str:
        try:
            parse_many(limit)
        except ValueError as error:
            raise ValueError("Write a number in a time, such as '10 per minute'.") from error
        return limit

    @model_validator(mode="after")
    def _key_has_its_secret(self) -> Self:
        if bool(self.s3_access_key_id) != bool(self.s3_secret_access_key.get_secret_value()):
            raise ValueError("Set both APP_S3_ACCESS_KEY_ID and APP_S3_SECRET_ACCESS_KEY, or neither.")
        return self

    @model_validator(mode="after")
    def _production_has_a_secret(self) -> Self:
        key = self.secret_key.get_secret_value()
        if self.env == "production" and not key:
            raise ValueError("APP_SECRET_KEY is not set. In production set it to at least 32 random characters.")
        if key and len(key) < 32:
            raise ValueError(f"APP_SECRET_KEY has {len(key)} characters; at least 32 are needed.")
        return self

    @property
    def is_production(self) -> bool:
        return self.env == "production"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the site: a proxy beside it brings strangers to a local address."""
        if self.trusted_proxies:
            return False
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'platform.db'}"

    @property
    def redis(self) -> str:
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def redis_socket(self) -> Path:
        """Path of the embedded server's socket, short enough for the kernel."""
        path = self.data_dir / "redis.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
            return path
        name = sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"platform-{os.getuid()}-{name}" / "redis.sock"

    @property
    def storage(self) -> str:
        return self.storage_url or f"file://{self.data_dir / 'objects'}"

    @property
    def scratch(self) -> Path:
        return self.cache_dir or self.data_dir / "cache"

    @cached_property
    def secret(self) -> str:
        """The secret that signs sessions; the embedded default is made once and kept, readable by its owner."""
        return self.secret_key.get_secret_value() or _kept_secret(self.data_dir / "secret_key")


def _kept_secret(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    try:
        os.link(draft, path)  # the first process wins, whole file or none
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text()
