"""A log line is one JSON object that names the event first."""

import json
import logging

import pytest
from flask import Flask, g

from tests.factories import Auth
from webapp import logs, security


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def a_log() -> logging.Logger:
    """A log to standard error as it is now: pytest's differs between a fixture and its test."""
    logs.configure("INFO")
    return logging.getLogger("webapp.somewhere")


def test_a_line_begins_with_the_event_and_carries_its_ids(capsys: pytest.CaptureFixture[str]) -> None:
    a_log().info("model_loaded", extra={"version": 3})
    (line,) = written(capsys)
    assert next(iter(line)) == "event"
    assert line.pop("at")
    assert line == {"event": "model_loaded", "level": "info", "logger": "webapp.somewhere", "version": 3}


def test_an_error_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    log = a_log()
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("task_failed", extra={"row_id": 1})
    (line,) = written(capsys)
    assert "ValueError: two\nlines" in str(line["exception"])


def test_values_that_json_does_not_know_are_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    a_log().warning("odd", extra={"value": {1}, "name_of": "Ünï\n\x00"})
    (line,) = written(capsys)
    assert (line["value"], line["name_of"]) == ("{1}", "Ünï\n\x00")


def test_a_line_of_a_request_carries_the_id_of_the_request(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    with app.test_request_context("/health/live"):
        g.request_id = "abcdef123456"
        a_log().info("something")
    (line,) = written(capsys)
    assert (line["request_id"], line["endpoint"]) == ("abcdef123456", "health.live")


def test_lines_below_the_level_are_not_written_and_configuring_twice_doubles_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = a_log()
    logs.configure("WARNING")
    log.info("quiet")
    log.warning("loud")
    assert [line["event"] for line in written(capsys)] == ["loud"]


@pytest.mark.parametrize("given", ["order-4711-of-today", "short", "x" * 65, "two words", "bl\u00f6d-bl\u00f6d"])
def test_the_id_that_a_client_gives_is_taken_where_it_is_sane_and_goes_from_header_to_log(
    app: Flask, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    app.add_url_rule("/told", "told", security.allow("viewer")(lambda: a_log().info("told") or "told"))
    headers = Auth(app.test_client()).token()
    answer = app.test_client().get("/told", headers=headers | {"X-Request-ID": given.encode().decode("latin-1")})
    (line,) = written(capsys)
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert (line["request_id"] == given) is (given == "order-4711-of-today")
    assert 8 <= len(str(line["request_id"])) <= 64
