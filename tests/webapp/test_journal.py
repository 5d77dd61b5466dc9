"""The journal of answers: rows reach the database soon, survive its absence, and never grow without limit."""

import math
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from tests import factories
from webapp.errors import Unavailable
from webapp.models import ModelVersion, Prediction, db, now
from webapp.predictions import journal
from webapp.predictions.journal import Values


def row(number: int = 0, **values: Any) -> Values:
    """The values of a prediction; its number is its request id."""
    version, user = db.session.query(ModelVersion).one(), factories.find_user()
    facts = {
        "version_id": version.id,
        "user_id": user.id,
        "token_id": None,
        "request_id": str(number),
        "image_sha256": "0" * 64,
    }
    answer = {"label": "benign", "probability": 0.9, "probabilities": {"benign": 0.9}, "latency_ms": 1.0}
    return {**facts, **answer, "created_at": now(), **values}


def written() -> list[str]:
    db.session.rollback()
    return [one.request_id for one in db.session.query(Prediction).order_by(Prediction.id)]


def test_rows_are_written_in_the_order_in_which_they_came(any_context: Flask) -> None:
    factories.make_version()
    for number in range(3):
        journal.journal().add([row(number)])
    assert journal.journal().flush()
    assert written() == ["0", "1", "2"]


@pytest.mark.parametrize("refused", [{"version_id": 999}, {"probabilities": {"benign": math.nan}, "latency_ms": None}])
def test_a_row_that_the_database_refuses_does_not_hold_the_others_up(any_context: Flask, refused: Values) -> None:
    factories.make_version()
    journal.journal().add([row(0), row(1, **refused), row(2)])
    assert journal.journal().flush()
    assert written() == ["0", "2"]


def test_rows_wait_for_a_database_that_is_away_and_then_are_refused(
    context: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_WAITING", 2)
    monkeypatch.setattr(journal, "RETRY_S", 0.05)
    factories.make_version()
    db.session.execute(text("ALTER TABLE prediction RENAME TO away"))
    db.session.commit()
    journal.journal().add([row(0), row(1)])
    assert not journal.journal().flush(timeout_s=1)
    with pytest.raises(Unavailable, match="database is away"):
        journal.journal().add([row(2)])
    db.session.execute(text("ALTER TABLE away RENAME TO prediction"))
    db.session.commit()
    assert journal.journal().flush()
    assert written() == ["0", "1"]


def test_a_stop_writes_what_waits_at_once(context: Flask) -> None:
    factories.make_version()
    journal.journal().add([row()])
    journal.journal().stop()
    assert written() == ["0"]
