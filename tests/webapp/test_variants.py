"""A variant serves where the version offers it, and every answer says so."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from ml.variants import Measured, Variants
from tests.factories import Auth, make_version
from tests.ml import small_version
from webapp.datasets import contents
from webapp.models import Activation, ModelVersion, Prediction, db
from webapp.predictions.journal import journal


@pytest.fixture
def headers(auth: Auth) -> dict[str, str]:
    return auth.token("write")


def made(app: Flask, lost_auc: float = 0.0) -> int:
    """The id of a version whose smaller variant leans the other way, so that answers tell who gave them."""
    with app.app_context(), tempfile.TemporaryDirectory() as folder:
        version, path = make_version(leaning=-3.0), Path(folder) / "model.int8.onnx"
        small_version.write_model(path, leaning=3.0)
        with path.open("rb") as stream:
            version.files = {**version.files, path.name: contents.store().keep(stream)}
        facts: dict[str, Any] = {"size_mb": 1.0, "accuracy": 0.9, "images_per_s": 9.0}
        exact = Measured(variant="float32", auc=0.95, **facts)
        found = Variants.of(40, [exact, Measured(variant="int8", auc=0.95 - lost_auc, **facts)])
        version.card = {**version.card, "variants": found.model_dump(mode="json")}
        db.session.commit()
        return int(version.id)


def image(app: Flask) -> bytes:
    with app.app_context():
        return contents.image_bytes(db.session.scalars(select(ModelVersion)).first().experiment.dataset, 1)


def test_answers_health_and_history_name_the_variant_and_a_rollback_takes_it_back(
    app: Flask, client: FlaskClient, auth: Auth, headers: dict[str, str]
) -> None:
    version_id = made(app)
    leaning = []
    for path, variant in (
        (f"versions/{version_id}/activate", "float32"),
        (f"versions/{version_id}/activate", "int8"),
        ("rollback", "float32"),
    ):
        asked = {"reason": "for a test"} | ({"variant": variant} if variant == "int8" else {})
        said = client.post(f"/api/v1/{path}", json=asked, headers=headers)
        assert (said.status_code, said.json["variant"]) == (200, variant)
        app.extensions["active_model"]._checked_s = float("-inf")  # as if time had passed
        answer = client.post("/predict", data=image(app), headers=headers | {"Content-Type": "image/png"}).json
        assert answer["model"] == {"version": version_id, "variant": variant, "name": "Experiment"}
        assert client.get("/health").json["model"]["variant"] == variant
        leaning.append(answer["predictions"][0]["probabilities"]["malignant"])
    assert leaning[0] == leaning[2] < leaning[1]
    with app.app_context():
        assert journal().flush()
        names = ["float32", "int8", "float32"]
        assert [row.variant for row in db.session.scalars(select(Prediction).order_by(Prediction.id))] == names
        assert [row.variant for row in db.session.scalars(select(Activation).order_by(Activation.id))] == names
    auth.login()
    assert "int8" in client.get("/versions/activations").text


@pytest.mark.parametrize(("lost_auc", "because"), [(0.02, "0.0200 of the auc"), (None, "exported without one")])
def test_a_variant_that_loses_too_much_or_is_not_there_cannot_be_activated(
    app: Flask, client: FlaskClient, headers: dict[str, str], lost_auc: float | None, because: str
) -> None:
    if lost_auc is None:
        with app.app_context():
            version_id = make_version().id
    else:
        version_id = made(app, lost_auc)
    asked = {"reason": "for a test", "variant": "int8"}
    answer = client.post(f"/api/v1/versions/{version_id}/activate", json=asked, headers=headers)
    assert (answer.status_code, because in answer.json["detail"]) == (409, True)
    assert client.get(f"/api/v1/versions/{version_id}", headers=headers).json["variants"] == ["float32"]
    assert client.get("/health").json["model"] is None


def test_the_page_of_a_version_compares_its_variants_and_activates_one(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    version_id = made(app)
    auth.login()
    page = client.get(f"/versions/{version_id}").text
    assert "Either may serve." in page
    assert "May serve: ROC AUC 0.9500 against 0.9500 of float32" in client.get(f"/versions/{version_id}/report").text
    form = auth.form(reason="faster", variant="int8")
    assert client.post(f"/versions/{version_id}/activate", data=form).status_code == 302
    assert client.get("/health").json["model"]["variant"] == "int8"
