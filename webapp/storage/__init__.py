"""Objects addressed by the sha256 of their bytes, never modified: archives, packs, checkpoints, artifacts.

The shape is that of an object store, whether a folder (`folder.py`) or a bucket (`bucket.py`) holds them. Nothing may
assume that two processes see one folder, nor that a path from `fetch` outlives the `with` block that asked for it.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from webapp.settings import Settings
from webapp.storage.contract import CHUNK_BYTES, DamagedObject, MissingObject, Store, StoreAway, verify

__all__ = ["CHUNK_BYTES", "DamagedObject", "MissingObject", "Store", "StoreAway", "open_store", "verify"]
PATIENCE_S = 5.0  # a person, or a client system, waits meanwhile


def open_store(settings: Settings, patience_s: float = PATIENCE_S) -> Store:
    """The store of `APP_STORAGE_URL`. For `patience_s` a bucket that does not answer is asked again."""
    parts = urlsplit(settings.storage)
    if parts.scheme == "file":
        from webapp.storage.folder import FolderStore

        return FolderStore(Path(unquote(parts.path)))
    from webapp.storage.bucket import BucketStore

    return BucketStore(settings, patience_s)
