"""What no client should send: each is refused with a reason, on both kinds of database, and none is a 5xx."""

import itertools
import re

from flask import Flask

from tests.factories import Auth, make_activation
from webapp.api import openapi

DEEP = "[" * 50_000 + "]" * 50_000
BODIES = {
    "empty": b"",
    "null": b"null",
    "a number": b"7",
    "a text": b'"x"',
    "a list": b"[]",
    "deep": DEEP.encode(),
    "deep in a field": b'{"name": ' + DEEP.encode() + b"}",
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "half a surrogate pair": rb'{"name": "\ud800", "reason": "\udfff", "dataset_id": 1, "source": "\ud800"}',
    "a zero byte": rb'{"name": "a\u0000b", "reason": "a\u0000b", "upload": "\u0000", "kind": "\u0000", "k": 2}',
    "a huge number": b'{"dataset_id": ' + b"9" * 5_000 + b', "version": 1e999}',
    "not a number": b'{"dataset_id": NaN, "k": -Infinity}',
    "twice the same name": b'{"name": "a", "name": "b", "reason": 1, "reason": 2}',
}


TEXTS = ("\0", "\ud800".encode("utf-8", "surrogatepass"), "9" * 400, "-1", "%", "'", "٣")
NUMBERS = ("0", "-1", "1.0", "9" * 30, "9" * 4_000, "%00", "%ED%A0%80")
KINDS = ("text/plain", "multipart/form-data", "application/json; charset=utf-7", "x", "")


def operations(app: Flask, verb: str) -> list[tuple[str, openapi.Operation]]:
    """Each of that verb with an address: the first row where it takes a number."""
    return [(re.sub(r"<(\w+:)?\w+>", "1", one.path), one) for one in openapi.operations(app) if one.verb == verb]


def test_a_hostile_body_is_refused_wherever_json_is_taken(any_app: Flask, any_auth: Auth) -> None:
    headers = any_auth.token("write") | {"Content-Type": "application/json"}
    with any_app.app_context():
        make_activation()
    for address, one in operations(any_app, "post"):
        for name, body in BODIES.items() if one.content else ():
            answer = any_auth.client.post(address, data=body, headers=headers)
            assert 400 <= answer.status_code < 500, (address, name, answer.text)


def test_a_hostile_parameter_brings_nothing_down(any_app: Flask, any_auth: Auth) -> None:
    headers = any_auth.token("write")
    with any_app.app_context():
        make_activation()
    for address, one in operations(any_app, "get"):
        for name, text in itertools.product(one.asks.model_fields if one.asks else (), TEXTS):
            answer = any_auth.client.get(address, query_string={name: text}, headers=headers)
            assert answer.status_code < 500, (address, name, answer.text)


def test_a_hostile_number_in_a_path_names_nothing(auth: Auth) -> None:
    headers = auth.token("write")
    for kind in ("datasets", "experiments", "studies", "versions", "evaluations", "batch-predictions"):
        for number in NUMBERS:
            assert auth.client.get(f"/api/v1/{kind}/{number}", headers=headers).status_code == 404


def test_a_verb_that_an_address_does_not_know_is_told_those_that_it_does(auth: Auth) -> None:
    headers = auth.token("write")
    for verb in ("PUT", "PATCH", "TRACE", "PROPFIND"):
        answer = auth.client.open("/api/v1/versions", method=verb, headers=headers)
        assert (answer.status_code, "GET" in answer.headers["Allow"]) == (405, True)
        assert answer.mimetype == "application/problem+json"


def test_a_body_of_an_odd_kind_is_refused(app: Flask, auth: Auth) -> None:
    headers = auth.token("write")
    for address, one in operations(app, "post"):
        for kind in KINDS if one.content else ():
            answer = auth.client.post(address, data=b"--x\r\n", headers=headers | {"Content-Type": kind})
            assert 400 <= answer.status_code < 500, (address, kind, answer.text)
