"""Experiments in the browser."""

import json
import re
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.config import TrainConfig
from ml.presets import presets
from tests import factories
from tests.factories import Auth
from webapp import forms, queue, waiting
from webapp.models import Experiment, db


def fields_of(config: TrainConfig) -> dict[str, str]:
    """What a browser sends for a form that shows this configuration."""
    values = forms.flatten(config.model_dump(), "config")
    return {name: "on" if value is True else str(value) for name, value in values.items() if value is not False}


def post(client: FlaskClient, auth: Auth, config: dict[str, str], **fields: Any) -> Any:
    return client.post("/experiments/new", data=auth.form(**{"name": "A run", "dataset_id": "1", **fields}, **config))


def test_the_form_queues_an_experiment_with_what_it_shows(app: Flask, client: FlaskClient, auth: Auth) -> None:
    config = TrainConfig(network="resnet18", epochs=3, augmentation={"horizontal_flip": False})
    with app.app_context():
        factories.make_dataset()
    auth.login()
    assert post(client, auth, fields_of(config)).location == "/experiments/1"
    with app.app_context():
        assert TrainConfig.model_validate(db.session.get_one(Experiment, 1).config) == config
    assert "Number 1 in the queue" in client.get("/experiments/1").text


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("config.epochs", "5000", "less than or equal to 1000"),
        ("config.learning_rate", "fast", "valid number"),
        ("config.initial_weights", "version:77", "no such version"),
        ("config.augmentation.rotation_degrees", "999", "less than or equal to 180"),
    ],
)
def test_a_mistake_is_shown_at_its_field_and_what_was_typed_is_kept(
    app: Flask, client: FlaskClient, auth: Auth, field: str, value: str, message: str
) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    answer = post(client, auth, fields_of(TrainConfig()) | {field: value, "config.batch_size": "48"})
    assert answer.status_code == 422
    error = re.search(rf'id="f-{field.replace(".", "-")}-error">([^<]+)<', answer.text)
    assert error
    assert message in error[1]
    for typed in (value, "48", "A run"):
        assert f'value="{typed}"' in answer.text


def test_settings_that_do_not_fit_each_other_are_told(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    answer = post(client, auth, fields_of(TrainConfig()) | {"config.initial_weights": "imagenet"})
    assert answer.status_code == 422
    assert "There are no ImageNet weights for" in answer.text


@pytest.mark.parametrize(("dataset_id", "status"), [("", 422), ("99", 404), ("2", 409)])
def test_an_experiment_needs_a_data_set_that_is_ready(
    app: Flask, client: FlaskClient, auth: Auth, dataset_id: str, status: int
) -> None:
    with app.app_context():
        factories.make_dataset()
        factories.make_dataset(status="pending")
    auth.login()
    assert post(client, auth, fields_of(TrainConfig()), dataset_id=dataset_id).status_code == status


def test_every_preset_fills_the_whole_form_with_settings_that_are_accepted(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    html = client.get("/experiments/new").text
    offered = [json.loads(unescape(values)) for values in re.findall(r'data-preset="([^"]+)"', html)]
    inputs = set(re.findall(r'name="(config\.[^"]+)"', html))
    expected = presets(8)
    assert len(offered) == len(expected)
    for values, preset in zip(offered, expected.values(), strict=True):
        assert set(values) == inputs
        assert forms.parse(TrainConfig, "config", values) == preset.config


def test_the_presets_fit_the_size_of_the_chosen_data_set(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        small, large = factories.make_dataset("Small").id, factories.make_dataset("Large")
        large.classes = [{"name": name, "train": 25_000, "validation": 10, "test": 10} for name in ("a", "b")]
        db.session.commit()
        large_id = large.id
    auth.login()

    def epochs(dataset_id: object) -> list[int]:
        html = client.get(f"/experiments/presets?dataset_id={dataset_id}").text
        offered = [json.loads(unescape(values)) for values in re.findall(r'data-preset="([^"]+)"', html)]
        return [values["config.epochs"] for values in offered]

    few = 8
    assert epochs(small) == [preset.config.epochs for preset in presets(few).values()]
    assert (
        f"Fitted to {few} training images: batches of 8" in client.get(f"/experiments/presets?dataset_id={small}").text
    )
    assert "fewer epochs" in client.get(f"/experiments/presets?dataset_id={large_id}").text
    assert epochs(large_id) == [preset.config.epochs for preset in presets(50_000).values()]
    assert epochs("nonsense") == epochs(large_id)  # the newest, which the form shows first


def test_a_clone_starts_from_the_settings_of_its_origin(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset("Other")
        dataset = factories.make_dataset("Mine")
        factories.make_experiment(dataset, name="First", config=TrainConfig(epochs=77))
    auth.login()
    html = client.get("/experiments/new?clone=1").text
    assert 'value="77"' in html
    assert 'value="First (copy)"' in html
    assert re.search(r'<option value="2" selected>Mine', html)


def test_a_running_experiment_is_polled_until_it_is_final(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        running = factories.make_experiment(
            status="running",
            progress=0.25,
            device="cpu",
            images_per_s=181.2,
            eta_s=75,
            attempts=2,
            phase="epoch 2 of 8",
        )
        factories.make_epoch(running)
        factories.make_experiment(running.dataset, status="failed", failed_because="The loss is not a number.")
    auth.login("viewer")
    html = client.get("/experiments/1/live").text
    assert 'hx-trigger="every 2s"' in html
    for text in ("Epoch 2 of 8", "25\u202f%", "1\u202fmin 15\u202fs", "181", "cpu", "Attempts"):
        assert text in html
    final = client.get("/experiments/2/live").text
    assert "hx-trigger" not in final
    assert "The loss is not a number." in final


def test_only_what_waits_stands_before_an_experiment_in_the_queue(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        rows = [factories.make_experiment(name=f"Number {number}") for number in range(4)]
        for row in rows:
            queue.ring(queue.TRAIN, row.id)
        rows[0].status, rows[2].status = "cancelled", "running"
        db.session.commit()
    auth.login("viewer")
    assert "Number 1 in the queue" in client.get("/experiments/2/live").text
    assert "Number 2 in the queue" in client.get("/experiments/4/live").text
    assert "in the queue" not in client.get("/experiments/3/live").text


def test_what_does_not_train_tells_no_time_that_is_left(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        for status in ("running", "cancelling", "cancelled", "failed"):
            factories.make_experiment(status=status, eta_s=75)
    auth.login("viewer")
    shown = ["Training left" in client.get(f"/experiments/{number}/live").text for number in (1, 2, 3, 4)]
    assert shown == [True, False, False, False]
    told = [client.get(f"/api/v1/experiments/{number}").json["eta_s"] for number in (1, 2, 3, 4)]
    assert told == [75, None, None, None]


def test_the_curves_are_drawn_from_the_epochs(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        experiment = factories.make_experiment(status="succeeded")
        for number in (1, 2):
            factories.make_epoch(experiment, number, attempt=number, validation_auc=0.5 + number / 10)
    auth.login("viewer")
    html = client.get("/experiments/1").text
    data = {name: json.loads(text) for name, text in re.findall(r'data-chart-of="([^"]+)">(.*?)</script>', html)}
    assert data["loss-curve"]["epochs"] == [1, 2]
    assert data["loss-curve"]["attempts"] == [2]  # where another worker took it up
    assert data["score-curve"]["lines"][2] == {"name": "Validation AUC", "values": [0.6, 0.7]}
    assert 'id="loss-curve"' in html


def test_cancel_and_resume_are_offered_where_they_are_possible_and_do_it(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_experiment(checkpoint_epoch=3)
    auth.login()
    assert "/experiments/1/cancel" in client.get("/experiments/1").text
    client.post("/experiments/1/cancel", data=auth.form())
    html = client.get("/experiments/1").text
    assert "/experiments/1/cancel" not in html
    assert "Resume after epoch 3" in html
    client.post("/experiments/1/resume", data=auth.form())
    with app.app_context():
        experiment = db.session.get_one(Experiment, 1)
        assert experiment.status == "queued"
        assert waiting.place(queue.TRAIN, experiment) == 1


def test_a_final_experiment_cannot_be_cancelled(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_experiment(status="failed")
    auth.login()
    assert client.post("/experiments/1/cancel", data=auth.form()).status_code == 409
