"""Requests -> values. Whatever a client sends becomes a model or a refusal that names the field."""

import base64
import binascii
import io
from typing import TypeVar

from flask import current_app, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage

from webapp.api.schemas import DatasetOptions, EncodedImages
from webapp.datasets.contents import Filter
from webapp.errors import Invalid, UnsupportedMedia, fields_of
from webapp.predictions.service import Upload

Body = TypeVar("Body", bound=BaseModel)
RAW_TYPES = ("application/octet-stream", "application/dicom")


def body(model: type[Body]) -> Body:
    """The JSON body as `model`. Raises UnsupportedMedia, ValidationError."""
    if not request.is_json:
        raise UnsupportedMedia("Send the body as JSON with the header 'Content-Type: application/json'.")
    return model.model_validate_json(_data() or b"null")


def _data() -> bytes:
    """The raw body: JSON, or a single image, which has a limit of its own."""
    if not request.is_json:
        image_bytes = current_app.extensions["settings"].max_image_mb * 2**20
        request.max_content_length = min(request.max_content_length or image_bytes, image_bytes)
    data = request.get_data(cache=False)
    if request.content_length is None:
        request.stream.read(1)  # a chunked body that reached the limit is refused here, not cut short
    return data


def dataset_options() -> DatasetOptions:
    """The form field `options`. Raises Invalid."""
    try:
        return DatasetOptions.model_validate_json(request.form.get("options") or "{}")
    except ValidationError as error:
        fields = {f"options.{name}".removesuffix(".body"): text for name, text in fields_of(error).items()}
        raise Invalid("; ".join(f"{name}: {text}" for name, text in fields.items()), fields) from error


def archive() -> FileStorage:
    """The multipart part `archive`. Raises Invalid."""
    found = request.files.get("archive")
    if found is None:
        raise Invalid("The request has no file part named 'archive'.", {"archive": "a multipart file is needed"})
    return found


def images() -> list[Upload]:
    """The images of a `/predict` request: raw body, multipart parts named `image`, or base64 in JSON."""
    if request.mimetype == "multipart/form-data":
        return [Upload(part.filename, part.stream) for part in request.files.getlist("image")]
    if request.is_json:
        return [_decoded(text) for text in body(EncodedImages).images]
    if request.mimetype.startswith("image/") or request.mimetype in RAW_TYPES:
        data = _data()
        return [Upload(None, io.BytesIO(data))] if data else []
    raise UnsupportedMedia(
        f"The content type is '{request.mimetype or 'none'}'; send image/*, application/dicom, "
        "application/octet-stream, multipart/form-data with parts named 'image', or application/json."
    )


def _decoded(text: str) -> Upload:
    """The image behind base64 text, with or without line breaks or a data URL around it."""
    text = "".join(text.partition(",")[2].split() if text.startswith("data:") else text.split())
    try:
        return Upload(None, io.BytesIO(base64.b64decode(text, validate=True)))
    except (binascii.Error, ValueError) as error:
        return Upload(None, io.BytesIO(), fault=f"The image is not base64 text: {error}.")


def page_arguments() -> tuple[int, str | None]:
    """`limit` and `cursor` of a list. Raises Invalid."""
    return whole_number("limit", 25), request.args.get("cursor")


def image_filter() -> Filter:
    """Which images the query wants. Raises Invalid."""
    return Filter(
        **{name: request.args.get(name) or None for name in ("label", "split", "group", "issue")},
        cluster=whole_number("cluster", 0) if "cluster" in request.args else None,
        quarantined=switch("quarantined"),
    )


def switch(name: str) -> bool | None:
    """The query parameter `name`, which is 0 or 1; None where it is not given. Raises Invalid."""
    text = request.args.get(name)
    if text not in (None, "0", "1"):
        raise Invalid(f"{name} must be 0 or 1.", {name: "0 or 1"})
    return None if text is None else text == "1"


def whole_number(name: str, default: int) -> int:
    """The query parameter `name`. Raises Invalid."""
    text = request.args.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Invalid(f"{name} is '{text[:20]}'; it must be a whole number.", {name: "a whole number"})
    return int(text)
