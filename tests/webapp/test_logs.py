"""A log line is one JSON object that names the event first."""

import io
import json
import logging
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from flask import Flask, g
from flask.testing import FlaskClient
from redis import Redis

from tests.factories import Auth, make_activation
from tests.sites import running_site, wait_until
from webapp import logs, security
from webapp.datasets import contents
from webapp.models import Prediction, db
from webapp.predictions import tally


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
    line = next(line for line in written(capsys) if line["event"] == "told")
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert (line["request_id"] == given) is (given == "order-4711-of-today")
    assert 8 <= len(str(line["request_id"])) <= 64


def test_a_request_leaves_a_line_of_ids_and_figures_under_the_id_of_header_answer_and_row(
    app: Flask, auth: Auth, capsys: pytest.CaptureFixture[str]
) -> None:
    with app.app_context():
        image = contents.image_bytes(make_activation().version.experiment.dataset, 0)
    headers = auth.token("predict") | {"X-Request-ID": "order-4711-of-today"}
    logs.configure("INFO")
    said = auth.client.post(
        "/predict?explain=0", data={"image": (io.BytesIO(image), "patient-name.png")}, headers=headers
    )
    logs.gathered.write()
    text = capsys.readouterr().err
    (line,) = [json.loads(one) for one in text.splitlines() if "request_done" in one]
    assert app.extensions["journal"].flush()
    with app.app_context():
        row = db.session.query(Prediction).one()
    assert said.json["request_id"] == said.headers["X-Request-ID"] == row.request_id == line["request_id"]
    assert 0 < line.pop("ms") < 60_000
    assert {name: line[name] for name in sorted({*line} - {"at", "request_id", "level", "logger"})} == {
        "endpoint": "api.predict_short",
        "event": "request_done",
        "method": "POST",
        "status": 200,
        "token": 1,
        "user": row.user_id,
    }
    assert "patient-name" not in text
    assert "explain" not in text


def test_a_refused_request_leaves_a_line_without_its_address(
    app: Flask, client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("INFO")
    client.post("/predict", data=b"x")
    client.open("/datasets/patient-name", method="BREW")
    logs.gathered.write()
    text = capsys.readouterr().err
    lines = [json.loads(one) for one in text.splitlines()]
    assert [(line["endpoint"], line["method"], line["status"], line["user"]) for line in lines] == [
        ("api.predict_short", "POST", 401, None),
        (None, "other", 302, None),
    ]
    assert "patient-name" not in text


def test_above_its_level_no_request_leaves_a_line(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("WARNING")
    client.get("/health/live")
    logs.gathered.write()
    assert written(capsys) == []


def test_lines_of_many_requests_are_written_soon_and_in_whole_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces: list[str] = []
    monkeypatch.setattr("sys.stderr", SimpleNamespace(write=pieces.append, flush=lambda: None))
    for number in range(100):
        logs.gathered.add({"event": "request_done", "logger": "webapp.traffic", "request_id": f"{number:0100}"})
    wait_until(lambda: "0099" in "".join(pieces), timeout_s=10)
    assert [int(json.loads(line)["request_id"]) for line in "".join(pieces).splitlines()] == [*range(100)]
    assert all(len(piece) <= 4096 and piece.endswith("\n") for piece in pieces)


@pytest.mark.slow
def test_every_line_of_a_whole_site_is_json_and_names_no_address(tmp_path: Path) -> None:
    """Also those of supervisor and Gunicorn, of workers and of the janitor; a killed process, and a request that no
    parser reads, among them.
    """
    with running_site(tmp_path) as site:
        site.wait_until_healthy()
        requests.get(f"http://127.0.0.1:{site.port}/datasets/patient-name", timeout=10)
        with socket.create_connection(("127.0.0.1", site.port)) as broken:
            broken.sendall(b"GET /patient-name nonsense\r\n\r\n")
            assert b"400" in broken.recv(100)
        redis = Redis.from_url(f"unix://{tmp_path / 'var' / 'redis.sock'}")
        wait_until(lambda: ("unread", "other", "400", 1) in tally.Told(redis).requests())
        os.kill(site.programs()["jobs.janitor"], signal.SIGKILL)
        wait_until(lambda: "jobs.janitor" in site.programs())
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {"supervisor", "gunicorn.error", "webapp.traffic"} <= {line["logger"] for line in lines}
    (unread,) = [line for line in lines if line["event"] == "request_refused"]
    assert (unread["status"], unread["reason"]) == (400, "InvalidHTTPVersion")
    assert "request_done" in {line["event"] for line in lines}
    assert "patient-name" not in str(lines)
    assert all(line["at"] for line in lines)
