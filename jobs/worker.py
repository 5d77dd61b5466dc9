"""A worker process: `python -m jobs.worker`. It takes jobs one by one, each in a child process of its own."""

import contextlib
import logging
import signal
from typing import Any

from flask import Flask
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Worker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from jobs.recovery import KINDS, release_lost
from ml.threads import share_cores
from webapp import create_app, postgres, queue
from webapp.models import db
from webapp.storage.copies import Copies, copies_of
from webapp.storage.scratch import remove_abandoned
from webapp.tied import tie_to_parent

log = logging.getLogger(__name__)
PATIENCE = Retry(ExponentialBackoff(cap=2, base=0.1), retries=20)  # half a minute: a restart of Redis


class PlatformWorker(Worker):
    """RQ's worker, whose job hands its row over when the worker must stop, and never outlives the worker.

    A job needs no Redis while it runs: its row is in the database. Where Redis goes, the worker waits for it.
    """

    copies: Copies

    def handle_warm_shutdown_request(self) -> None:
        super().handle_warm_shutdown_request()
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)  # `jobs.tasks` makes a hand-over of it

    def run_maintenance_tasks(self) -> None:
        self.copies.remove_unused()
        super().run_maintenance_tasks()

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        self.copies.remove_unused()  # a run may last for days
        with contextlib.suppress(RedisError):
            super().maintain_heartbeats(job, execution)

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()
        tie_to_parent(signal.SIGKILL)  # SIGTERM would have to wait for whatever the child computes


def build(app: Flask) -> PlatformWorker:
    """A worker on all queues. It imports no torch: a child's CUDA must start clean after the fork."""

    def horse_killed(job: Job, _pid: int, _status: int, _usage: Any) -> None:
        """The child died without a word: its row is free at once, not after a silent heartbeat."""
        kind = next(kind for kind, task in KINDS.items() if task.function == job.func_name)
        with app.app_context():
            release_lost(kind, job.args[0], job.id, app.extensions["settings"].max_attempts)
            db.engine.dispose()  # the next child must not inherit an open connection

    worker = PlatformWorker(
        list(queue.QUEUES),
        connection=queue.connect(app.extensions["settings"].redis, retry=PATIENCE),
        serializer=JSONSerializer,
        work_horse_killed_handler=horse_killed,
        worker_ttl=30,
        maintenance_interval=10,
        job_monitoring_interval=5,
    )
    worker.copies = copies_of(app.extensions["settings"])
    return worker


def main() -> None:
    share_cores()
    app = create_app(statement_s=postgres.JOB_STATEMENT_S)
    remove_abandoned(app.extensions["settings"].scratch)
    copies_of(app.extensions["settings"]).remove_unused()
    level = app.extensions["settings"].log_level
    build(app).work(logging_level="WARNING" if level == "INFO" else level)


if __name__ == "__main__":
    main()
