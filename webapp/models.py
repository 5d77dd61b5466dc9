"""The rows: the truth about data sets, experiments, versions and what was done with them."""

import datetime
import secrets
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ml.artifact import MODEL_FILES
from ml.config import SPLITS, Variant
from webapp.attempted import Attempted as Attempted
from webapp.database import MAX_ID as MAX_ID
from webapp.database import Base, now, one_of
from webapp.database import UtcDateTime as UtcDateTime
from webapp.database import db as db
from webapp.database import find as find
from webapp.database import move as move
from webapp.database import stop as stop
from webapp.database import take_turns as take_turns
from webapp.people import ROLES as ROLES
from webapp.people import SCOPES as SCOPES
from webapp.people import ApiToken as ApiToken
from webapp.people import AuditEvent as AuditEvent
from webapp.people import User as User

DATASET_STATUSES = ("pending", "review", "ready", "rejected")
JOB_STATUSES = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled")
FINAL_STATUSES = ("succeeded", "failed", "cancelled")
SEARCH_STATUSES = ("running", *FINAL_STATUSES)
STUDY_KINDS = ("folds", "seeds")
EVALUATED_SPLITS = (*SPLITS, "all")


class Upload(Base):
    """An archive on its way in, piece by piece; it ends when a data set takes its pieces over, or with time."""

    __tablename__ = "upload"

    id: Mapped[str] = mapped_column(String(43), primary_key=True, default=lambda: secrets.token_urlsafe(32))
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), index=True)
    filename: Mapped[str] = mapped_column(String(200), default="")
    length: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    part_sha256s: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime.datetime] = mapped_column(index=True)
    user: Mapped[User] = relationship()

    @property
    def is_complete(self) -> bool:
        return self.received == self.length


class Dataset(Attempted, Base):
    """A labelled set of images; immutable once ready. Its rows live in the manifest object.

    A changed data set is the next version of its line: a row of its own, with the number of its parent and the change.
    Versions refer to one another by numbers only, so each can be deleted; `given_number` is the highest number that a
    deleted one of the line had, and no other one will have.
    """

    WAITING = WORKING = "pending"
    FAILED = "rejected"
    REASON = "rejected_because"

    __tablename__ = "dataset"
    __table_args__ = (
        one_of("status", DATASET_STATUSES),
        CheckConstraint("status <> 'ready' OR (sha256 IS NOT NULL AND manifest_sha256 IS NOT NULL)", name="ready"),
        CheckConstraint(
            "(CASE WHEN archive_part_sha256s IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN source_name IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN parent_number IS NULL THEN 0 ELSE 1 END) = 1",
            name="origin",
        ),
        UniqueConstraint("line", "number"),
        {"sqlite_autoincrement": True},  # the id of a deleted data set, which the audit trail names, is not given again
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20), default="pending", index=True)
    rejected_because: Mapped[str | None] = mapped_column(Text)
    archive_part_sha256s: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    source_name: Mapped[str | None] = mapped_column(String(40))
    line: Mapped[str] = mapped_column(String(22), default=lambda: secrets.token_urlsafe(16))
    number: Mapped[int] = mapped_column(default=1)
    given_number: Mapped[int] = mapped_column(default=0, server_default="0")
    parent_number: Mapped[int | None]
    change: Mapped[dict[str, Any]] = mapped_column(default=dict)
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    needs_review: Mapped[bool] = mapped_column(default=False)
    preview: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    manifest_sha256: Mapped[str | None] = mapped_column(String(64))
    pack_sha256s: Mapped[list[Any]] = mapped_column(default=list)
    images: Mapped[int] = mapped_column(default=0)
    groups: Mapped[int] = mapped_column(default=0)
    classes: Mapped[list[Any]] = mapped_column(default=list)
    positive_class: Mapped[str | None] = mapped_column(String(200))
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    created_by: Mapped[User | None] = relationship()


class Study(Base):
    """One configuration trained k times: on k folds of a data set, or from k seeds. Its members are experiments."""

    __tablename__ = "study"
    __table_args__ = (one_of("kind", STUDY_KINDS), CheckConstraint("k BETWEEN 2 AND 20", name="k"))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    k: Mapped[int]
    config: Mapped[dict[str, Any]]
    pooled: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # metrics of all folds together
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    created_by: Mapped[User | None] = relationship()
    dataset: Mapped[Dataset] = relationship()
    members: Mapped[list["Experiment"]] = relationship(order_by="Experiment.member", back_populates="study")


class Search(Base):
    """A search for better settings. Its trials are experiments, made one after another from what the others scored."""

    __tablename__ = "search"
    __table_args__ = (one_of("status", SEARCH_STATUSES),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), index=True)
    config: Mapped[dict[str, Any]]  # what the trials have in common
    plan: Mapped[dict[str, Any]]  # an `ml.space.Plan`
    status: Mapped[str] = mapped_column(String(20), default="running", index=True)
    failed_because: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime.datetime | None]
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    created_by: Mapped[User | None] = relationship()
    dataset: Mapped[Dataset] = relationship()
    trials: Mapped[list["Experiment"]] = relationship(order_by="Experiment.trial", back_populates="search")


class Experiment(Attempted, Base):
    """One training run: a configuration on a data set, its attempts and what became of it."""

    __tablename__ = "experiment"
    __table_args__ = (
        one_of("status", JOB_STATUSES),
        CheckConstraint("(study_id IS NULL) = (member IS NULL)", name="member"),
        UniqueConstraint("study_id", "member"),
        CheckConstraint("(search_id IS NULL) = (trial IS NULL)", name="trial"),
        UniqueConstraint("search_id", "trial"),
    )
    OF_ATTEMPT = ("device", "images_per_s", "eta_s")

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), index=True)
    config: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(20), default="queued", index=True)
    failed_because: Mapped[str | None] = mapped_column(Text)
    device: Mapped[str | None] = mapped_column(String(100))
    images_per_s: Mapped[float | None]
    eta_s: Mapped[float | None]
    checkpoint_sha256: Mapped[str | None] = mapped_column(String(64))
    checkpoint_epoch: Mapped[int] = mapped_column(default=0)
    study_id: Mapped[int | None] = mapped_column(ForeignKey("study.id"))
    member: Mapped[int | None]  # from 1 to k
    search_id: Mapped[int | None] = mapped_column(ForeignKey("search.id"))
    trial: Mapped[int | None]  # from 1
    pruned_epoch: Mapped[int | None]  # after which its search gave it up
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    created_by: Mapped[User | None] = relationship()
    dataset: Mapped[Dataset] = relationship()
    study: Mapped[Study | None] = relationship(back_populates="members")
    search: Mapped[Search | None] = relationship(back_populates="trials")
    epochs: Mapped[list["Epoch"]] = relationship(order_by="Epoch.number", back_populates="experiment")
    version: Mapped["ModelVersion | None"] = relationship(back_populates="experiment")

    @classmethod
    def kept(cls) -> Any:
        return 1.0 * cls.checkpoint_epoch / cls.config["epochs"].as_integer()


class RateSearch(Attempted, Base):
    """A learning-rate range test of a configuration on a data set, and its curve."""

    __tablename__ = "rate_search"
    __table_args__ = (one_of("status", JOB_STATUSES),)
    OF_ATTEMPT = ("device",)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), index=True)
    config: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(20), default="queued", index=True)
    failed_because: Mapped[str | None] = mapped_column(Text)
    device: Mapped[str | None] = mapped_column(String(100))
    curve: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # an `ml.rate_curve.RateCurve`
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    created_by: Mapped[User | None] = relationship()
    dataset: Mapped[Dataset] = relationship()


class Epoch(Base):
    """What one epoch measured. A resumed run overwrites the epochs that it trains again."""

    __tablename__ = "epoch"
    __table_args__ = (UniqueConstraint("experiment_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiment.id"))
    number: Mapped[int]
    attempt: Mapped[int]
    train_loss: Mapped[float]
    train_accuracy: Mapped[float]
    validation_loss: Mapped[float]
    validation_accuracy: Mapped[float]
    validation_auc: Mapped[float | None]
    learning_rate: Mapped[float]
    seconds: Mapped[float]
    images_per_s: Mapped[float]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    experiment: Mapped[Experiment] = relationship(back_populates="epochs")


class ModelVersion(Base):
    """A finished, immutable model: its files in the store, the card that explains it, and what a person says it is for.

    `intended_use` is empty until somebody has written it; then it has a writer and a moment.
    """

    __tablename__ = "model_version"

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiment.id"), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    network: Mapped[str] = mapped_column(String(40))
    classes: Mapped[list[Any]]
    positive_class: Mapped[str | None] = mapped_column(String(200))
    files: Mapped[dict[str, Any]]
    card: Mapped[dict[str, Any]]
    removed_groups: Mapped[list[Any]] = mapped_column(default=list)  # learned from, and later taken out of the data
    intended_use: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    intended_use_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    intended_use_at: Mapped[datetime.datetime | None]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    intended_use_by: Mapped[User | None] = relationship()
    experiment: Mapped[Experiment] = relationship(back_populates="version")

    @property
    def model_sha256(self) -> str:
        return self.graph_sha256("float32")

    def graph_sha256(self, variant: Variant) -> str:
        """Of the file that serves in this variant, which the version must have."""
        return str(self.files[MODEL_FILES[variant]])


class Activation(Base):
    """Append-only pointer: the newest row names the version that serves, and in which variant."""

    __tablename__ = "activation"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    variant: Mapped[Variant] = mapped_column(String(20), default="float32", server_default="float32")
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    reason: Mapped[str] = mapped_column(Text)
    is_rollback: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    version: Mapped[ModelVersion] = relationship()
    user: Mapped[User] = relationship()


class Evaluation(Attempted, Base):
    """Scores of one version on one split of one data set."""

    __tablename__ = "evaluation"
    __table_args__ = (
        one_of("status", JOB_STATUSES),
        one_of("split", EVALUATED_SPLITS),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), index=True)
    split: Mapped[str] = mapped_column(String(20), default="test")
    status: Mapped[str] = mapped_column(String(20), default="queued", index=True)
    failed_because: Mapped[str | None] = mapped_column(Text)
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    confident_errors: Mapped[list[Any]] = mapped_column(default=list)
    predictions_sha256: Mapped[str | None] = mapped_column(String(64))
    evidence_sha256: Mapped[str | None] = mapped_column(String(64))  # maps and nearest training images
    is_stressed: Mapped[bool] = mapped_column(default=False, server_default=false())  # whether robustness is asked for
    robustness: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    version: Mapped[ModelVersion] = relationship()
    dataset: Mapped[Dataset] = relationship()


class BatchPrediction(Attempted, Base):
    """The images of an archive scored by one version. Neither file names nor answers: these are in the results."""

    __tablename__ = "batch_prediction"
    __table_args__ = (one_of("status", JOB_STATUSES),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    archive_part_sha256s: Mapped[list[Any]] = mapped_column(default=list)
    status: Mapped[str] = mapped_column(String(20), default="queued", index=True)
    failed_because: Mapped[str | None] = mapped_column(Text)
    images: Mapped[int] = mapped_column(default=0)
    errors: Mapped[int] = mapped_column(default=0)  # images that could not be scored
    left_out: Mapped[int] = mapped_column(default=0)  # files that are no images
    results_sha256: Mapped[str | None] = mapped_column(String(64))
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    version: Mapped[ModelVersion] = relationship()


class Prediction(Base):
    """One answer of `/predict`. No image, no file name: neither may carry a patient's identity here.

    An image outside the domain of the version has no label; one of which the version abstained has one that is no
    decision.
    """

    __tablename__ = "prediction"
    __table_args__ = tuple(  # what a list is filtered by, newest first
        Index(f"ix_prediction_{column}_created_at", column, "created_at")
        for column in ("version_id", "label", "user_id", "token_id")
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    variant: Mapped[Variant] = mapped_column(String(20), default="float32", server_default="float32")
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    token_id: Mapped[int | None] = mapped_column(ForeignKey("api_token.id"))
    request_id: Mapped[str] = mapped_column(String(64), index=True)
    place: Mapped[int] = mapped_column(default=0, server_default="0")  # of the image within its request
    image_sha256: Mapped[str] = mapped_column(String(64))
    label: Mapped[str | None] = mapped_column(String(200))
    probability: Mapped[float | None]
    probabilities: Mapped[dict[str, Any]]
    is_abstained: Mapped[bool] = mapped_column(default=False, server_default=false())
    embedding_distance: Mapped[float | None]  # the guard's, in parts of its limit; None without a guard
    look_distance: Mapped[float | None]
    latency_ms: Mapped[float]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now, index=True)
    version: Mapped[ModelVersion] = relationship()
    user: Mapped[User] = relationship()
    token: Mapped[ApiToken | None] = relationship()
    feedback: Mapped["Feedback | None"] = relationship(back_populates="prediction")


class Feedback(Base):
    """The truth of an answered image, as a client learned it later."""

    __tablename__ = "feedback"

    id: Mapped[int] = mapped_column(primary_key=True)
    prediction_id: Mapped[int] = mapped_column(ForeignKey("prediction.id"), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    truth: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    prediction: Mapped[Prediction] = relationship(back_populates="feedback")
