"""Studies: members that are ordinary experiments, limits that are explained, and scores over all of them."""

import pytest
from flask import Flask

from ml.config import TrainConfig
from ml.folding import Member, as_seen
from tests.answers import make_answered
from tests.factories import make_dataset, make_user, make_version
from webapp import queue
from webapp.datasets import contents
from webapp.datasets import service as datasets
from webapp.errors import Conflict, Invalid, NotFound
from webapp.models import Study, db
from webapp.registry import answers
from webapp.studies import members, pooling, results, service


def make_study(kind: str = "folds", k: int = 3, **config: object) -> Study:
    return service.create(make_dataset().id, "Five", kind, k, TrainConfig(epochs=1, **config), make_user())


def finish(study: Study, *aucs: float) -> None:
    """Members that have ended, with scores from made-up answers."""
    for row, share in zip(study.members, aucs, strict=False):
        row.status = "succeeded"
        db.session.commit()
        make_answered(make_version(row), [0.4, share])


def test_seeds_are_trained_one_after_another_from_the_first(any_context: Flask) -> None:
    study = make_study("seeds", 3, seed=7)
    assert [row.config["seed"] for row in study.members] == [7, 8, 9]
    assert [row.member for row in study.members] == [1, 2, 3]
    assert [row.name for row in study.members] == [f"Five (seed {number} of 3)" for number in (1, 2, 3)]
    assert queue.rows(queue.TRAIN) == [row.id for row in study.members]


def test_folds_share_one_configuration_and_differ_by_their_number(any_context: Flask) -> None:
    study = make_study(seed=7)
    assert [row.config for row in study.members] == [study.config] * 3
    found = members.of(study.members[1])
    assert found == Member(study=study.id, kind="folds", number=2, k=3, seed=7)


@pytest.mark.parametrize(
    ("kind", "k", "config", "field"),
    [
        ("loops", 3, {}, "kind"),
        ("seeds", 1, {}, "k"),
        ("seeds", 21, {}, "k"),
        ("folds", 2, {}, "k"),
        ("folds", 9, {}, "k"),
        ("seeds", 3, {"seed": 2**31 - 2}, "config.seed"),
        ("folds", 3, {"initial_weights": "version:99"}, "config.initial_weights"),
    ],
)
def test_what_cannot_be_made_is_refused_at_its_field(
    context: Flask, kind: str, k: int, config: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        make_study(kind, k, **config)
    assert field in refused.value.fields
    assert db.session.query(Study).count() == 0


def test_folds_do_not_start_from_a_version_that_may_have_seen_their_images(context: Flask) -> None:
    version = make_version()
    with pytest.raises(Invalid, match="may have seen"):
        make_study(initial_weights=f"version:{version.id}", network=version.network)


def test_cancelling_stops_all_members_that_have_not_ended(any_context: Flask) -> None:
    study, user = make_study(), make_user("admin")
    first, second, _ = study.members
    first.status, second.status = "succeeded", "running"
    db.session.commit()
    service.cancel(study, user)
    assert [row.status for row in study.members] == ["succeeded", "cancelling", "cancelled"]
    assert service.status(study) == "cancelling"
    second.status = "cancelled"
    db.session.commit()
    with pytest.raises(Conflict, match="is over"):
        service.cancel(study, user)
    assert service.status(study) == "cancelled"


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (["queued"] * 3, "queued"),
        (["succeeded", "queued", "queued"], "running"),
        (["succeeded", "running", "queued"], "running"),
        (["succeeded", "failed", "cancelled"], "failed"),
        (["succeeded"] * 3, "succeeded"),
    ],
)
def test_the_status_is_what_the_members_make_of_it(context: Flask, found: list[str], status: str) -> None:
    study = make_study()
    for row, value in zip(study.members, found, strict=True):
        row.status = value
    assert service.status(study) == status


def test_a_data_set_stays_while_a_study_depends_on_it(context: Flask) -> None:
    study = make_study()
    with pytest.raises(Conflict, match=f"studies {study.id}"):
        datasets.delete(study.dataset, make_user("admin"))


def test_a_study_that_is_not_there_is_not_found(context: Flask) -> None:
    with pytest.raises(NotFound):
        service.get(9)


def test_scores_are_spread_over_the_members_that_have_ended(context: Flask) -> None:
    study = make_study("seeds")
    finish(study, 0.6, 0.3)
    found = results.of(study)
    assert (found.finished, found.spreads["auc"].n) == (2, 2)
    values = [one.metrics["auc"]["value"] for one in found.members if one.metrics]
    assert found.spreads["auc"].interval.value == pytest.approx(sum(values) / 2)
    assert found.spreads["auc"].corrected is None


def test_folds_have_a_wider_corrected_interval(context: Flask) -> None:
    study = make_study()
    finish(study, 0.6, 0.3, 0.6)
    one = results.of(study).spreads["accuracy"]
    assert one.corrected is not None
    assert one.deviation is not None
    assert one.corrected.high is not None
    assert one.interval.high is not None
    assert one.corrected.high >= one.interval.high


def test_pooled_scores_wait_for_the_last_fold_and_are_made_up_for_where_its_worker_was_lost(context: Flask) -> None:
    study = make_study()
    finish(study, 0.6, 0.3)
    pooling.pool_missed()
    assert study.pooled is None
    study.members[2].status = "succeeded"
    db.session.commit()
    pooling.pool_missed()
    assert study.pooled is None  # its answers are not there
    make_answered(make_version(study.members[2]), [0.4, 0.6])
    pooling.pool_missed()
    assert study.pooled is not None
    assert study.pooled["n"] == 16
    assert sum(map(sum, study.pooled["confusion"]["matrix"])) == 16


def test_seeds_are_not_pooled(context: Flask) -> None:
    study = make_study("seeds", 2)
    finish(study, 0.6, 0.3)
    assert not pooling.pool(study.id)


def test_a_member_has_learned_the_training_images_of_its_fold(context: Flask) -> None:
    study = make_study()
    finish(study, 0.6)
    version, rows = study.members[0].version, contents.manifest_of(study.dataset).rows
    assert version is not None
    seen = as_seen(contents.manifest_of(study.dataset), members.of(study.members[0]))
    assert answers.is_learned(version, rows).tolist() == [row.split == "train" for row in seen.rows]
