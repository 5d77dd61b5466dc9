"""What one more of each thing costs: a prediction's row, a query as rows grow, a job that waits, an image.

`python -m benchmarks.unit_costs [rows]`: the figures that docs/scaling.md reckons with, up to a million rows unless a
lower number is given, on SQLite and on a PostgreSQL of its own. Rows lie evenly in the last 30 days, one of ten has its
truth.
"""

import contextlib
import datetime
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import func, insert, select, text

from ml.config import ArchiveLimits, IngestOptions
from ml.ingest import ingest
from ml.synthetic import write_archive
from tests import factories, servers
from tests.conftest import application, migrate
from webapp import queue
from webapp.models import Feedback, ModelVersion, Prediction, db, now
from webapp.predictions import drift, feedback, history
from webapp.settings import Settings

COUNTS = (1_000, 100_000, 1_000_000)
AT_ONCE = 10_000
DAYS = 30
WAITING = (0, 1_000, 10_000)
IMAGES_PER_CLASS, SIDE_PX = 300, 224
ROUNDS = 5


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else COUNTS[-1]
    counts = [count for count in COUNTS if count <= most] or [most]
    figures: dict[str, Any] = {kind: _rows(kind, counts) for kind in ("sqlite", "postgresql")}
    figures |= {"jobs": _jobs(), "images": _images()}
    print(json.dumps(figures))


def _rows(kind: str, counts: list[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with _site(kind) as app, app.app_context():
        version = factories.make_version()
        asked = _questions(version)
        print(f"{kind:<12}{'rows':>10}{'bytes/row':>11}{'us to add':>11}", *(f"{name:>16}" for name in asked), "(ms)")
        had = 0
        for count in counts:
            began_s = time.perf_counter()
            _add_rows(version, had, count)
            to_add_us = 1e6 * (time.perf_counter() - began_s) / (count - had)
            had = count
            size = _bytes(kind, app) / count
            took_ms = {name: _median_ms(ask) for name, ask in asked.items()}
            figures = "".join(f"{took:>17.2f}" for took in took_ms.values())
            print(f"{'':<12}{count:>10}{size:>11.0f}{to_add_us:>11.1f}{figures}")
            found[str(count)] = {"bytes_a_row": round(size), "us_to_add": round(to_add_us, 1), **took_ms}
    return found


@contextlib.contextmanager
def _site(kind: str) -> Iterator[Flask]:
    """An application on a new database of this kind."""
    with contextlib.ExitStack() as stack:
        settings = Settings(data_dir=Path(stack.enter_context(tempfile.TemporaryDirectory())))
        own: dict[str, Any] = {"redis_url": stack.enter_context(servers.valkey())}
        if kind == "postgresql":
            server = stack.enter_context(servers.postgres())
            own["database_url"] = server.url(server.create())
        settings = settings.model_copy(update=own)
        migrate(settings)
        yield stack.enter_context(application(settings))


def _questions(version: ModelVersion) -> dict[str, Callable[[], object]]:
    """What pages and monitoring ask of the rows."""
    of_one, kept = history.Filter(version=version.id), [history.Counted()]

    def count_as_metrics_do() -> object:
        kept[0] = replace(kept[0], seen_s=float("-inf")).brought_forward()  # as if a minute had passed
        return kept[0].totals()

    return {
        "newest page": lambda: history.page(history.Filter(), 50, None).items,
        "page, version": lambda: history.page(of_one, 50, None).items,
        "by request id": lambda: history.page(history.Filter(request_id="request-7"), 50, None).items,
        "page, wrong": lambda: history.page(history.Filter(truth="wrong"), 50, None).items,
        "live scores": feedback.live_scores,
        "drift": lambda: drift.watch(version),
        "metrics": count_as_metrics_do,
    }


def _add_rows(version: ModelVersion, start: int, stop: int) -> None:
    user = factories.find_user("researcher") or factories.make_user()
    until, step = now(), datetime.timedelta(days=DAYS) / stop
    for first in range(start, stop, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, stop))
        answers = [_answer(version, user.id, number, until - step * (stop - number)) for number in numbers]
        db.session.execute(insert(Prediction), answers)
        newest = db.session.scalar(select(func.max(Prediction.id))) or 0
        told = range(newest - len(numbers) + 1, newest + 1, 10)
        db.session.execute(
            insert(Feedback),
            [{"prediction_id": one, "user_id": user.id, "truth": version.classes[one % 3 % 2]} for one in told],
        )
        db.session.commit()
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _answer(version: ModelVersion, user_id: int, number: int, moment: datetime.datetime) -> dict[str, Any]:
    label = version.classes[number % 2]
    return {
        "version_id": version.id,
        "user_id": user_id,
        "request_id": f"request-{number}",
        "image_sha256": f"{number:064x}",
        "label": label,
        "probability": 0.5 + (number % 500) / 1000,
        "probabilities": dict.fromkeys(version.classes, 0.5),
        "latency_ms": 12.3,
        "created_at": moment,
    }


def _bytes(kind: str, app: Flask) -> int:
    """Of all rows of predictions and truths with their indexes."""
    if kind == "postgresql":
        size = "pg_total_relation_size('prediction') + pg_total_relation_size('feedback')"
        return int(db.session.scalar(text(f"SELECT {size}")) or 0)
    db.session.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    return (app.extensions["settings"].data_dir / "platform.db").stat().st_size


def _median_ms(ask: Callable[[], object]) -> float:
    times_s = []
    for _ in range(ROUNDS):
        db.session.rollback()
        began_s = time.perf_counter()
        ask()
        times_s.append(time.perf_counter() - began_s)
    return round(1000 * statistics.median(times_s), 2)


def _jobs() -> dict[str, float]:
    """Milliseconds to ring for one more row, and to tell its place, with so many that wait."""
    found: dict[str, float] = {}
    print(f"{'jobs that wait':<16}{'ms to ring':>12}{'ms to place':>12}")
    with _site("sqlite") as app, app.app_context():
        for waiting in WAITING:
            had = queue.lengths()[queue.TRAIN.queue]
            with queue.connection().pipeline() as pipe:
                for number in range(had, waiting):
                    queue.queue_of(queue.TRAIN).enqueue_call(
                        queue.TRAIN.function, args=(number,), job_id=f"train-{number}-x", timeout=-1, pipeline=pipe
                    )
                pipe.execute()
            rows = iter(range(1_000_000, 2_000_000))
            ring_ms = _median_ms(lambda rows=rows: queue.ring(queue.TRAIN, next(rows)))  # type: ignore[misc]
            place_ms = _median_ms(lambda: queue.position(queue.TRAIN, 1_000_000))
            print(f"{waiting:<16}{ring_ms:>12.2f}{place_ms:>12.2f}")
            found |= {f"ring_ms_{waiting}": ring_ms, f"place_ms_{waiting}": place_ms}
    return found


def _images() -> dict[str, float]:
    """What an image of an archive costs to bring in, and what it leaves in the store."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_archive(folder / "drawn.zip", IMAGES_PER_CLASS, SIDE_PX, 0)
        (folder / "out").mkdir()
        began_s = _processor_s()
        done = ingest(folder / "drawn.zip", folder / "out", IngestOptions(), ArchiveLimits())
        images = done.report.images
        found = {
            "ingest_ms": round(1000 * (_processor_s() - began_s) / images, 2),
            "pack_bytes": round(sum(path.stat().st_size for path in done.pack_paths) / images),
            "manifest_bytes": round(done.manifest_path.stat().st_size / images),
            "objects": len(done.pack_paths) + 1,
        }
    print(
        f"an image of {SIDE_PX} px: {found['ingest_ms']} ms of a core, {found['pack_bytes']} bytes in packs, ", end=""
    )
    print(f"{found['manifest_bytes']} in the manifest; {images} images are {found['objects']} objects")
    return found


def _processor_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
