"""The preview of random changes on the form of an experiment."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests import factories
from tests.factories import Auth

ADDRESS = "/experiments/augmentations?dataset_id=1&config.image_size_px=32"
PICTURE = re.compile(r'src="(data:image/jpeg;base64,[^"]+)"')


def _pictures(client: FlaskClient, query: str) -> list[str]:
    return PICTURE.findall(client.get(f"{ADDRESS}&config.augmentation.crop_scale=1&{query}").text)


def test_one_training_image_is_shown_as_it_is_and_through_12_draws(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    original, *draws = _pictures(client, "config.augmentation.rotation_degrees=90")
    assert len(set(draws)) == 12
    assert original not in draws
    assert _pictures(client, "config.augmentation.rotation_degrees=90") == [original, *draws]
    off = "config.augmentation.rotation_degrees=0&config.augmentation.color_jitter=0"
    assert set(_pictures(client, off)) == {original}
    flipped = _pictures(client, f"{off}&config.augmentation.horizontal_flip=on")
    assert len(set(flipped)) == 2


@pytest.mark.parametrize(
    "query",
    ["config.augmentation.crop_scale=9", "config.augmentation.rotation_degrees=much", "config.image_size_px=100000",
     "dataset_id=77", "dataset_id=", "config.augmentation.color_jitter=nan"],
)  # fmt: skip
def test_a_bad_value_is_a_sentence(app: Flask, client: FlaskClient, auth: Auth, query: str) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    answer = client.get(f"/experiments/augmentations?{query}" + ("" if "dataset_id" in query else "&dataset_id=1"))
    assert answer.status_code == 422
    assert 'class="alert' in answer.text


@pytest.mark.parametrize("number", ["-5", "3", "8", "999999999999999999999", "x"])
def test_any_number_leads_to_a_training_image(app: Flask, client: FlaskClient, auth: Auth, number: str) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    assert client.get(f"{ADDRESS}&number={number}").status_code == 200
    assert client.get(f"{ADDRESS}&number={number}&another=1").status_code == 200


def test_the_form_asks_for_the_preview_with_no_more_than_it_needs(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    page = client.get("/experiments/new").text
    params = re.search(r'hx-params="([^"]+)"', page)
    assert params is not None
    assert "config.augmentation.crop_scale" in params[1]
    assert "csrf" not in params[1]
