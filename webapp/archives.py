"""Archives that came in, whole or as a finished resumable upload: judged by their first bytes, then kept."""

from typing import BinaryIO

from flask import current_app

from webapp.errors import Conflict, Invalid, UnsupportedMedia
from webapp.models import Upload, User
from webapp.resumable import service as resumable
from webapp.storage import Store

MAGIC = {b"PK\x03\x04": 0, b"PK\x05\x06": 0, b"\x1f\x8b": 0, b"\xfd7zXZ\x00": 0, b"BZh": 0, b"ustar": 257}


def keep(stream: BinaryIO) -> list[str]:
    """The addresses of the archive's parts: one, since it came whole. Raises Invalid, UnsupportedMedia."""
    _refuse_other_formats(stream)
    return [_store().keep(stream)]


def finished(upload_id: str, user: User) -> Upload:
    """The person's upload, which is an archive and complete. Raises NotFound, Conflict, Invalid, UnsupportedMedia."""
    upload = resumable.get(upload_id, user)
    if not upload.is_complete:
        raise Conflict(f"The upload has {upload.received} of {upload.length} bytes. Send the rest first.")
    with _store().open(upload.part_sha256s[0]) as first:
        _refuse_other_formats(first)
    return upload


def _store() -> Store:
    found: Store = current_app.extensions["store"]
    return found


def _refuse_other_formats(stream: BinaryIO) -> None:
    """Judges by the first bytes: the name and the MIME type that a client sends say nothing."""
    head = stream.read(512)
    stream.seek(0)
    if not head:
        raise Invalid("The archive is empty (0 bytes). Choose the file again.", {"archive": "0 bytes"})
    if not any(head[offset:].startswith(magic) for magic, offset in MAGIC.items()):
        raise UnsupportedMedia(
            "This is no zip, tar, tar.gz, tar.xz or npz file. Pack the images into one of these and send it again."
        )
