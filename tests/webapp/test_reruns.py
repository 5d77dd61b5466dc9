"""Running an experiment again, and whether it came out the same."""

from flask import Flask
from flask.testing import FlaskClient

from ml.config import TrainConfig
from tests import factories
from tests.factories import Auth
from tests.webapp.test_comparison_pages import plain
from webapp.models import Experiment, ModelVersion, db
from webapp.studies import service as studies


def test_run_again_queues_the_same_configuration_on_the_same_data(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_experiment(name="Discs", status="succeeded", progress=1.0)
    auth.login()
    assert 'action="/experiments/1/again"' in client.get("/experiments/1").text
    assert client.post("/experiments/1/again", data=auth.form()).location == "/experiments/2"
    with app.app_context():
        first, again = (db.session.get_one(Experiment, number) for number in (1, 2))
        assert (again.name, again.status, again.dataset_id) == ("Discs (again)", "queued", first.dataset_id)
        assert again.config == first.config


def test_a_run_again_takes_the_threads_of_the_first_and_is_held_against_it(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        first = factories.make_experiment(status="succeeded", progress=1.0)
        version = factories.make_version(first)
        version.card = {**version.card, "threads": 3}
        db.session.commit()
    auth.login()
    client.post("/experiments/1/again", data=auth.form())
    with app.app_context():
        again = db.session.get_one(Experiment, 2)
        assert again.config == {**db.session.get_one(Experiment, 1).config, "threads": 3}
        version = factories.make_version(again)
        version.card = {**version.card, "threads": 2}
        db.session.commit()
    assert "Threads 3 2" in plain(client.get("/versions/2").text)


def test_only_what_succeeded_is_run_again_and_not_by_a_viewer(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_experiment(status="failed")
    auth.login()
    assert client.post("/experiments/1/again", data=auth.form()).status_code == 409
    auth.logout()
    auth.login("viewer")
    assert client.post("/experiments/1/again", data=auth.form()).status_code == 403
    assert "/experiments/1/again" not in client.get("/experiments/1").text


def test_a_version_says_that_it_scores_as_the_first_run_did(app: Flask, client: FlaskClient, auth: Auth) -> None:
    two_runs(app)
    auth.login("viewer")
    assert "Run again" not in client.get("/versions/1").text
    text = plain(client.get("/versions/2").text)
    assert "made version 1 first. Its metrics are equal to the last digit. The weights are the same bytes." in text


def test_a_version_says_that_it_scores_otherwise_and_what_differed(app: Flask, client: FlaskClient, auth: Auth) -> None:
    two_runs(app, leaning=9.0)
    with app.app_context():
        version = db.session.get_one(ModelVersion, 2)
        changed = {
            "packages": {"torch": "9.9"},
            "device": "cuda: A card",
            "precision": "bfloat16",
            "compiled_epochs": 9,
        }
        version.card = {**version.card, **changed}
        db.session.commit()
    auth.login("viewer")
    html = client.get("/versions/2").text
    assert "Its metrics differ." in html
    assert "/versions/compare?version=1&amp;version=2" in html
    assert "torch 2.13.0 9.9" in plain(html)
    assert "Precision float32 bfloat16" in plain(html)
    assert "Compiled epochs 0 9" in plain(html)


def test_another_configuration_is_no_run_again(app: Flask, client: FlaskClient, auth: Auth) -> None:
    two_runs(app)
    with app.app_context():
        experiment = db.session.get_one(Experiment, 2)
        experiment.config = {**experiment.config, "seed": 7}
        db.session.commit()
    auth.login("viewer")
    assert "Run again" not in client.get("/versions/2").text


def test_two_folds_are_no_run_again_of_one_another_and_a_fold_is_not_run_alone(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        dataset, user = factories.make_dataset(), factories.find_user()
        study = studies.create(dataset.id, "Three", "folds", 3, TrainConfig(epochs=1), user)
        for row in study.members[:2]:
            row.status = "succeeded"
            factories.make_version(row)
    auth.login()
    assert "Run again" not in client.get("/versions/2").text
    assert 'action="/experiments/2/again"' not in client.get("/experiments/2").text
    refused = client.post("/experiments/2/again", data=auth.form())
    assert refused.status_code == 409
    assert "fold of study 1" in refused.text


def two_runs(app: Flask, leaning: float = 0.0) -> None:
    """Two versions of one configuration and data set; the second one leans towards the last class."""
    with app.app_context():
        dataset = factories.make_dataset()
        for amount in (0.0, leaning):
            experiment = factories.make_experiment(dataset, status="succeeded", progress=1.0)
            factories.make_evaluation(factories.make_version(experiment, leaning=amount))
