"""Clients tell the truth of what was answered, and read how right the answers were."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.intervals import proportion
from tests import factories
from tests.factories import Auth
from webapp.datasets import contents
from webapp.models import AuditEvent, Feedback, ModelVersion, db
from webapp.predictions import feedback

URL = "/api/v1/feedback"
REQUEST = "0123456789abcdef"


def answers(app: Flask, images: int = 1) -> None:
    """Answers 'malignant' to the images of one request of the researcher."""
    with app.app_context():
        version = factories.make_version()
        for place in range(images):
            factories.make_prediction(version, place=place, image_sha256=str(place) * 64)


def truth(truth: str = "malignant", image: int = 0, request_id: str = REQUEST) -> dict[str, object]:
    return {"request_id": request_id, "truth": truth, "image": image}


def test_the_truth_of_an_answer_is_kept_with_it(client: FlaskClient, auth: Auth) -> None:
    headers = auth.token("write")
    with client.application.app_context():
        image = contents.image_bytes(factories.make_activation().version.experiment.dataset, 1)
    said = client.post("/predict", data=image, headers=headers | {"Content-Type": "image/png"}).json
    answer = client.post(URL, json={"request_id": said["request_id"], "truth": "benign"}, headers=headers)
    (told,) = answer.json["items"]
    assert (answer.status_code, told["image"], told["label"], told["truth"]) == (200, 0, "malignant", "benign")
    (found,) = client.get("/api/v1/predictions?truth=wrong", headers=headers).json["items"]
    assert (found["request_id"], found["truth"]) == (said["request_id"], "benign")


def test_a_later_truth_replaces_the_earlier_and_leaves_a_trail(any_app: Flask, any_auth: Auth) -> None:
    answers(any_app)
    headers = any_auth.token("predict")
    for label in ("benign", "malignant", "malignant"):
        assert any_auth.client.post(URL, json=truth(label), headers=headers).status_code == 200
    with any_app.app_context():
        assert db.session.query(Feedback).one().truth == "malignant"
        (event,) = db.session.query(AuditEvent).filter_by(action="feedback.replace")
        assert event.details == {"prediction": 1, "before": "benign", "after": "malignant"}


@pytest.mark.parametrize(
    ("given", "role", "status", "said"),
    [
        (truth("cyst"), "researcher", 422, "no class 'cyst'; it has benign, malignant"),
        (truth(request_id="another-id-0"), "researcher", 404, "no answer for image 0 of request 'another-id-0'"),
        (truth(image=1), "researcher", 404, "no answer for image 1"),
        (truth(), "admin", 403, "Another account asked"),
        (truth(image=-1), "researcher", 422, "greater than or equal to 0"),
        ({"request_id": REQUEST}, "researcher", 422, "truth"),
        ({"items": [truth()] * 201}, "researcher", 422, "at most 200"),
        ({"items": []}, "researcher", 422, "at least 1"),
        ([], "researcher", 422, "an object"),
    ],
)
def test_what_cannot_be_the_truth_is_refused_in_words(
    app: Flask, client: FlaskClient, auth: Auth, given: object, role: str, status: int, said: str
) -> None:
    answers(app)
    answer = client.post(URL, json=given, headers=auth.token("predict", role))
    assert (answer.status_code, said in answer.json["detail"]) == (status, True), answer.json


def test_of_several_truths_all_are_kept_or_none(app: Flask, client: FlaskClient, auth: Auth) -> None:
    answers(app, images=2)
    headers = auth.token("predict")
    answer = client.post(URL, json={"items": [truth(), truth("cyst", 1)]}, headers=headers)
    assert (answer.status_code, "Of the truth at place 1" in answer.json["detail"]) == (422, True)
    with app.app_context():
        assert db.session.query(Feedback).count() == 0
    assert client.post(URL, json={"items": [truth(), truth("benign", 1)]}, headers=headers).status_code == 200
    with app.app_context():
        assert db.session.query(Feedback).count() == 2


@pytest.mark.parametrize(("sha256", "status"), [("0" * 64, 200), ("f" * 64, 409)])
def test_an_id_that_was_used_twice_names_an_image_only_if_it_is_the_same(
    app: Flask, client: FlaskClient, auth: Auth, sha256: str, status: int
) -> None:
    answers(app)
    with app.app_context():
        factories.make_prediction(db.session.get_one(ModelVersion, 1), image_sha256=sha256)
    assert client.post(URL, json=truth(), headers=auth.token("predict")).status_code == status


def test_another_account_that_uses_the_same_id_hides_no_answer(context: Flask) -> None:
    version, other = factories.make_version(), factories.find_user("admin")
    factories.make_prediction(version)
    for _ in range(100):
        factories.make_prediction(version, user=other)
    (told,) = feedback.give([feedback.Truth(REQUEST, 0, "benign")], factories.find_user("researcher"))
    assert told.prediction.id == 1


def test_live_scores_are_those_of_the_told_images_with_wilsons_interval(any_context: Flask) -> None:
    version, silent = factories.make_version(), factories.make_version()
    factories.make_prediction(silent)
    user = factories.find_user("researcher")
    said = [("malignant", "malignant")] * 3 + [("benign", "malignant")] + [("benign", "benign")] * 2
    for number, (label, known) in enumerate(said):
        factories.make_prediction(version, label, request_id=f"request-{number}")
        feedback.give([feedback.Truth(f"request-{number}", 0, known)], user)
    (found,) = feedback.live_scores()
    assert (found.version.id, found.n, found.accuracy) == (version.id, 6, proportion(5, 6))
    assert (found.sensitivity, found.specificity) == (proportion(3, 4), proportion(2, 2))
    assert feedback.live_scores(silent.id) == []


def test_without_a_positive_class_there_is_only_accuracy(context: Flask) -> None:
    version = factories.make_version(factories.make_experiment(factories.make_dataset(classes=("a", "b", "c"))))
    factories.make_prediction(version, "a", request_id="request-0")
    feedback.give([feedback.Truth("request-0", 0, "b")], factories.find_user("researcher"))
    (found,) = feedback.live_scores(version.id)
    assert (found.accuracy, found.sensitivity, found.specificity) == (proportion(0, 1), None, None)
