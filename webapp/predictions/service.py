"""Answers of the active model, and the rows that remember them."""

import hashlib
import os
import time
from dataclasses import dataclass
from typing import IO

from flask import current_app, g

from ml.errors import BadImage, DeviceFault, NoExplanation
from ml.incoming import KINDS
from ml.serving import Answer
from webapp.errors import Conflict, Invalid, TooLarge, Unavailable
from webapp.models import now
from webapp.predictions import renewal
from webapp.predictions.active import Loaded, active_model
from webapp.predictions.journal import Values, journal
from webapp.predictions.rounds import rounds
from webapp.security import Actor

DISTANCES = tuple(f"{kind}_distance" for kind in KINDS)


@dataclass(frozen=True)
class Upload:
    """One image as a client sent it; the file name is given back in the answer and kept nowhere."""

    filename: str | None
    stream: IO[bytes]
    fault: str | None = None  # why there are no bytes

    def read(self, max_mb: int) -> bytes:
        """The bytes, read only where they are not too many. Raises BadImage."""
        if self.fault:
            raise BadImage(self.fault)
        size_mb = self.stream.seek(0, os.SEEK_END) / 2**20
        if size_mb > max_mb:
            raise BadImage(f"The image has {size_mb:.1f} MiB; at most {max_mb} MiB are allowed.")
        self.stream.seek(0)
        return self.stream.read()


@dataclass(frozen=True)
class Answered:
    """What became of one image: an answer, with a map where one was asked for, or the reason why there is none.

    The row remembers the answer.
    """

    filename: str | None
    answer: Answer | None = None
    row: Values | None = None
    error: str | None = None
    heatmap_png: bytes | None = None


def model() -> Loaded:
    """The model that serves now. Raises Unavailable where none does."""
    loaded = active_model().current()
    if loaded is None:
        raise Unavailable(active_model().fault or "No model version is active. Activate one on the page of a version.")
    return loaded


def predict(uploads: list[Upload], actor: Actor, explains: bool = False) -> tuple[Loaded, list[Answered]]:
    """The model that answered and an answer for each image. Raises Unavailable, Invalid, TooLarge, Conflict.

    A bad image among several becomes an error in its own place; a bad image alone raises BadImage. With `explains`
    each answer has a map of where the model looked; Conflict where it cannot say.
    """
    settings = current_app.extensions["settings"]
    if not uploads:
        raise Invalid("The request has no image. Send it as the raw body, as multipart parts named 'image' or as JSON.")
    if len(uploads) > settings.max_images_per_request:
        raise TooLarge(f"The request has {len(uploads)} images; at most {settings.max_images_per_request} are allowed.")
    loaded = model()
    try:
        answered = [_answer(loaded, upload, actor, settings.max_image_mb, explains) for upload in uploads]
    except NoExplanation as error:
        raise Conflict(str(error)) from error
    except DeviceFault as error:
        renewal.end_where_lost(loaded.predictor)
        raise Unavailable(str(error)) from error
    journal().add([one.row | {"place": place} for place, one in enumerate(answered) if one.row])
    if len(answered) == 1 and answered[0].error:
        raise BadImage(answered[0].error)
    return loaded, answered


def _answer(loaded: Loaded, upload: Upload, actor: Actor, max_mb: int, explains: bool) -> Answered:
    started_s, heatmap_png = time.perf_counter(), None
    took_s: dict[str, float] = {}
    try:
        data = upload.read(max_mb)
        if explains:
            answer, heatmap_png, took_s = rounds().explain(loaded.predictor, data)
        else:
            answer, took_s = rounds().answer(loaded.predictor, data)
    except BadImage as error:
        journal().tally.add({}, undecoded=1)
        return Answered(upload.filename, error=str(error))
    whole_s = time.perf_counter() - started_s
    journal().tally.add({**took_s, "whole": whole_s})
    row: Values = {
        "version_id": loaded.version,
        "variant": loaded.variant,
        "user_id": actor.user_id,
        "token_id": actor.token_id,
        "request_id": g.request_id,
        "image_sha256": hashlib.sha256(data).hexdigest(),
        "label": answer.label,
        "probability": answer.probability,
        "probabilities": answer.probabilities,
        "is_abstained": answer.abstained,
        **dict(zip(DISTANCES, answer.distances or (None, None), strict=True)),
        "latency_ms": 1000 * whole_s,
        "created_at": now(),
    }
    return Answered(upload.filename, answer, row, heatmap_png=heatmap_png)
