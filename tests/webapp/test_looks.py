"""The ledger of looks at test images."""

from flask import Flask
from flask.testing import FlaskClient

from tests import factories
from tests.answers import make_answered, make_other_version
from tests.factories import Auth
from tests.webapp.test_comparison_pages import plain
from webapp.models import Dataset, db
from webapp.registry import looks


def looked_at(app: Flask) -> None:
    """Three looks by two versions, one of them in a second version of the data set; and what is no look."""
    with app.app_context():
        user = factories.make_user("researcher")
        dataset = factories.make_dataset()
        first = factories.make_version(factories.make_experiment(dataset, status="succeeded"))
        second = make_other_version(first)
        make_answered(first, (0.2, 0.7), created_by_id=user.id)
        make_answered(second, (0.2, 0.7), "all", attempts=1, created_by_id=user.id)
        next_one = factories.make_dataset(line=dataset.line, number=2, parent_number=1)
        make_answered(second, (0.2, 0.7), dataset=next_one, attempts=1)
        make_answered(first, (0.2, 0.7), "validation")
        make_answered(first, (0.2, 0.7), status="failed", metrics=None)
        make_answered(first, (0.2, 0.7), dataset=factories.make_dataset("Other"))


def test_every_evaluation_that_scored_test_images_of_the_line_is_a_look(any_app: Flask) -> None:
    looked_at(any_app)
    with any_app.app_context():
        dataset = db.session.get_one(Dataset, 1)
        ledger = looks.ledger_of(dataset)
        assert (ledger.looks, ledger.versions, looks.count(dataset)) == (3, 2, 3)
        told = [(look.evaluation.id, look.who, look.is_automatic) for look in ledger.newest]
        assert told == [(3, None, False), (2, "researcher@example.org", False), (1, "researcher@example.org", True)]


def test_the_page_of_the_data_set_lists_the_looks(app: Flask, client: FlaskClient, auth: Auth) -> None:
    looked_at(app)
    auth.login("viewer")
    for dataset_id in (1, 2):
        text = plain(client.get(f"/datasets/{dataset_id}").text)
        assert "The test images were looked at 3 times by 2 versions, counting all versions" in text
        assert "researcher@example.org (end of training)" in text


def test_test_images_that_nobody_looked_at_are_said_to_be_fresh(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_answered(factories.make_version(), (0.2, 0.7), "validation")
    auth.login("viewer")
    assert "Nobody has looked at the test images yet" in client.get("/datasets/1").text
    assert "looked at" not in client.get("/versions/evaluations/1").text


def test_scores_carry_the_number_of_looks_and_what_it_means(app: Flask, client: FlaskClient, auth: Auth) -> None:
    looked_at(app)
    auth.login("viewer")
    for address in ("/versions/1", "/versions/evaluations/1"):
        text = plain(client.get(address).text)
        assert "were looked at 3 times by 2 versions. The more often a test set is looked at" in text


def test_clients_are_told_the_number_of_looks(app: Flask, client: FlaskClient, auth: Auth) -> None:
    looked_at(app)
    auth.login("viewer")
    assert client.get("/api/v1/evaluations/1").json["test_looks"] == 3
    assert {one["id"]: one["test_looks"] for one in client.get("/api/v1/evaluations").json["items"]}[6] == 1
