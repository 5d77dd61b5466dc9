"""The answers that were given: which there are, page by page or as a table for a spreadsheet."""

import datetime
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from sqlalchemy import and_, func, select
from sqlalchemy.orm import joinedload

from ml.config import Frozen
from webapp.models import MAX_ID, ApiToken, Feedback, Prediction, User, db
from webapp.pagination import Page, page_of

AT_ONCE = 1000  # rows that an export holds in memory
SETTLED_S = 60.0  # longer than a transaction lasts that writes answers
COLUMNS: dict[str, Any] = {
    "at": Prediction.created_at,
    "request_id": Prediction.request_id,
    "image": Prediction.place,
    "version": Prediction.version_id,
    "variant": Prediction.variant,
    "label": Prediction.label,
    "abstained": Prediction.is_abstained,
    "probability": Prediction.probability,
    "truth": Feedback.truth,
    "image_sha256": Prediction.image_sha256,
    "account": User.email,
    "token": ApiToken.name,
    "latency_ms": Prediction.latency_ms,
}


def _utc(moment: datetime.datetime) -> datetime.datetime:
    """The moment in UTC, which it is taken for where it names no time zone."""
    if not 2000 <= moment.year <= 2100:
        raise ValueError("it must lie between the years 2000 and 2100")
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)


Moment = Annotated[datetime.datetime, AfterValidator(_utc)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Text = Annotated[str, Field(max_length=200)]


class Filter(Frozen):
    """Which answers are wanted: those for which all that is given holds. A `decision` is a label without abstention."""

    version: Id | None = None
    label: Text | None = None
    decision: Text | None = None
    domain: Literal["inside", "outside"] | None = None
    truth: Literal["given", "missing", "right", "wrong"] | None = None
    token: Id | None = None
    user: Id | None = None
    request_id: Text | None = None
    since: Moment | None = None
    until: Moment | None = None  # not itself

    def conditions(self) -> list[Any]:
        tests = {
            "version": Prediction.version_id == self.version,
            "label": Prediction.label == self.label,
            "decision": and_(Prediction.label == self.decision, Prediction.is_abstained.is_(False)),
            "domain": Prediction.label.is_(None) if self.domain == "outside" else Prediction.label.is_not(None),
            "truth": _truth(self.truth),
            "token": Prediction.token_id == self.token,
            "user": Prediction.user_id == self.user,
            "request_id": Prediction.request_id == self.request_id,
            "since": self.since and Prediction.created_at >= self.since,
            "until": self.until and Prediction.created_at < self.until,
        }
        return [test for name, test in tests.items() if getattr(self, name) is not None]


def wanted(query: Mapping[str, str]) -> Filter:
    """The filter in an address; what is empty is not asked for. Raises ValidationError."""
    return Filter.model_validate({name: query[name] for name in Filter.model_fields if query.get(name)})


def _truth(state: str | None) -> Any:
    told = Prediction.feedback.has
    return {
        "given": told(),
        "missing": ~told(),
        "right": and_(told(Feedback.truth == Prediction.label), Prediction.is_abstained.is_(False)),
        "wrong": and_(told(Feedback.truth != Prediction.label), Prediction.is_abstained.is_(False)),
    }.get(state or "given")


def page(wanted: Filter, limit: int, cursor: str | int | None) -> Page[Prediction]:
    """The newest answers from the cursor on, with all that a list shows of them. Raises Invalid."""
    shown = (joinedload(Prediction.user), joinedload(Prediction.token), joinedload(Prediction.feedback))
    statement = select(Prediction).where(*wanted.conditions()).options(*shown)
    return page_of(statement, Prediction, limit, cursor, by=Prediction.created_at)


def rows(wanted: Filter) -> Iterator[Sequence[Any]]:
    """One row of `COLUMNS` for each answer, newest first, read as they are asked for."""
    statement = (
        select(*COLUMNS.values())
        .join(Prediction.user)
        .outerjoin(Prediction.token)
        .outerjoin(Prediction.feedback)
        .where(*wanted.conditions())
        .order_by(Prediction.created_at.desc(), Prediction.id.desc())
    )
    yield from db.session.execute(statement.execution_options(yield_per=AT_ONCE))


@dataclass(frozen=True)
class Counted:
    """How many answers each version gave up to and with the row `upto`; `newest` was the last row at `seen_s`."""

    by_version: Counter[int] = field(default_factory=Counter)
    upto: int = 0
    newest: int = 0
    seen_s: float = float("-inf")

    def brought_forward(self) -> "Counted":
        """With the rows that are settled by now: of two transactions the one with the lower ids may end later."""
        if time.monotonic() - self.seen_s < SETTLED_S:
            return self
        between = _counts(self.upto, self.newest)
        newest = db.session.scalar(select(func.max(Prediction.id))) or 0
        return Counted(self.by_version + between, self.newest, newest, time.monotonic())

    def totals(self) -> Counter[int]:
        """Until now, with the newest rows."""
        return self.by_version + _counts(self.upto, MAX_ID)


def _counts(after: int, upto: int) -> Counter[int]:
    """Of the rows between. With both ends given every database reads these alone."""
    between = Prediction.id > after, Prediction.id <= upto
    statement = select(Prediction.version_id, func.count()).where(*between).group_by(Prediction.version_id)
    return Counter(dict(db.session.execute(statement).all()))


def clients() -> tuple[list[User], list[ApiToken]]:
    """Who may have asked: all accounts and tokens, also those that may no longer."""
    tokens = select(ApiToken).options(joinedload(ApiToken.user)).order_by(ApiToken.name, ApiToken.id)
    return list(db.session.scalars(select(User).order_by(User.email))), list(db.session.scalars(tokens))
