"""Resumable uploads by the tus protocol, version 1.0.0 (https://tus.io/protocols/resumable-upload).

With the extensions creation, creation-with-upload, checksum, expiration, termination.
"""

import base64
import binascii
from collections.abc import Callable
from email.utils import format_datetime

from flask import Blueprint, Response, current_app, request, url_for

from webapp.errors import AppError, Invalid, UnsupportedMedia
from webapp.models import Upload
from webapp.resumable import service
from webapp.security import actor, allow

bp = Blueprint("resumable", __name__, url_prefix="/uploads")
VERSION = "1.0.0"
PATCHED = "application/offset+octet-stream"


class OtherVersion(AppError):
    status = 412


@bp.after_request
def _speak_tus(response: Response) -> Response:
    response.headers["Tus-Resumable"] = response.headers["Tus-Version"] = VERSION
    return response


@bp.route("/", methods=["OPTIONS"], provide_automatic_options=False, strict_slashes=False)
@allow("researcher")
def capabilities() -> Response:
    response = Response(status=204)
    response.headers["Tus-Extension"] = "creation,creation-with-upload,checksum,expiration,termination"
    response.headers["Tus-Checksum-Algorithm"] = ",".join(service.ALGORITHMS)
    response.headers["Tus-Max-Size"] = str(current_app.extensions["settings"].max_upload_mb * 2**20)
    return response


@bp.post("/", strict_slashes=False)
@allow("researcher")
def create() -> Response:
    _check_version()
    if "Upload-Defer-Length" in request.headers:
        raise Invalid("The length must be known from the beginning. Send Upload-Length.")
    checksum = _checksum()
    upload = service.create(_whole_number("Upload-Length"), _metadata().get("filename", ""), actor().user)
    if request.mimetype == PATCHED:
        service.begin(upload, request.stream, checksum)  # type: ignore[arg-type]
    response = _told(upload, 201)
    response.headers["Location"] = url_for("resumable.offset", upload_id=upload.id, _external=True)
    return response


@bp.route("/<upload_id>", methods=["HEAD"])
@allow("researcher")
def offset(upload_id: str) -> Response:
    _check_version()
    upload = service.get(upload_id, actor().user)
    response = _told(upload, 200)
    response.headers["Upload-Length"] = str(upload.length)
    return response


@bp.patch("/<upload_id>")
@allow("researcher")
def append(upload_id: str) -> Response:
    _check_version()
    if request.mimetype != PATCHED:
        raise UnsupportedMedia(f"The content type is '{request.mimetype}'; send {PATCHED}.")
    upload = service.get(upload_id, actor().user)
    service.append(upload, _whole_number("Upload-Offset"), request.stream, _checksum())  # type: ignore[arg-type]
    return _told(upload, 204)


@bp.delete("/<upload_id>")
@allow("researcher")
def discard(upload_id: str) -> Response:
    _check_version()
    service.discard(service.get(upload_id, actor().user))
    return Response(status=204)


@bp.post("/<upload_id>")
@allow("researcher")
def overridden(upload_id: str) -> Response:
    """For clients behind a proxy that lets no other verb through."""
    meant = request.headers.get("X-HTTP-Method-Override", "")
    verbs: dict[str, Callable[[str], Response]] = {"PATCH": append, "DELETE": discard, "HEAD": offset}
    if meant not in verbs:
        raise Invalid(f"X-HTTP-Method-Override is '{meant[:20]}'; with POST it must be one of {', '.join(verbs)}.")
    return verbs[meant](upload_id)


def _told(upload: Upload, status: int) -> Response:
    response = Response(status=status)
    response.headers["Upload-Offset"] = str(upload.received)
    response.headers["Upload-Expires"] = format_datetime(upload.expires_at, usegmt=True)
    response.headers["Cache-Control"] = "no-store"
    return response


def _check_version() -> None:
    given = request.headers.get("Tus-Resumable", "")
    if given != VERSION:
        raise OtherVersion(f"Tus-Resumable is '{given[:20]}'; this server speaks {VERSION}.")


def _whole_number(header: str) -> int:
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Invalid(f"{header} is '{text[:30]}'; it must be a whole number of bytes.")
    return int(text)


def _metadata() -> dict[str, str]:
    """`Upload-Metadata`: keys and base64 values. Raises Invalid."""
    found = {}
    for pair in filter(None, (part.strip() for part in request.headers.get("Upload-Metadata", "").split(","))):
        key, _, value = pair.partition(" ")
        found[key] = _bytes_of(value, "Upload-Metadata").decode("utf-8", "replace")
    return found


def _checksum() -> tuple[str, bytes] | None:
    """Algorithm and digest that the client sent. Raises Invalid."""
    given = request.headers.get("Upload-Checksum")
    if given is None:
        return None
    algorithm, _, value = given.partition(" ")
    if algorithm not in service.ALGORITHMS:
        raise _UnknownAlgorithm(f"The algorithm is '{algorithm[:20]}'; known are {', '.join(service.ALGORITHMS)}.")
    return algorithm, _bytes_of(value, "Upload-Checksum")


class _UnknownAlgorithm(AppError):
    status = 400


def _bytes_of(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"{header} is not base64 text.") from error
