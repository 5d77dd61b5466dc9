"""Requests -> values. Whatever a client sends becomes a model or a refusal that names the field."""

import base64
import binascii
import functools
import io
from collections.abc import Callable
from typing import Any, TypeVar, get_origin

from flask import current_app, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage

from webapp.api.sent import DatasetOptions, EncodedImages
from webapp.errors import Invalid, UnsupportedMedia, fields_of
from webapp.predictions.service import Upload

Body = TypeVar("Body", bound=BaseModel)
View = Callable[..., Any]
Decorator = Callable[[View], View]
RAW_TYPES = ("application/octet-stream", "application/dicom")


def body(model: type[Body]) -> Body:
    """The JSON body as `model`. Raises UnsupportedMedia, ValidationError."""
    if not request.is_json:
        raise UnsupportedMedia("Send the body as JSON with the header 'Content-Type: application/json'.")
    return model.model_validate_json(_data() or b"null", strict=True)


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
        return DatasetOptions.model_validate_json(request.form.get("options") or "{}", strict=True)
    except ValidationError as error:
        fields = {f"options.{name}".removesuffix(".body"): text for name, text in fields_of(error).items()}
        raise Invalid("; ".join(f"{name}: {text}" for name, text in fields.items()), fields) from error


def archive() -> FileStorage:
    """The multipart part `archive`. Raises Invalid."""
    found = request.files.get("archive")
    if found is None:
        raise Invalid("The request has no file part named 'archive'.", {"archive": "a multipart file is needed"})
    return found


def form(model: type[Body]) -> Body:
    """The fields of a form as `model`; empty ones are none. Raises ValidationError."""
    return model.model_validate({name: text for name, text in request.form.items() if text})


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


def takes(model: type[Body]) -> Decorator:
    """The view gets the JSON body as `model`, before what its address holds."""

    def mark(view: View) -> View:
        @functools.wraps(view)
        def checked(**address: Any) -> Any:
            return view(body(model), **address)

        checked.takes = model  # type: ignore[attr-defined]  # read, as the marks below, by `webapp.api.openapi`
        return checked

    return mark


def asks(model: type[Body]) -> Decorator:
    """The view gets the query parameters as `model`, before what its address holds."""

    def mark(view: View) -> View:
        @functools.wraps(view)
        def checked(**address: Any) -> Any:
            return view(_query(model), **address)

        checked.asks = model  # type: ignore[attr-defined]
        return checked

    return mark


def _query(model: type[Body]) -> Body:
    """Empty parameters are none. Raises ValidationError, Invalid for one that is given twice."""
    given: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        values = [text for text in request.args.getlist(name) if text]
        if get_origin(field.annotation) is list:
            given[name] = values
        elif len(values) > 1:
            raise Invalid(f"{name} is given {len(values)} times; give it once.", {name: "more than one value"})
        elif values:
            given[name] = values[0]
    return model.model_validate(given)


def may_take(content: dict[str, Any]) -> Decorator:
    """Notes by media type the schema of each body that the view reads itself."""
    return lambda view: _marked(view, content=content)


def may_fail(*statuses: int) -> Decorator:
    """Notes with which statuses the view may answer, beside those that follow from what it takes."""
    return lambda view: _marked(view, fails=statuses)


def _marked(view: View, **marks: Any) -> View:
    vars(view).update(marks)
    return view
