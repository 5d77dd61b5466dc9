"""Which client of S3 is fastest for few large objects: obstore, boto3 or s3fs, against one SeaweedFS on this machine.

`python -m benchmarks.stores`: each client, in a process and a folder of its own, puts a pack of 268 MB and gets it
again into a file with its sha256, and does the same with 64 objects of 1 MB.
"""

import hashlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from tests import servers

CLIENTS = {"obstore": "obstore==0.12.1", "boto3": "boto3==1.44.8", "s3fs": "s3fs==2026.9.0"}
PART_BYTES = 16 << 20
LARGE_BYTES, SMALL_BYTES, SMALL_COUNT = 256 << 20, 1 << 20, 64
ROUNDS = 3
COLUMNS = ("put_mb_s", "get_mb_s", "64_puts_s", "64_gets_s", "import_s")
Put: TypeAlias = Callable[[str, Path], None]
Get: TypeAlias = Callable[[str, Path], None]


def main() -> None:
    figures = {}
    print(" " * 8, *(f"{name:>10}" for name in COLUMNS))
    with servers.seaweed() as server:
        for client, package in CLIENTS.items():
            figures[client] = _measured_apart(client, package, server.endpoint_url)
            print(f"{client:8}", *(f"{figures[client][name]:10.2f}" for name in COLUMNS))
    print(json.dumps(figures))


def _measured_apart(client: str, package: str, endpoint_url: str) -> dict[str, float]:
    """The figures of one client, installed into a folder of its own: boto3 and s3fs want different botocores."""
    with tempfile.TemporaryDirectory() as folder:
        install = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--target", folder, package]
        subprocess.run(install, check=True)
        environment = os.environ | {"PYTHONPATH": f"{os.getcwd()}{os.pathsep}{folder}"}
        command = [sys.executable, "-m", "benchmarks.stores", client, endpoint_url]
        found: dict[str, float] = json.loads(subprocess.check_output(command, env=environment))
        return found


def measure(client: str, endpoint_url: str) -> dict[str, float]:
    """The figures of one client; the median of the rounds for what is large."""
    started_s = time.perf_counter()
    put, get = {"obstore": _obstore, "boto3": _boto3, "s3fs": _s3fs}[client](endpoint_url)
    import_s = time.perf_counter() - started_s
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        source.write_bytes(bytes(SMALL_BYTES))
        put("warm", source)
        small_put_s = _seconds(lambda: [put(f"small-{n}", source) for n in range(SMALL_COUNT)])
        small_get_s = _seconds(lambda: [get(f"small-{n}", target) for n in range(SMALL_COUNT)])
        source.write_bytes(os.urandom(LARGE_BYTES))
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
        puts_s = [_seconds(lambda: put("large", source)) for _ in range(ROUNDS)]
        gets_s = [_seconds(lambda: get("large", target)) for _ in range(ROUNDS)]
        assert hashlib.sha256(target.read_bytes()).hexdigest() == sha256  # noqa: S101
    return {
        "put_mb_s": LARGE_BYTES / 1e6 / statistics.median(puts_s),
        "get_mb_s": LARGE_BYTES / 1e6 / statistics.median(gets_s),
        "64_puts_s": small_put_s,
        "64_gets_s": small_get_s,
        "import_s": import_s,
    }


def _seconds(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _obstore(endpoint_url: str) -> tuple[Put, Get]:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "obstore",
        endpoint=endpoint_url,
        region="us-east-1",
        access_key_id=servers.Seaweed.ACCESS_KEY_ID,
        secret_access_key=servers.Seaweed.SECRET_ACCESS_KEY,
        checksum_algorithm="SHA256",
        client_options={"allow_http": True},
    )

    def put(key: str, source: Path) -> None:
        obstore.put(store, key, source, chunk_size=PART_BYTES, max_concurrency=4)

    def get(key: str, target: Path) -> None:
        digest = hashlib.sha256()
        with target.open("wb") as file:
            for chunk in obstore.get(store, key).stream(1 << 20):
                digest.update(chunk)
                file.write(chunk)

    return put, get


def _boto3(endpoint_url: str) -> tuple[Put, Get]:
    boto3: Any = importlib.import_module("boto3")
    transfer: Any = importlib.import_module("boto3.s3.transfer")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=servers.Seaweed.ACCESS_KEY_ID,
        aws_secret_access_key=servers.Seaweed.SECRET_ACCESS_KEY,
    )
    config = transfer.TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)
    client.create_bucket(Bucket="boto3")

    def put(key: str, source: Path) -> None:
        client.upload_file(str(source), "boto3", key, Config=config, ExtraArgs={"ChecksumAlgorithm": "SHA256"})

    def get(key: str, target: Path) -> None:
        client.download_file("boto3", key, str(target), Config=config)
        _hashed(target)

    return put, get


def _s3fs(endpoint_url: str) -> tuple[Put, Get]:
    s3fs: Any = importlib.import_module("s3fs")
    files = s3fs.S3FileSystem(
        key=servers.Seaweed.ACCESS_KEY_ID,
        secret=servers.Seaweed.SECRET_ACCESS_KEY,
        endpoint_url=endpoint_url,
        client_kwargs={"region_name": "us-east-1"},
    )
    files.mkdir("s3fs")

    def put(key: str, source: Path) -> None:
        files.put_file(str(source), f"s3fs/{key}", chunksize=PART_BYTES, max_concurrency=4)

    def get(key: str, target: Path) -> None:
        files.get_file(f"s3fs/{key}", str(target))
        _hashed(target)

    return put, get


def _hashed(target: Path) -> None:
    with target.open("rb") as file:
        hashlib.file_digest(file, "sha256")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
    else:
        main()
