"""The queue is a bell: ringing is cheap, may be done twice, and may fail without harm."""

import datetime
import json
import zlib

import pytest
from flask import Flask
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from jobs import janitor
from tests import factories
from tests.conftest import application
from webapp import queue
from webapp.models import now
from webapp.settings import Settings


def test_ringing_twice_makes_one_job(context: Flask) -> None:
    assert queue.ring(queue.TRAIN, 7)
    assert queue.ring(queue.TRAIN, 7)
    assert queue.lengths() == {"ingest": 0, "evaluation": 0, "learning-rate": 0, "prediction": 0, "training": 1}


def test_many_rows_are_rung_for_by_reading_the_queue_once(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The janitor must not read a long queue again for each row that waits in it: nobody frees lost rows meanwhile."""
    read, looks = Queue.get_job_ids, []
    monkeypatch.setattr(Queue, "get_job_ids", lambda self: looks.append(self.name) or read(self))
    queue.ring(queue.TRAIN, 2)
    looks.clear()
    assert queue.ring_each(queue.TRAIN, [1, 2, 3]) == [1, 2, 3]
    assert looks == ["training"]
    assert queue.rows(queue.TRAIN) == [2, 1, 3]


def test_the_janitor_rings_for_those_first_that_were_unheard_longest(
    context: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "MOST_RUNG", 2)
    long_ago, earlier = now() - datetime.timedelta(hours=2), now() - datetime.timedelta(hours=1)
    dataset = factories.make_dataset()
    ids = [factories.make_experiment(dataset, rung_at=moment).id for moment in (earlier, long_ago, None)]
    janitor.ring_waiting()
    assert queue.rows(queue.TRAIN) == [ids[2], ids[1]]
    janitor.ring_waiting()
    assert queue.rows(queue.TRAIN) == ids[::-1]


def test_rows_with_similar_numbers_have_jobs_of_their_own(context: Flask) -> None:
    for row_id in (1, 11, 12):
        queue.ring(queue.TRAIN, row_id)
    queue.ring(queue.INGEST, 1)
    assert queue.lengths() == {"ingest": 1, "evaluation": 0, "learning-rate": 0, "prediction": 0, "training": 3}


def test_the_queue_keeps_the_order_in_which_was_rung(context: Flask) -> None:
    for row_id in (5, 3, 9):
        queue.ring(queue.TRAIN, row_id)
    assert queue.rows(queue.TRAIN) == [5, 3, 9]


def test_a_job_names_its_task_and_row_in_plain_json(context: Flask, redis_url: str) -> None:
    """Nothing that is read back from Redis can run code of its own."""
    queue.ring(queue.EVALUATE, 4)
    with Redis.from_url(redis_url) as redis:
        (key,) = redis.keys("rq:job:*")
        data = json.loads(zlib.decompress(redis.hget(key, "data")))
    assert data == ["jobs.tasks.evaluate", None, [4], {}]


def test_redis_that_is_away_is_no_error(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    with application(away) as app, app.app_context():
        assert queue.ring(queue.TRAIN, 1) is False
        assert queue.ring_each(queue.TRAIN, [1, 2]) == []
        assert queue.rows(queue.TRAIN) == []
        with pytest.raises(RedisError):
            queue.lengths()


def test_every_task_is_a_function_that_a_worker_finds() -> None:
    from jobs import tasks

    for task in queue.TASKS.values():
        module, _, name = task.function.rpartition(".")
        assert module == tasks.__name__
        assert callable(getattr(tasks, name))


def test_workers_that_registered_are_listed(context: Flask) -> None:
    worker = SimpleWorker(list(queue.QUEUES), connection=queue.connection(), serializer=JSONSerializer)
    worker.register_birth()
    (found,) = queue.workers()
    assert (found["name"], found["queues"]) == (worker.name, list(queue.QUEUES))
    worker.register_death()
    assert queue.workers() == []
