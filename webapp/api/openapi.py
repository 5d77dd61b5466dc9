"""The OpenAPI 3.1 document: the routes of the app, the models of their bodies, the shapes of their answers.

Nothing is written down twice: paths come from the URL map, rights from `@allow`, bodies from `@takes` and `@asks`,
answers from what a view says it returns, words from its docstring.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from flask import Flask, Response
from pydantic import TypeAdapter

from ml.code_version import code_version
from webapp.api.shapes import Problem
from webapp.models import MAX_ID
from webapp.security import PUBLIC, Rule

Json = dict[str, Any]
PATHS = re.compile(r"/api/v1/|/predict$|/health|/metrics$")  # where every route is described
SILENT = {"HEAD", "OPTIONS"}
VARIABLE = re.compile(r"<(?:(\w+):)?(\w+)>")
API_BLUEPRINT = re.compile(r"^api(_\w+)?\.")
REFERENCE = "#/components/schemas/{model}"
FAILURES = {
    400: "The request cannot be read",
    401: "No valid token",
    403: "The role or the token's scope does not reach",
    404: "There is no such thing",
    408: "The request came too slowly",
    409: "The state of the row forbids it",
    410: "It was there and has gone",
    413: "The body is too large",
    415: "The body is of another type",
    422: "Values cannot be used; `errors` names the fields",
    429: "Too many requests; wait as long as Retry-After says",
    503: "A part is down or everything is busy; try again after Retry-After",
}
ABOUT = """Train, evaluate, activate and ask versions of image classifiers.

Client systems send `Authorization: Bearer TOKEN`; a token is made on the page of an account. Errors are problem+json
(RFC 9457). Lists are `{items, next}` with `?limit=` and `?cursor=`. Times are ISO 8601 in UTC, probabilities lie in
[0, 1]. Large archives may be sent in pieces to `/uploads` by tus 1.0.0, and named by the id of the finished upload.
Research use only: not a medical device."""


@dataclass(frozen=True)
class Operation:
    """One verb on one path, and the view that answers."""

    path: str
    verb: str
    endpoint: str
    view: Callable[..., Any]

    @property
    def content(self) -> dict[str, Any]:
        """The shape of each body that it takes, by media type."""
        takes = getattr(self.view, "takes", None)
        return {"application/json": takes} if takes else getattr(self.view, "content", {})

    @property
    def asks(self) -> Any:
        return getattr(self.view, "asks", None)

    @property
    def answer(self) -> tuple[Any, tuple[int, ...]]:
        """What it returns, and with which statuses."""
        found = get_type_hints(self.view, include_extras=True)["return"]
        if get_origin(found) is not tuple:
            return found, (200,)
        shape, statuses = get_args(found)[:2]
        return shape, get_args(statuses)

    @property
    def media_types(self) -> tuple[str, ...]:
        """Those of the answer; none where it has no body."""
        shape, statuses = self.answer
        marks = get_args(shape)
        if marks and marks[0] is Response:
            return tuple(map(str, marks[1:]))
        return () if 204 in statuses else ("application/json",)

    @property
    def failures(self) -> list[int]:
        """The statuses of its errors, which follow from what it takes."""
        found = set(getattr(self.view, "fails", ())) | {429, 503}
        if self.endpoint not in PUBLIC:
            found |= {401, 403}
        if VARIABLE.search(self.path) or self.content or self.asks:
            found |= {404, 409}
        if self.verb != "get":
            found |= {400, 408, 409, 413}
        if self.content:
            found |= {415, 422}
        if self.asks:
            found |= {422}
        return sorted(found - set(self.answer[1]))


def operations(app: Flask) -> Iterator[Operation]:
    """All that the document describes, in the order of the routes."""
    for rule in app.url_map.iter_rules():
        if PATHS.match(rule.rule):
            for method in sorted((rule.methods or set()) - SILENT):
                yield Operation(rule.rule, method.lower(), rule.endpoint, app.view_functions[rule.endpoint])


def document(app: Flask) -> Json:
    """The whole document, made once for each app."""
    if "openapi" not in app.extensions:
        app.extensions["openapi"] = _document(list(operations(app)))
    found: Json = app.extensions["openapi"]
    return found


def _document(found: list[Operation]) -> Json:
    schemas, definitions = _schemas(found)
    paths: Json = {}
    for one in found:
        paths.setdefault(VARIABLE.sub(r"{\2}", one.path), {})[one.verb] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Breast imaging platform", "version": code_version().release or "0", "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "responses": {str(status): _failure(status, schemas) for status in FAILURES},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _schemas(found: list[Operation]) -> tuple[dict[str, Json], Json]:
    """The JSON Schema of each shape by its representation, and the definitions that they refer to."""
    shapes = [shape for one in found for shape in one.content.values()] + [Problem]
    shapes += [one.answer[0] for one in found if "application/json" in one.media_types]
    inputs = [
        (repr(shape), "validation", TypeAdapter(shape)) for shape in {repr(shape): shape for shape in shapes}.values()
    ]
    made, definitions = TypeAdapter.json_schemas(inputs, ref_template=REFERENCE)  # type: ignore[arg-type]
    return {key: schema for (key, _), schema in made.items()}, definitions.get("$defs", {})


def _operation(one: Operation, schemas: dict[str, Json]) -> Json:
    words = inspect.getdoc(one.view) or ""
    rule: Rule | None = getattr(one.view, "rule", None)
    right = f"Role {rule.role} or higher, scope {rule.scope} or wider." if rule else "Open to everybody."
    name = API_BLUEPRINT.sub("", one.endpoint).replace(".", "_")
    described = {
        "operationId": name,
        "summary": name.replace("_", " ").capitalize(),
        "description": f"{words}\n\n{right}".strip(),
        "tags": [one.path.removeprefix("/api/v1").split("/")[1]],
        "parameters": [*_variables(one.path), *_queries(one)],
        "responses": _responses(one, schemas),
    }
    if one.content:
        content = {media: {"schema": schemas[repr(shape)]} for media, shape in one.content.items()}
        described["requestBody"] = {"required": True, "content": content}
    if rule is None:
        described["security"] = []
    return described


def _variables(path: str) -> list[Json]:
    number = {"type": "integer", "minimum": 1, "maximum": MAX_ID}
    return [
        {"name": name, "in": "path", "required": True, "schema": number if kind == "int" else {"type": "string"}}
        for kind, name in VARIABLE.findall(path)
    ]


def _queries(one: Operation) -> list[Json]:
    if not one.asks:
        return []
    schema = one.asks.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": found.pop("description", ""),
            "schema": found,
        }
        for name, found in schema["properties"].items()
    ]


def _responses(one: Operation, schemas: dict[str, Json]) -> Json:
    shape, statuses = one.answer
    answer: Json = {"description": "Done"}
    if one.media_types:
        schema = schemas.get(repr(shape), {"type": "string", "format": "binary"})
        answer["content"] = {media_type: {"schema": schema} for media_type in one.media_types}
    failures = {str(status): {"$ref": f"#/components/responses/{status}"} for status in one.failures}
    return {str(status): answer for status in statuses} | failures


def _failure(status: int, schemas: dict[str, Json]) -> Json:
    found: Json = {
        "description": FAILURES[status],
        "content": {"application/problem+json": {"schema": schemas[repr(Problem)]}},
    }
    if status in (429, 503):
        found["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return found
