"""Searches: trials that are ordinary experiments, made one after another, judged by validation alone."""

import pytest
from flask import Flask
from sqlalchemy import select

from jobs import janitor
from ml.config import TrainConfig
from ml.space import SENSIBLE, Dimension, Plan
from tests.factories import find_user, make_dataset, make_epoch, make_experiment
from webapp import queue
from webapp.datasets import service as datasets
from webapp.errors import Conflict, Invalid, NotFound
from webapp.experiments import service as experiments
from webapp.models import Experiment, Search, db
from webapp.searches import results, service

PLAN = Plan(trials=3, space={"learning_rate": SENSIBLE["learning_rate"], "optimizer": SENSIBLE["optimizer"]})


def make_search(plan: Plan = PLAN, **config: object) -> Search:
    return service.create(make_dataset().id, "Better", TrainConfig(epochs=3, **config), plan, find_user())


def end(row: Experiment, *scores: float, status: str = "succeeded", **values: object) -> None:
    """The trial as a worker leaves it, with these scores of its epochs; its search is led on."""
    for number, score in enumerate(scores, 1):
        make_epoch(row, number, validation_auc=score, validation_loss=1 - score)
    for name, value in {"status": status, **values}.items():
        setattr(row, name, value)
    db.session.commit()
    service.advance_with(row.id)


def test_a_trial_is_an_ordinary_experiment_with_drawn_settings(any_context: Flask) -> None:
    search = make_search(dropout=0.4)
    (row,) = search.trials
    assert (row.status, row.trial, row.name) == ("queued", 1, "Better (trial 1)")
    assert 1e-5 <= row.config["learning_rate"] <= 0.1
    assert row.config | {"learning_rate": 0, "optimizer": ""} == search.config | {"learning_rate": 0, "optimizer": ""}
    assert queue.rows(queue.TRAIN)[0] == row.id


def test_each_trial_that_ends_makes_room_for_the_next_until_all_are_done(any_context: Flask) -> None:
    search = make_search()
    for score in (0.6, 0.8, 0.7):
        end(search.trials[-1], 0.5, score)
        db.session.refresh(search)
    assert [row.trial for row in search.trials] == [1, 2, 3]
    assert len({row.config["learning_rate"] for row in search.trials}) == 3
    assert (search.status, results.of(search).best) == ("succeeded", 2)
    assert search.finished_at is not None


def test_leading_on_twice_makes_one_trial(context: Flask) -> None:
    search = make_search()
    service.advance(search.id)
    service.advance(search.id)
    assert len(db.session.scalars(select(Experiment)).all()) == 1


def test_as_many_trials_wait_or_run_as_there_are_workers(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "workers", lambda: [{}, {}])
    search = make_search()
    assert len(search.trials) == 2
    end(search.trials[0], 0.6)
    db.session.refresh(search)
    assert [row.status for row in search.trials] == ["succeeded", "queued", "queued"]


def test_the_janitor_leads_on_where_a_worker_was_lost(context: Flask) -> None:
    search = make_search()
    search.trials[0].status = "failed"
    db.session.commit()
    janitor.round_once(context)
    db.session.refresh(search)
    assert [row.status for row in search.trials] == ["failed", "queued"]


def test_a_search_whose_plan_gives_no_trial_any_more_ends_and_holds_up_no_other(context: Flask) -> None:
    broken, sound = make_search(), make_search()
    broken.plan = broken.plan | {"space": {"image_size_px": {"choices": ["64", 32]}}}  # as another release kept it
    for search in (broken, sound):
        search.trials[0].status = "failed"
    db.session.commit()
    janitor.round_once(context)
    db.session.refresh(broken)
    assert broken.status == "failed"
    assert "could not be drawn" in str(broken.failed_because)
    assert [row.status for row in sound.trials] == ["failed", "queued"]


def test_a_search_in_which_every_trial_fails_ends_and_says_why(context: Flask) -> None:
    search = make_search(PLAN.model_copy(update={"trials": 9}))
    for _ in range(service.IN_VAIN):
        end(search.trials[-1], status="failed", failed_because="The loss was no longer a number.")
        db.session.refresh(search)
    assert (search.status, len(search.trials)) == ("failed", service.IN_VAIN)
    assert "no longer a number" in search.failed_because


def test_the_score_is_that_of_the_validation_images_in_the_epoch_that_is_kept(context: Flask) -> None:
    search = make_search()
    (row,) = search.trials
    end(row, 0.9, 0.2, 0.3)  # the first epoch is kept: far better than the others
    (trial, _) = results.of(search).trials
    assert (trial.score, trial.score_by_epoch) == (0.9, {1: 0.9, 2: 0.2, 3: 0.3})


def test_a_poor_trial_is_given_up_and_counts_as_pruned_until_a_person_resumes_it(context: Flask) -> None:
    search = make_search(PLAN.model_copy(update={"trials": 8, "pruning": "halving"}))
    for score in (0.8, 0.9):
        end(search.trials[-1], score)
        db.session.refresh(search)
    third = search.trials[2]
    make_epoch(third, 1, validation_auc=0.5)
    assert service.is_hopeless(third.id)
    end(third, status="cancelled", pruned_epoch=1)
    assert [trial.state for trial in results.of(search).trials] == ["finished", "finished", "pruned", "running"]
    experiments.resume(third, find_user())
    assert not service.is_hopeless(third.id)


def test_an_experiment_without_a_search_is_left_alone(context: Flask) -> None:
    row = make_experiment()
    end(row, 0.1)
    assert not service.is_hopeless(row.id)
    assert db.session.scalars(select(Experiment)).all() == [row]


def test_cancelling_ends_the_search_and_what_it_queued(any_context: Flask) -> None:
    search = make_search()
    search.trials[0].status = "running"
    db.session.commit()
    service.cancel(search, find_user())
    assert (search.status, service.status(search), search.trials[0].status) == ("cancelled", "cancelling", "cancelling")
    end(search.trials[0], status="cancelled")
    db.session.refresh(search)
    assert (len(search.trials), service.status(search)) == (1, "cancelled")
    with pytest.raises(Conflict, match="only a running one"):
        service.cancel(search, find_user())


@pytest.mark.parametrize(
    ("plan", "config", "field"),
    [
        ({"space": {}}, {}, "plan.space"),
        ({"space": {"dropout": Dimension(low=0, high=3)}}, {}, "plan.space"),
        ({}, {"initial_weights": "version:9"}, "config.initial_weights"),
    ],
)
def test_what_cannot_be_searched_is_refused_at_its_field(
    context: Flask, plan: dict[str, object], config: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        make_search(PLAN.model_copy(update=plan), **config)
    assert field in refused.value.fields
    assert db.session.query(Search).count() == 0


def test_the_area_under_the_curve_needs_two_classes(context: Flask) -> None:
    dataset = make_dataset(classes=("a", "b", "c"))
    with pytest.raises(Invalid, match="of two classes"):
        service.create(dataset.id, "Three", TrainConfig(), PLAN, find_user())
    loss = PLAN.model_copy(update={"metric": "loss"})
    assert service.create(dataset.id, "Three", TrainConfig(), loss, find_user()).status == "running"


def test_a_data_set_stays_while_a_search_depends_on_it(context: Flask) -> None:
    search, user = make_search(), find_user("admin")
    with pytest.raises(Conflict, match=f"searches {search.id}"):
        datasets.delete(search.dataset, user)
    with pytest.raises(NotFound):
        service.get(99)
