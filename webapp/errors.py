"""Exception -> status and shape: problem+json (RFC 9457) for clients, one page for people."""

import errno
import logging

from flask import Flask, Response, g, json, render_template, request
from flask_wtf.csrf import CSRFError
from gunicorn.http.errors import ParseException
from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from ml.errors import MlError
from webapp.models import db
from webapp.peer import Crowded, SlowClient
from webapp.problems import MEDIA_TYPE, problem, title
from webapp.storage import DamagedObject, MissingObject, StoreAway

log = logging.getLogger(__name__)
DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
CLIENT_PATHS = ("/api/", "/uploads", "/health", "/metrics")
PAGE_BESIDE_THEM = "/api/docs"


class AppError(Exception):
    """A refusal whose text is written for the one who asked."""

    status = 400
    retry_after_s: int | None = None


class Forbidden(AppError):
    status = 403


class NotFound(AppError):
    status = 404


class Conflict(AppError):
    """The state of the row forbids it."""

    status = 409


class TooLarge(AppError):
    status = 413


class UnsupportedMedia(AppError):
    status = 415


class Invalid(AppError):
    """Fields are at fault; `fields` maps each to what is wrong with it."""

    status = 422

    def __init__(self, detail: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.fields = fields or {}


class Unavailable(AppError):
    status = 503
    retry_after_s = 5


def init_app(app: Flask) -> None:
    app.register_error_handler(AppError, _app_error)
    app.register_error_handler(MlError, lambda error: respond(422, str(error)))
    app.register_error_handler(ValidationError, _validation_error)
    app.register_error_handler(
        CSRFError, lambda error: respond(400, f"{error.description} Reload the page and try again.")
    )
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(DataError, _not_storable)
    app.register_error_handler(IntegrityError, _in_conflict)
    app.register_error_handler(PoolTimeoutError, _too_busy)
    app.register_error_handler(MissingObject, _not_in_store)
    app.register_error_handler(DamagedObject, _not_in_store)
    app.register_error_handler(StoreAway, _store_is_away)
    app.register_error_handler(OSError, _disk_fault)
    app.register_error_handler(OperationalError, _part_is_down)
    app.register_error_handler(RedisError, _part_is_down)
    app.register_error_handler(ParseException, lambda error: respond(400, f"The body cannot be read. {error}."))
    app.register_error_handler(SlowClient, lambda error: respond(408, str(error)))
    app.register_error_handler(Crowded, lambda error: respond(503, str(error), retry_after_s=error.retry_after_s))
    app.register_error_handler(Exception, _unexpected)


def wants_json() -> bool:
    is_client_path = request.path.startswith(CLIENT_PATHS) and request.path != PAGE_BESIDE_THEM
    return is_client_path or request.path == "/predict" or "Authorization" in request.headers


def fields_of(error: ValidationError) -> dict[str, str]:
    """Each field at fault, by its dotted name, with pydantic's message."""
    return {
        ".".join(str(part) for part in item["loc"]) or "body": item["msg"].removeprefix("Value error, ")
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    }


def respond(
    status: int, detail: str, fields: dict[str, str] | None = None, retry_after_s: int | None = None
) -> Response:
    """The answer for an error, in the shape that the one who asked can read."""
    if wants_json():
        body = problem(status, detail, g.get("request_id"))
        if fields:
            body["errors"] = [{"field": name, "message": message} for name, message in fields.items()]
        response = Response(json.dumps(body), status, mimetype=MEDIA_TYPE)
    else:
        page = render_template("error.html", status=status, title=title(status), detail=detail, fields=fields or {})
        response = Response(page, status)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _app_error(error: AppError) -> Response:
    return respond(error.status, str(error), getattr(error, "fields", None), error.retry_after_s)


def _validation_error(error: ValidationError) -> Response:
    fields = fields_of(error)
    return respond(422, "; ".join(f"{name}: {message}" for name, message in fields.items()), fields)


def _http_error(error: HTTPException) -> Response:
    if error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]  # a redirect, already complete
    details = {404: "There is nothing at this address.", 413: _too_large()}
    detail = details.get(error.code) or error.description or ""
    response = respond(error.code, detail)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _too_large() -> str:
    limit, length = request.max_content_length or 0, request.content_length
    if length is None or length > limit:
        return f"The request is too large; this address takes at most {limit / 2**20:g} MiB."
    return "The form has too many fields, or a field that is too long."


def _in_conflict(error: IntegrityError) -> Response:
    """A rule of the database that no service had seen broken: somebody else was faster."""
    db.session.rollback()
    log.warning("in_conflict", exc_info=error)
    return respond(409, "Something that this depends on was changed at the same moment. Reload, then try again.")


def _too_busy(error: Exception) -> Response:
    log.error("connections_exhausted", exc_info=error)
    return respond(503, "All connections to the database are in use. Try again in a few seconds.", retry_after_s=5)


def _not_in_store(error: Exception) -> Response:
    log.error("object_not_readable", exc_info=error)
    detail = "A file that this needs is missing or damaged in the store. Restore it from a backup."
    return respond(503, detail, retry_after_s=60)


def _store_is_away(error: Exception) -> Response:
    db.session.rollback()
    log.error("store_is_away", exc_info=error)
    return respond(503, "The store of files does not answer. Try again in a few seconds.", retry_after_s=5)


def _disk_fault(error: OSError) -> Response:
    if error.errno not in DISK_FAULTS:
        return _unexpected(error)
    db.session.rollback()
    log.error("disk_fault", exc_info=error)
    return respond(503, "The disk of this site is full or out of order. Tell the administrator.", retry_after_s=60)


def _not_storable(error: DataError) -> Response:
    """PostgreSQL keeps no text with a zero byte, and no number beyond its column."""
    db.session.rollback()
    log.warning("not_storable", exc_info=error)
    return respond(422, "The request has a text or a number that cannot be stored. Leave control characters out.")


def _part_is_down(error: Exception) -> Response:
    db.session.rollback()
    log.error("part_is_down", exc_info=error, extra={"error_class": type(error).__name__})
    return respond(503, "The database or the queue does not answer. Try again in a few seconds.", retry_after_s=5)


def _unexpected(error: Exception) -> Response:
    db.session.rollback()
    log.exception("request_failed", exc_info=error)
    return respond(500, "An unexpected error was logged under this request's id. Tell the administrator the id.")
