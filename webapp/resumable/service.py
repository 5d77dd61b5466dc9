"""Archives that come in piece by piece. Each piece is an object of the store at once: a kill loses one at the most."""

import datetime
import hashlib
import io
from typing import BinaryIO

from flask import current_app
from sqlalchemy import delete, func, select, update

from webapp import objects
from webapp.errors import AppError, Conflict, Invalid, NotFound, TooLarge
from webapp.models import Upload, User, db, now
from webapp.peer import Crowded, SlowClient
from webapp.storage import Store

PIECE_BYTES = 16 * 2**20
MAX_PIECES = 4_096
ALGORITHMS = ("sha1", "sha256")


class ChecksumMismatch(AppError):
    """The bytes are not those that the client meant; none of them is kept."""

    status = 460


class Gone(AppError):
    status = 410


def create(length: int, filename: str, user: User) -> Upload:
    """A new upload of so many bytes. Raises Invalid, TooLarge."""
    settings = current_app.extensions["settings"]
    limit, quota = settings.max_upload_mb * 2**20, settings.upload_quota_mb * 2**20
    if length < 1:
        raise Invalid("Upload-Length is missing or 0. Send the size of the archive in bytes.")
    if length > limit:
        raise TooLarge(
            f"The archive has {length} bytes; at most {limit} are accepted (APP_MAX_UPLOAD_MB). Split it up."
        )
    alive = (Upload.user_id == user.id, Upload.expires_at > now())
    others = db.session.scalar(select(func.coalesce(func.sum(Upload.length), 0)).where(*alive)) or 0
    if others + length > quota:
        raise TooLarge(
            f"Your unfinished uploads have {others} bytes; with this one they pass {quota} (APP_UPLOAD_QUOTA_MB). "
            "Finish or discard one first."
        )
    upload = Upload(user_id=user.id, length=length, filename=filename[:200], expires_at=_expiry())
    db.session.add(upload)
    db.session.commit()
    return upload


def get(upload_id: str, user: User) -> Upload:
    """The upload of that person. Raises NotFound, Gone."""
    upload = db.session.get(Upload, upload_id)
    if upload is None or upload.user_id != user.id:
        raise _unknown()
    if upload.expires_at <= now():
        raise Gone("The upload has expired. Begin a new one.")
    return upload


def begin(upload: Upload, stream: BinaryIO, checksum: tuple[str, bytes] | None) -> None:
    """Takes in what came with the creation. What is refused leaves no upload: its address was never told."""
    try:
        append(upload, 0, stream, checksum)
    except AppError:
        discard(upload)
        raise


def append(upload: Upload, offset: int, stream: BinaryIO, checksum: tuple[str, bytes] | None = None) -> None:
    """Takes the bytes of the stream in, piece by piece, each kept and counted before the next is read.

    A stream that breaks off leaves what has come. With a checksum all bytes wait for it, in the store, uncounted.
    Raises Conflict where the offset is not the one reached, TooLarge, ChecksumMismatch, NotFound where the upload was
    discarded meanwhile.
    """
    store: Store = current_app.extensions["store"]
    digest = hashlib.new(checksum[0]) if checksum else None
    pieces: list[tuple[str, int]] = []
    _check(upload.received == offset, upload)
    while piece := _read(stream, upload.length - offset - sum(size for _, size in pieces)):
        if digest:
            digest.update(piece)
        pieces.append((store.keep(io.BytesIO(piece)), len(piece)))
        if digest is None:
            offset = _count(upload, offset, pieces)
            pieces = []
    if digest and checksum and digest.digest() != checksum[1]:
        raise ChecksumMismatch("The checksum does not fit the bytes that came. Send them again.")
    if pieces:
        _count(upload, offset, pieces)


def _read(stream: BinaryIO, room: int) -> bytes:
    """The next piece; shorter where the stream ends or breaks off. Raises TooLarge where more comes than announced."""
    parts: list[bytes] = []
    missing = PIECE_BYTES
    try:
        while missing and (part := stream.read(min(missing, 2**16))):
            parts.append(part)
            missing -= len(part)
    except Crowded:
        if not parts:
            raise
    except (OSError, SlowClient):
        pass  # the client went away, or may as well: what has come stays, and the next request goes on from there
    piece = b"".join(parts)
    if len(piece) > room:
        raise TooLarge("More bytes came than Upload-Length says. Begin a new upload with the right length.")
    return piece


def _count(upload: Upload, offset: int, pieces: list[tuple[str, int]]) -> int:
    """The offset after these pieces, which the row holds from now on. Raises Conflict, TooLarge, NotFound."""
    if len(upload.part_sha256s) + len(pieces) > MAX_PIECES:
        raise TooLarge(f"The upload has {MAX_PIECES} pieces. Begin a new one and send larger pieces.")
    reached = offset + sum(size for _, size in pieces)
    upload_id = upload.id
    mine = update(Upload).where(Upload.id == upload_id, Upload.received == offset)
    values = {"received": reached, "part_sha256s": upload.part_sha256s + [address for address, _ in pieces]}
    done = db.session.execute(mine.values(**values, expires_at=_expiry()).execution_options(synchronize_session=False))
    db.session.commit()
    if db.session.get(Upload, upload_id, populate_existing=True) is None:
        _forget({address for address, _ in pieces})
        raise _unknown()
    _check(done.rowcount == 1, upload)  # type: ignore[attr-defined]
    return reached


def _check(is_in_turn: bool, upload: Upload) -> None:
    if not is_in_turn:
        raise Conflict(f"The upload stands at byte {upload.received}. Ask for the offset and go on from there.")


def _unknown() -> NotFound:
    return NotFound("There is no such upload. Begin a new one.")


def discard(upload: Upload) -> None:
    """Forgets the upload and its bytes."""
    addresses = set(upload.part_sha256s)
    if _remove(upload):
        db.session.commit()
        _forget(addresses)
    else:
        db.session.rollback()


def hand_over(upload: Upload) -> list[str]:
    """The addresses of the pieces, which the caller's transaction takes over. Raises NotFound where another one did."""
    addresses = list(upload.part_sha256s)
    if not _remove(upload):
        db.session.rollback()
        raise _unknown()
    return addresses


def _remove(upload: Upload) -> bool:
    """Whether this call removed the row: of two callers one wins. Does not commit."""
    mine = delete(Upload).where(Upload.id == upload.id).execution_options(synchronize_session=False)
    is_removed: bool = db.session.execute(mine).rowcount == 1  # type: ignore[attr-defined]
    db.session.expunge(upload)
    return is_removed


def _forget(addresses: set[str]) -> None:
    """Deletes what no row names. While an upload comes in, which may be about to name it, the janitor will."""
    coming = select(Upload.id).where(Upload.received < Upload.length, Upload.expires_at > now())
    if db.session.scalar(coming.limit(1)) is None:
        for address in addresses - objects.in_use():
            current_app.extensions["store"].delete(address)


def remove_expired() -> None:
    """Forgets what nobody went on with."""
    for upload in db.session.scalars(select(Upload).where(Upload.expires_at < now())).all():
        discard(upload)


def _expiry() -> datetime.datetime:
    return now() + datetime.timedelta(hours=current_app.extensions["settings"].upload_hours)
