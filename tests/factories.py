"""Builders of rows with real content, for use within an application context; nothing is committed behind services."""

import contextlib
import functools
import io
import re
import tempfile
from pathlib import Path
from typing import Any

from flask import current_app
from flask.testing import FlaskClient
from sqlalchemy import select

from ml import evaluation
from ml.artifact import Card, TrainedOn
from ml.config import SPLITS, TrainConfig
from ml.pack import PackReader
from ml.serving import Predictor
from tests.ml import small_dataset, small_version
from webapp import security
from webapp.datasets import contents
from webapp.models import (
    Activation,
    ApiToken,
    Dataset,
    Epoch,
    Evaluation,
    Experiment,
    ModelVersion,
    Prediction,
    User,
    db,
)
from webapp.storage import Store

PASSWORD = "correct horse battery"
CSRF_FIELD = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


class Auth:
    """Logs people in on a client through the real form, and makes tokens for client systems."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def login(self, role: str = "researcher", email: str | None = None) -> int:
        """The id of a person of that role, who is logged in on the client from now on."""
        with self.client.application.app_context():
            user_id = find_user(role, email).id
        answer = self.client.post("/login", data=self.form(email=email or f"{role}@example.org", password=PASSWORD))
        assert answer.status_code == 302, answer.text
        return user_id

    def logout(self) -> None:
        self.client.post("/logout", data=self.form())

    def form(self, **fields: Any) -> dict[str, Any]:
        """The fields of a form with the forgery token that the client's session was given by a page."""
        return {**fields, "csrf_token": self.csrf()}

    def csrf(self) -> str:
        found = CSRF_FIELD.search(self.client.get("/login", follow_redirects=True).text)
        assert found, "the login page carries no forgery token"
        return found[1]

    def token(self, scope: str = "write", role: str = "researcher") -> dict[str, str]:
        """The headers of a client system whose token belongs to a person of that role."""
        with self.client.application.app_context():
            return bearer(make_token(find_user(role), scope))


def find_user(role: str = "researcher", email: str | None = None) -> User:
    """The person of that role, made where there is none yet."""
    found = db.session.scalar(select(User).where(User.email == (email or f"{role}@example.org")))
    return found or make_user(role, email)


def make_user(role: str = "researcher", email: str | None = None, **values: Any) -> User:
    user = User(email=email or f"{role}@example.org", password_hash=_password_hash(), role=role, **values)
    return _saved(user)


@functools.cache
def _password_hash() -> str:
    return security.hash_password(PASSWORD)


def make_token(user: User, scope: str = "write", **values: Any) -> str:
    """The secret of a new token."""
    secret = security.new_token()
    _saved(ApiToken(user=user, name=scope, scope=scope, hint=secret[:8], sha256=security.digest(secret), **values))
    return secret


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def make_dataset(name: str = "Small", user: User | None = None, **values: Any) -> Dataset:
    """A ready data set with 8 train, 4 validation and 4 test images, which lie in the store.

    `train`, `validation`, `test`, `size_px` and `classes` change the images, other values the row.
    """
    shape = {key: values.pop(key) for key in ("train", "validation", "test", "size_px", "classes") if key in values}
    with tempfile.TemporaryDirectory() as folder:
        built = small_dataset.build(Path(folder) / "images", **shape)
        built.manifest.write(Path(folder) / "manifest")
        facts = {
            "archive_part_sha256s": [_kept(b"the archive, gone after its ingest")],
            "sha256": built.manifest.content_sha256(),
            "manifest_sha256": _kept(Path(folder) / "manifest"),
            "pack_sha256s": [_kept(path) for path in sorted((Path(folder) / "images").glob("pack-*.zip"))],
            "images": len(built.manifest.rows),
            "classes": [{"name": label, **counts} for label, counts in built.manifest.counts().items()],
            "positive_class": built.manifest.positive_class,
            "report": {"images": len(built.manifest.rows), "rejected": [], "left_out": [], "issues": []},
        }
        built.packs.close()
    if {"source_name", "parent_number"} & values.keys():
        del facts["archive_part_sha256s"]
    return _saved(Dataset(**{"name": name, "status": "ready", "progress": 1.0, "created_by": user, **facts, **values}))


def make_experiment(dataset: Dataset | None = None, user: User | None = None, **values: Any) -> Experiment:
    """A queued experiment; `status` and the like change it."""
    config = values.pop("config", TrainConfig(epochs=1, image_size_px=32))
    facts = {"name": "Experiment", "config": config.model_dump(mode="json"), "created_by": user}
    return _saved(Experiment(dataset=dataset or make_dataset(), **{**facts, **values}))


def make_version(
    experiment: Experiment | None = None,
    leaning: float = 0.0,
    explains: bool = True,
    is_exported: bool = False,
    **values: Any,
) -> ModelVersion:
    """A version whose graph tells bright images from dark ones; `leaning` draws it towards the last class.

    Without `explains` it is one of an old release, which gives nothing but probabilities. With `is_exported` its graph
    is the network of the experiment's configuration instead, untrained, as an export writes it.
    """
    experiment = experiment or make_experiment(status="succeeded", progress=1.0)
    manifest = contents.manifest_of(experiment.dataset)
    config = TrainConfig.model_validate(experiment.config)
    counts = {split: len(manifest.of_split(split)) for split in SPLITS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        origin = TrainedOn(name=experiment.dataset.name, sha256=str(experiment.dataset.sha256), images=counts)
        described = small_version.card(manifest.classes, config.image_size_px).model_copy(
            update={"name": experiment.name, "network": config.network, "config": config, "dataset": origin}
        )
        if is_exported:
            card = _exported(folder, described)
        else:
            card = small_version.write(folder, described, leaning, explains)
        files = {path.name: _kept(path) for path in sorted(folder.iterdir())}
    facts = {
        "name": card.name,
        "network": card.network,
        "classes": list(card.classes),
        "files": files,
        "positive_class": card.positive_class,
        "card": card.model_dump(mode="json"),
    }
    return _saved(ModelVersion(experiment=experiment, **{**facts, **values}))


def _exported(folder: Path, described: Card) -> Card:
    from tests.ml import exported_version  # with torch, which most tests do without

    return exported_version.write(folder, described)


def make_evaluation(version: ModelVersion, split: str = "test", **values: Any) -> Evaluation:
    """A finished evaluation on the version's own data set, with its real scores."""
    dataset, card = version.experiment.dataset, Card.model_validate(version.card)
    manifest = contents.manifest_of(dataset)
    with contextlib.ExitStack() as stack:
        predictor = Predictor(stack.enter_context(_store().fetch(version.model_sha256)), card)
        paths = [stack.enter_context(_store().fetch(sha256)) for sha256 in dataset.pack_sha256s]
        packs = stack.enter_context(PackReader(paths))
        scored = evaluation.evaluate_split(predictor, manifest, packs, split, None, lambda done, total: None)
    facts = {
        "metrics": scored.metrics.model_dump(mode="json"),
        "confident_errors": [error.model_dump(mode="json") for error in evaluation.confident_errors(scored)],
        "status": "succeeded",
        "progress": 1.0,
        "dataset": dataset,
    }
    return _saved(Evaluation(version=version, split=split, **{**facts, **values}))


def make_epoch(experiment: Experiment, number: int = 1, **values: Any) -> Epoch:
    scores = {
        "train_loss": 0.7 / number,
        "train_accuracy": 0.6,
        "validation_loss": 0.8 / number,
        "validation_accuracy": 0.55,
        "validation_auc": 0.6,
        "learning_rate": 1e-3,
        "seconds": 2.0,
        "images_per_s": 120.0,
    }
    return _saved(Epoch(experiment=experiment, number=number, **{"attempt": 1, **scores, **values}))


def make_activation(version: ModelVersion | None = None, user: User | None = None, **values: Any) -> Activation:
    who = user or find_user("researcher")
    return _saved(Activation(version=version or make_version(), user=who, **{"reason": "for a test", **values}))


def make_prediction(
    version: ModelVersion, label: str | None = None, probability: float = 0.9, **values: Any
) -> Prediction:
    """An answer of the version to a researcher in the browser: by default that of its last class."""
    label = label or version.classes[-1]
    others = (1 - probability) / (len(version.classes) - 1)
    facts = {
        "user": values.pop("user", None) or find_user("researcher"),
        "request_id": "0123456789abcdef",
        "image_sha256": "a" * 64,
        "label": label,
        "probability": probability,
        "probabilities": {name: probability if name == label else others for name in version.classes},
        "latency_ms": 5.0,
    }
    return _saved(Prediction(version=version, **{**facts, **values}))


def _store() -> Store:
    store: Store = current_app.extensions["store"]
    return store


def _kept(content: Path | bytes) -> str:
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as stream:
        return _store().keep(stream)


def _saved(row: Any) -> Any:
    db.session.add(row)
    db.session.commit()
    return row
