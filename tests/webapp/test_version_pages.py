"""Versions, evaluations and activations in the browser."""

import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml import conformal, temperature
from ml.artifact import Card
from ml.metrics import choose_threshold, evaluate
from ml.temperature import Temperature
from tests import factories
from tests.factories import Auth
from webapp.models import ModelVersion, db
from webapp.registry import service


def test_a_version_shows_its_scores_with_intervals_and_its_errors(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        evaluation = factories.make_evaluation(factories.make_version(leaning=9.0))
        auc, errors = evaluation.metrics["auc"], evaluation.confident_errors
    auth.login("viewer")
    html = client.get("/versions/1").text
    assert f"<strong>{auc['value']:.3f}</strong>" in html
    assert f"({auc['low']:.3f}–{auc['high']:.3f})" in html
    assert errors
    assert f"/datasets/1/thumbnails/{errors[0]['number']}" in html
    assert f"Truth: <strong>{errors[0]['truth']}</strong>" in html


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        ({"energy_j": 12.0}, "all that the processors took meanwhile"),
        ({"energy_j": 9.0, "energy_of": ["processors", "GPUs"]}, "all that the processors and GPUs took meanwhile"),
    ],
)
def test_a_version_says_which_energy_was_counted_also_where_its_card_is_of_an_earlier_release(
    app: Flask, client: FlaskClient, auth: Auth, noted: dict[str, Any], said: str
) -> None:
    with app.app_context():
        version = factories.make_evaluation(factories.make_version()).version
        version.card = {name: value for name, value in version.card.items() if name != "energy_of"} | noted
        db.session.commit()
    auth.login("viewer")
    assert said in client.get("/versions/1").text
    assert said in client.get("/versions/1/report").text


def test_the_rows_of_the_confusion_matrix_are_the_truth_and_said_in_words(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        metrics = factories.make_evaluation(factories.make_version()).metrics
        confusion = {"labels": ["benign", "malignant"], "rows_are": "truth", "matrix": [[90, 24], [5, 37]]}
        db.session.execute(db.text("DELETE FROM evaluation"))
        factories.make_evaluation(db.session.get_one(ModelVersion, 1), metrics={**metrics, "confusion": confusion})
    auth.login("viewer")
    html = re.sub(r"\s+", " ", client.get("/versions/1").text)
    assert "24 of 114 images of benign were called malignant" in html
    assert "Of 42 images of “malignant”, 37 were found and 5 missed. Of 114 images of “benign”, 24 raised" in html


def test_the_roc_curve_carries_its_operating_point(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        metrics = factories.make_evaluation(factories.make_version()).metrics
    auth.login("viewer")
    data = chart(client.get("/versions/1").text, "roc-curve")
    assert data["fpr"] == metrics["roc"]["fpr"]
    assert data["point"]["tpr"] == metrics["sensitivity"]["value"]


def test_a_version_of_many_classes_has_a_page_too(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset = factories.make_dataset(classes=("a", "b", "c"), train=9, validation=6, test=6)
        factories.make_evaluation(factories.make_version(factories.make_experiment(dataset, status="succeeded")))
    auth.login("viewer")
    html = client.get("/versions/1").text
    assert "means over the classes" in html
    assert '<th scope="row">Sensitivity' not in html
    assert re.search("Each class against the rest.*Specificity.*NPV.*ROC AUC", re.sub(r"\s+", " ", html))
    curves = chart(html, "roc-curves")
    assert {line["name"] for line in curves["lines"]} == {"a", "b", "c"}
    assert all(line["tpr"][-1] == line["fpr"][-1] == 1 for line in curves["lines"])


def test_of_very_many_classes_the_curves_of_those_that_are_ranked_worst_are_drawn(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    random = np.random.default_rng(0)
    names = [f"class {number}" for number in range(9)]
    scores = evaluate(random.integers(0, 9, 200), random.dirichlet(np.ones(9), 200), names)
    with app.app_context():
        factories.make_evaluation(factories.make_version(), metrics=scores.model_dump(mode="json"))
    auth.login("viewer")
    html = client.get("/versions/1").text
    worst = sorted(scores.per_class, key=lambda one: float(one.auc.value or 0))[:6]
    assert [line["name"] for line in chart(html, "roc-curves")["lines"]] == [one.class_ for one in worst]
    assert "The 6 classes of 9 that are ranked worst" in html


def chart(html: str, name: str) -> dict[str, Any]:
    """What a chart is drawn from."""
    found = re.search(rf'data-chart-of="{name}">(.*?)</script>', html)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_predictive_values_at_another_prevalence_are_shown_on_request(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    rates = {
        "sensitivity": {"value": 0.9, "low": 0.8, "high": 0.95},
        "specificity": {"value": 0.8, "low": 0.7, "high": 0.9},
    }
    with app.app_context():
        metrics = factories.make_evaluation(factories.make_version()).metrics
        factories.make_evaluation(db.session.get_one(ModelVersion, 1), "validation", metrics={**metrics, **rates})
    auth.login("viewer")
    plain = client.get("/versions/evaluations/2").text
    assert 'name="prevalence"' in plain
    assert '<details class="advanced part" id="prevalence">' in plain
    for text in ("0.01", "0,01"):
        html = client.get(f"/versions/evaluations/2?prevalence={text}").text
        assert "<strong>4.3\u202f%</strong>" in html  # 90 found of 2,070 called positive, as Bayes has it
        assert '<details class="advanced part" id="prevalence" open>' in html


@pytest.mark.parametrize("text", ["7", "0", "nan", "one%20in%20ten"])
def test_a_prevalence_that_is_none_is_refused_beside_its_field(
    app: Flask, client: FlaskClient, auth: Auth, text: str
) -> None:
    with app.app_context():
        factories.make_evaluation(factories.make_version())
    auth.login("viewer")
    html = client.get(f"/versions/1?prevalence={text}").text
    assert 'id="f-prevalence-error"' in html
    assert "must lie between 0 and 1, such as 0.01 for one in 100" in html
    assert "Predictive values at the prevalence asked for" not in html


def test_the_page_tells_what_patients_net_benefit_sets_and_temperature_say(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    metrics, card = reviewed()
    with app.app_context():
        version = factories.make_version()
        version.card = {**version.card, **card}
        factories.make_evaluation(version, metrics=metrics)
    auth.login("viewer")
    html = re.sub(r"\s+", " ", client.get("/versions/1").text)
    assert "with 40 groups (patients): images of one are alike, so whole groups were drawn anew" in html
    assert "Each of the 40 groups (patients) is answered once, with the mean probability of its images" in html
    assert "(sensitivity ≥ 0.90, on validation)" in html
    for part in ("fixed-rates", "patients", "net-benefit", "abstention", "conformal", "recalibration"):
        assert f'<details class="advanced part" id="{part}">' in html
    assert f"<strong>{metrics['calibration']['slope']['value']:.2f}</strong>" in html
    assert "The temperature is reported, not applied" in html
    ece, size = metrics["ece"], metrics["conformal"][0]["set_size"]
    percents = f"{100 * ece['value']:.1f}.%</strong> <small[^>]*>.{100 * ece['low']:.1f}–{100 * ece['high']:.1f}.%"
    assert re.search(f"Expected calibration error</dt><dd[^>]*> <span[^>]*><strong>{percents}", html)
    assert f"({size['low']:.2f} to {size['high']:.2f})" in html
    assert chart(html, "calibration-curve")["bins"] == metrics["calibration"]["bins"]
    assert chart(html, "decision-curve")["low"] == metrics["decision_curve"]["low"]
    assert "Shaded: the model’s 95 % interval" in html
    for name in ("decision-curve", "risk-coverage"):
        assert f'data-chart-of="{name}"' in html


def test_scores_from_before_these_existed_still_have_a_page(app: Flask, client: FlaskClient, auth: Auth) -> None:
    newer = {"mcc", "brier", "sensitivity_at_specificity", "specificity_at_sensitivity", "intervals"}
    newer |= {"decision_curve", "risk_coverage", "conformal", "group_level", "no_group_level", "ece"}
    with app.app_context():
        version = factories.make_version()
        metrics = factories.make_evaluation(version).metrics
        old = {name: value for name, value in metrics.items() if name not in newer}
        old["calibration"] = {name: metrics["calibration"][name] for name in ("of", "brier", "ece", "bins")}
        old["calibration"]["bins"] = [
            {name: value for name, value in one.items() if name != "observed"} for one in old["calibration"]["bins"]
        ]
        older = {"class", "n", "precision", "recall", "f1"}
        old["per_class"] = [{name: one[name] for name in older} for one in metrics["per_class"]]
        db.session.execute(db.text("DELETE FROM evaluation"))
        version.card = {**version.card, "metrics": old}
        db.session.commit()
        assert Card.model_validate(version.card).metrics
    auth.login("viewer")
    html = client.get("/versions/1").text
    assert "Scores on 4" in html
    assert "There are no scores of groups (patients). The release that made these scores did not note why" in html
    assert 'id="recalibration"' not in html


@pytest.mark.parametrize(
    ("truth", "positive_class", "words"),
    [((1, 0, 0, 0, 1, 1), "malignant", "with the highest probability of the positive class among its images"),
     ((1, 0, 0, 0, 1, 1), "malignant", "1 of them has images of both classes: a group is positive where any of"),
     ((1, 0, 0, 0, 1, 1), None, "Each of the 2 groups (patients) is answered once, with the mean probability"),
     ((1, 0, 0, 0, 1, 1), None, "1 more group is left out: its images are of several classes"),
     ((1, 0, 0, 1, 1, 0), None, "no scores of groups (patients). Every one of the 3 groups has images of several")],
)  # fmt: skip
def test_the_page_and_the_report_tell_what_became_of_patients_of_several_classes(
    app: Flask, client: FlaskClient, auth: Auth, truth: tuple[int, ...], positive_class: str | None, words: str
) -> None:
    probabilities_NK = np.stack([np.linspace(0.2, 0.9, 6), np.linspace(0.8, 0.1, 6)], axis=1)
    scores = evaluate(
        np.array(truth), probabilities_NK, ("benign", "malignant"), positive_class, groups=[*"aabbcc"]
    )  # fmt: skip
    with app.app_context():
        factories.make_evaluation(factories.make_version(), metrics=scores.model_dump(mode="json"))
    auth.login("viewer")
    for address in ("/versions/1", "/versions/1/report"):
        assert words in re.sub(r"\s+", " ", client.get(address).text)


def reviewed() -> tuple[dict[str, Any], dict[str, Any]]:
    """The scores of 40 patients with three images each, and what a card holds besides."""
    random = np.random.default_rng(0)
    patient_N = np.repeat(np.arange(40), 3)
    truth_N = (patient_N % 3 == 0).astype(int)
    probability_N = 1 / (1 + np.exp(-random.normal(2 * truth_N - 1, 1.5)))
    probabilities_NK = np.stack([1 - probability_N, probability_N], axis=1)
    point = choose_threshold(truth_N == 1, probability_N, "sensitivity", 0.9)
    rules = conformal.fit(truth_N, probabilities_NK)
    names = [f"patient {number}" for number in patient_N]
    scores = evaluate(truth_N, probabilities_NK, ("benign", "malignant"), "malignant", point, names, rules)
    changed = temperature.compare(truth_N, probabilities_NK, 1, 1.3)
    card = {
        "operating_point": point.model_dump() if point else None,
        "temperature": Temperature(value=1.3, validation=changed, test=changed).model_dump(mode="json"),
    }
    return scores.model_dump(mode="json"), card


def test_a_file_is_sent_under_a_name_that_tells_its_version(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        sha256 = factories.make_version().model_sha256
    auth.login("viewer")
    with client.get("/versions/1/files/model.onnx") as answer:
        assert hashlib.sha256(answer.data).hexdigest() == sha256
        assert answer.headers["ETag"] == f'"{sha256}"'
        assert "version-1-model.onnx" in answer.headers["Content-Disposition"]
        assert answer.content_length == len(answer.data)
    with client.get("/versions/1/files/model.onnx", headers={"If-None-Match": f'"{sha256}"'}) as again:
        assert again.status_code == 304
    assert client.get("/versions/1/files/secret_key").status_code == 404


def test_a_file_is_the_same_from_the_page_and_from_the_interface(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        names = list(factories.make_version().files)
    auth.login("viewer")
    for name in names:
        with client.get(f"/versions/1/files/{name}") as page, client.get(f"/api/v1/versions/1/files/{name}") as answer:
            assert answer.data == page.data
            for header in ("Content-Length", "ETag", "Content-Disposition", "Content-Type"):
                assert answer.headers[header] == page.headers[header]
    assert "model.onnx" in client.get("/api/v1/versions/1/files/nothing").json["detail"]


def test_an_activation_needs_a_reason_and_tells_it_afterwards(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
    auth.login()
    refused = client.post("/versions/1/activate", data=auth.form(reason=" "))
    assert refused.status_code == 422
    assert 'id="f-reason-error"' in refused.text
    assert client.post("/versions/1/activate", data=auth.form(reason="better AUC")).location == "/versions/1"
    html = client.get("/versions/activations").text
    assert "better AUC" in html
    assert "researcher@example.org" in html


def test_a_roll_back_returns_to_the_version_before(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        first = factories.make_version()
        experiment = factories.make_experiment(first.experiment.dataset, status="succeeded")
        for version in (first, factories.make_version(experiment)):
            factories.make_activation(version)
    auth.login()
    assert client.post("/versions/rollback", data=auth.form(reason=" ")).status_code == 422
    assert (
        client.post("/versions/rollback", data=auth.form(reason="too many alarms")).location == "/versions/activations"
    )
    with app.app_context():
        activation = service.active()
        assert activation
        assert (activation.version_id, activation.is_rollback) == (1, True)
    refused = client.post("/versions/rollback", data=auth.form(reason="further"))
    assert refused.status_code == 409
    assert "no earlier version" in refused.text


def test_an_evaluation_on_another_data_set_is_queued_and_watched(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
        factories.make_dataset("External hospital")
        factories.make_dataset("Other classes", classes=("a", "b"))
    auth.login()
    html = client.get("/versions/1").text
    assert "External hospital" in html
    assert "Other classes" not in html
    answer = client.post("/versions/1/evaluations", data=auth.form(dataset_id="2", split="all"))
    assert answer.location == "/versions/evaluations/1"
    assert "Version 1 on all images of External hospital" in client.get(answer.location).text
    assert 'hx-get="/versions/evaluations/1/live"' in client.get("/versions/evaluations/1/live").text


def test_a_finished_evaluation_shows_its_scores_and_is_polled_no_more(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_evaluation(factories.make_version(), split="validation")
    auth.login("viewer")
    html = client.get("/versions/evaluations/1/live").text
    assert "hx-trigger" not in html
    assert "Scores on 4 validation images" in html


def test_a_viewer_may_read_but_not_decide(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
    auth.login("viewer")
    assert "/versions/1/activate" not in client.get("/versions/1").text
    assert client.post("/versions/1/activate", data=auth.form(reason="mine")).status_code == 403
