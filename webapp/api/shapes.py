"""What answers have in common: pages, errors, statuses other than 200, and how the site tells of its health."""

from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

from flask import Response
from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema
from typing_extensions import TypedDict

from ml.config import Variant


class Dumped:
    """Marks a dictionary as the JSON of a model, or of another shape."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self.model)


Item = TypeVar("Item")
Accepted = tuple[Item, Literal[202]]
Nothing = tuple[Literal[""], Literal[204]]
File = Annotated[Response, "application/octet-stream"]
FileOfVersion = Annotated[Response, "application/octet-stream", "text/html"]  # the report is a page
Table = Annotated[Response, "text/csv"]
Measurements = Annotated[Response, "text/plain"]
Moment = Annotated[str, Field(description="ISO 8601, UTC", json_schema_extra={"format": "date-time"})]
Probability = Annotated[float, Field(ge=0, le=1)]


class Page(TypedDict, Generic[Item]):
    """Some rows, newest first; `next` is the cursor of the next page, null at the end."""

    items: list[Item]
    next: str | None


class FieldFault(TypedDict):
    field: str
    message: str


class Problem(TypedDict):
    """Why there is no answer (RFC 9457); `detail` is written for people, `request_id` is in the server's log."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None
    errors: NotRequired[list[FieldFault]]


class Checks(TypedDict):
    database: str
    redis: str
    storage: str
    model: str


class ServingModel(TypedDict):
    version: int
    variant: Variant
    name: str
    sha256: str
    device: str
    activated_at: Moment


class Health(TypedDict):
    """`ok` only where nothing is wrong; each check is 'ok' or says what is not."""

    status: Literal["ok", "degraded"]
    checks: Checks
    model: ServingModel | None


class Liveness(TypedDict):
    status: Literal["ok"]
