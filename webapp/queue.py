"""Waiting work: RQ on Redis. A bell, not a ledger: rows in the database are the truth, and the janitor rings again.

Jobs are named by their dotted path and take ids, serialised as JSON: nothing in Redis is ever unpickled.
"""

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A job function by its dotted name, and the queue that it waits in."""

    function: str
    queue: str

    def prefix(self, row_id: int) -> str:
        """How the id of each job for the row begins; the rest is random, so a lost job never blocks its successor."""
        return f"{self.function.rsplit('.', 1)[1]}-{row_id}-"

    def row_id(self, job_id: str) -> int:
        """The row that one of its jobs is for."""
        return int(job_id.split("-")[1])


INGEST = Task("jobs.tasks.ingest", "ingest")
EVALUATE = Task("jobs.tasks.evaluate", "evaluation")
FIND_RATE = Task("jobs.tasks.find_rate", "learning-rate")
SCORE = Task("jobs.tasks.score", "prediction")
TRAIN = Task("jobs.tasks.train", "training")
TASKS = {task.function: task for task in (INGEST, EVALUATE, FIND_RATE, SCORE, TRAIN)}
QUEUES = tuple(task.queue for task in TASKS.values())  # a worker takes from the first that is not empty


def connect(url: str, **options: Any) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=2, **options)


def init_app(app: Flask, url: str) -> None:
    app.extensions["redis"] = connect(url, socket_timeout=2)  # a frozen Redis must not hold a request for long


def connection() -> Redis:
    redis: Redis = current_app.extensions["redis"]
    return redis


def queue_of(task: Task, redis: Redis | None = None) -> Queue:
    return Queue(task.queue, connection=redis or connection(), serializer=JSONSerializer)


def ring(task: Task, row_id: int) -> bool:
    """Whether a worker will hear of the row. Twice is harmless: a row whose job waits gets no second one.

    Redis that does not answer is no error: the row is committed, and the janitor rings later.
    """
    return ring_each(task, [row_id]) == [row_id]


def ring_each(task: Task, row_ids: Sequence[int]) -> list[int]:
    """Those of the rows that a worker will hear of. The queue is read once, however many there are."""
    heard: list[int] = []
    try:
        queue = queue_of(task)
        waiting = {job_id.rpartition("-")[0] + "-" for job_id in queue.get_job_ids()}
        for row_id in row_ids:
            if task.prefix(row_id) not in waiting:
                queue.enqueue_call(
                    task.function,
                    args=(row_id,),
                    job_id=task.prefix(row_id) + secrets.token_hex(6),
                    timeout=-1,
                    result_ttl=0,
                    failure_ttl=86_400,
                )
            heard.append(row_id)
    except RedisError:
        log.warning("queue_unreachable", extra={"task": task.function, "row_ids": row_ids[len(heard) :][:100]})
    return heard


def rows(task: Task) -> list[int]:
    """The rows that wait for the task, the next one first; none where Redis does not answer.

    Some may wait no longer, cancelled ones for example: a worker passes over them.
    """
    try:
        return [task.row_id(job_id) for job_id in queue_of(task).get_job_ids()]
    except RedisError:
        return []


def lengths() -> dict[str, int]:
    """Jobs that wait, by queue. Raises RedisError."""
    return {task.queue: queue_of(task).count for task in TASKS.values()}


def workers() -> list[dict[str, Any]]:
    """The workers that registered with Redis: name, state, current job, last heartbeat. Raises RedisError."""
    from rq import Worker

    found = Worker.all(connection=connection(), serializer=JSONSerializer)
    return [
        {
            "name": worker.name,
            "state": str(worker.get_state()),
            "job": worker.get_current_job_id(),
            "heartbeat_at": worker.last_heartbeat,
            "queues": worker.queue_names(),
        }
        for worker in found
    ]
