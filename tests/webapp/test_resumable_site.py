"""A public tus client against a running site whose web processes are killed in the middle of a request."""

import contextlib
import hashlib
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import requests
from tusclient import client as tusclient

from tests.conftest import application
from tests.factories import make_token, make_user
from tests.sites import descendants_of, running_site, wait_until
from webapp.models import Upload, db
from webapp.resumable.service import PIECE_BYTES
from webapp.settings import Settings


def test_an_upload_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    data = os.urandom(2 * PIECE_BYTES + 12_345)
    with running_site(tmp_path) as site:
        site.wait_until_healthy()
        settings = Settings(data_dir=tmp_path / "var", redis_url="redis://127.0.0.1:1")
        with application(settings) as app, app.app_context():
            headers = {"Authorization": f"Bearer {make_token(make_user(), 'write')}"}
            tus = tusclient.TusClient(f"http://127.0.0.1:{site.port}/uploads", headers=headers)
            url = tus.uploader(file_stream=io.BytesIO(data), chunk_size=1024).create_url()
            first = site.programs()["gunicorn"]
            spoken = headers | {"Tus-Resumable": "1.0.0"}

            def pieces() -> Iterator[bytes]:
                yield data[: PIECE_BYTES + 2**20]
                wait_until(lambda: requests.head(url, headers=spoken, timeout=10).headers["Upload-Offset"] != "0")
                for pid in (first, *descendants_of(first)):
                    os.kill(pid, signal.SIGKILL)
                yield data[PIECE_BYTES + 2**20 :]

            sent = spoken | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
            with contextlib.suppress(requests.ConnectionError):
                requests.patch(url, data=pieces(), headers=sent, timeout=60)
            wait_until(lambda: site.programs().get("gunicorn", first) != first)
            site.wait_until_healthy()
            uploader = tus.uploader(file_stream=io.BytesIO(data), url=url, chunk_size=10 * 2**20)
            assert PIECE_BYTES <= uploader.offset < len(data)
            uploader.upload()

            upload, digest = db.session.query(Upload).one(), hashlib.sha256()
            for address in upload.part_sha256s:
                with app.extensions["store"].open(address) as part:
                    digest.update(part.read())
            assert upload.is_complete
            assert digest.digest() == hashlib.sha256(data).digest()
