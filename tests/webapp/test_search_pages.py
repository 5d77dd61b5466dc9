"""Searches in the browser and for client systems."""

import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.config import TrainConfig
from ml.space import SENSIBLE
from tests import factories
from tests.factories import Auth
from tests.webapp.test_experiment_pages import fields_of, post
from tests.webapp.test_search_service import PLAN, end, make_search
from webapp.models import Search, db

TYPED = {
    "begin": "search",
    "plan.trials": "5",
    "plan.metric": "accuracy",
    "plan.pruning": "none",
    "plan.seed": "3",
    "space": ["learning_rate", "optimizer"],
    "space.learning_rate.low": "0.001",
    "space.learning_rate.high": "0.01",
    "space.optimizer.choices": ["sgd", "adamw"],
}


def begin(client: FlaskClient, auth: Auth, **changes: Any) -> Any:
    return post(client, auth, fields_of(TrainConfig()), **TYPED | changes)


def test_the_form_of_an_experiment_begins_a_search(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    assert begin(client, auth).location == "/searches/1"
    html = client.get("/searches/1").text
    for text in ("1 of 5 trials begun", "Cancel all", 'hx-trigger="every 3s"', "Validation accuracy"):
        assert text in html
    assert "A run" in client.get("/searches/").text
    assert "trial 1 of 5" in client.get("/experiments/1").text
    with app.app_context():
        search = db.session.get_one(Search, 1)
        assert search.plan["space"]["learning_rate"] == {"low": 0.001, "high": 0.01, "is_log": True, "choices": []}
        assert 0.001 <= search.trials[0].config["learning_rate"] <= 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": []}, "at least one setting"),
        ({"space.learning_rate.low": "0.5"}, "must lie below the highest"),
        ({"space.learning_rate.high": "much"}, "valid number"),
        ({"space.optimizer.choices": ["sgd"]}, "two values or more"),
        ({"plan.trials": "1"}, "greater than or equal to 2"),
        ({"space.learning_rate.high": "100"}, "less than or equal to 10"),
    ],
)
def test_a_mistake_is_shown_and_what_was_typed_is_kept(
    app: Flask, client: FlaskClient, auth: Auth, changes: dict[str, Any], message: str
) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    answer = begin(client, auth, **changes)
    assert answer.status_code == 422
    assert message in answer.text
    low = changes.get("space.learning_rate.low", TYPED["space.learning_rate.low"])
    assert f'name="space.learning_rate.low" value="{low}"' in answer.text
    assert ('value="learning_rate" checked' in answer.text) is bool(changes.get("space", TYPED["space"]))


def test_the_page_shows_the_best_trial_and_draws_each_setting(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        search = make_search()
        for score in (0.6, 0.8, 0.7):
            end(search.trials[-1], 0.5, score)
            db.session.refresh(search)
    auth.login("viewer")
    html = client.get("/searches/1").text
    data = {name: json.loads(text) for name, text in re.findall(r'data-chart-of="([^"]+)">(.*?)</script>', html)}
    assert data.keys() == {"history-chart", "slice-1", "slice-2", "importance-chart"}
    assert [point["score"] for point in data["history-chart"]["points"]] == [0.6, 0.8, 0.7]
    assert (data["slice-1"]["name"], data["slice-1"]["is_log"]) == ("learning_rate", True)
    assert "0.800" in html
    assert "Use these settings" not in html  # a viewer may not
    assert "hx-trigger" not in html.split('id="live"')[1][:200]


def test_client_systems_make_read_and_cancel_searches(app: Flask, client: FlaskClient, auth: Auth) -> None:
    headers = auth.token()
    with app.app_context():
        factories.make_dataset()
    offered = client.get("/api/v1/search-space", headers=headers).json
    assert offered.keys() == SENSIBLE.keys()
    body = {"dataset_id": 1, "name": "By a client", "config": {"epochs": 2}}
    plan = {"trials": 4, "metric": "loss", "space": {"dropout": offered["dropout"]}}
    made = client.post("/api/v1/searches", json=body | {"plan": plan}, headers=headers)
    assert (made.status_code, made.json["status"], made.json["trials"][0]["state"]) == (202, "running", "running")
    trial = client.get("/api/v1/experiments/1", headers=headers).json
    assert (trial["search"], trial["trial"], trial["pruned_epoch"]) == (1, 1, None)
    assert client.post("/api/v1/searches/1/cancel", headers=headers).status_code == 202
    read = client.get(made.json["url"], headers=headers).json
    assert (read["status"], read["importance"]) == ("cancelled", {})
    (listed,) = client.get("/api/v1/searches", headers=headers).json["items"]
    assert listed == read | {"importance": None}  # it takes long to find
    wrong = client.post(
        "/api/v1/searches", json=body | {"plan": {"space": {"epochs": {"low": 1, "high": 2}}}}, headers=headers
    )
    assert (wrong.status_code, wrong.json["errors"][0]["field"]) == (422, "plan.space")


def test_cancelling_on_the_page_stops_the_whole_search(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_search(PLAN)
    auth.login()
    assert client.post("/searches/1/cancel", data=auth.form()).status_code == 302
    assert "Cancel all" not in client.get("/searches/1").text
    assert client.post("/searches/1/cancel", data=auth.form()).status_code == 409
