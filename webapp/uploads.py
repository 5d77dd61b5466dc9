"""How large a request may be, and where uploaded files wait: the system's temporary folder may be small, or memory."""

import functools
import tempfile
from typing import IO

from flask import Flask, Request, current_app, request

IN_MEMORY_BYTES = 1 << 20
USUAL_BYTES = 1 << 20  # the largest request to an address that is in neither of these lists
ARCHIVES = frozenset({"datasets.create", "api.create_dataset", "batches.create", "api_batches.create_batch_prediction"})
PIECES = frozenset({"resumable.create", "resumable.append"})
IMAGES = frozenset({"predictions.answer", "api.predict", "api.predict_short"})


class UploadRequest(Request):
    """Flask's request, but for where an uploaded file is kept while the request lasts."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        """Werkzeug's hook. Small files stay in memory; the file has no name and ends with the request."""
        folder = current_app.extensions["settings"].scratch
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, "rb+", dir=folder)  # noqa: SIM115  # ends in `close`
        self._received.append(file)
        return file

    @functools.cached_property
    def _received(self) -> list[IO[bytes]]:
        return []

    def close(self) -> None:
        """Also ends what came before a request broke off, which no form holds."""
        for file in self._received:
            file.close()
        super().close()


def init_app(app: Flask) -> None:
    """To be called before whatever reads a body in `before_request`."""
    app.request_class = UploadRequest
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = USUAL_BYTES
    app.before_request(_allow_more)


def _allow_more() -> None:
    settings = current_app.extensions["settings"]
    if request.endpoint in IMAGES:
        request.max_content_length = settings.max_predict_mb * 2**20
    elif request.endpoint in PIECES or (request.endpoint in ARCHIVES and request.mimetype == "multipart/form-data"):
        request.max_content_length = settings.max_upload_mb * 2**20
