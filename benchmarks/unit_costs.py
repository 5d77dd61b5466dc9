"""What one more of each thing costs: a prediction's row, a page as rows grow, a job that waits, an image, a version.

`python -m benchmarks.unit_costs [most rows]`: the figures that docs/scaling.md reckons with, on SQLite and on a
PostgreSQL of its own. Times are of processors, of this process and of all that it started, so that other work on the
machine changes little. Rows lie evenly in the last 30 days, one of ten has its truth, one of a hundred was wrong.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from flask import Flask
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import insert, text

from benchmarks.serving import photograph
from ml import training
from ml.config import TrainConfig
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.pack import PackReader
from ml.release import release
from ml.synthetic import write_archive
from ml.threads import share_cores
from tests import factories, servers
from tests.conftest import application, migrate
from webapp import queue
from webapp.models import ModelVersion, Prediction, db
from webapp.predictions import drift, feedback, history
from webapp.settings import Settings

COUNTS = (1_000, 100_000, 1_000_000)
DAYS = 30
WAITING = (0, 1_000, 10_000)
IMAGES_PER_CLASS, SIDE_PX, NETWORK = 40, 224, "resnet18"
LEAST_S, LEAST_CALLS = 0.3, 3
# Each row is a copy of the first one but for what differs; `moment` is that of row i on the database in question.
MORE_ROWS = """
    WITH RECURSIVE n(i) AS (SELECT :start + 1 UNION ALL SELECT i + 1 FROM n WHERE i < :stop)
    INSERT INTO prediction (version_id, variant, user_id, request_id, place, image_sha256, label, probability,
                            probabilities, is_abstained, latency_ms, created_at)
    SELECT version_id, variant, user_id, 'request-' || i, place, image_sha256,
           CASE WHEN i % 2 = 0 THEN 'benign' ELSE 'malignant' END, 0.5 + (i % 500) / 1000.0,
           probabilities, is_abstained, latency_ms, {moment} FROM n, prediction WHERE prediction.id = 1
"""
MOMENTS = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-' || ((:stop - i) * :step_s) || ' seconds')",
    "postgresql": "now() - (:stop - i) * :step_s * interval '1 second'",
}
MORE_TRUTHS = """
    INSERT INTO feedback (prediction_id, user_id, truth, created_at)
    SELECT id, user_id, CASE WHEN id % 100 = 1 THEN 'benign' ELSE 'malignant' END, created_at
    FROM prediction WHERE id > :start AND id % 10 = 1
"""


def main() -> None:
    share_cores()
    counts = [number for number in COUNTS if number <= int((sys.argv[1:] or COUNTS[-1:])[0])]
    figures: dict[str, Any] = {kind: _rows(kind, counts) for kind in MOMENTS}
    figures |= {"jobs": _jobs(), "images": _images()}
    print(json.dumps(figures))


def _rows(kind: str, counts: list[int]) -> dict[str, list[float]]:
    """Milliseconds of each question, and bytes of a row, at each of the counts."""
    found: dict[str, list[float]] = {}
    with _site(kind) as app:
        with app.app_context():
            version = factories.make_activation().version
            first = factories.make_prediction(version, probability=0.9123456789)
            row = {name: getattr(first, name) for name in Prediction.__mapper__.columns.keys() if name != "id"}  # noqa: SIM118
            asked = _questions(app, version.id)
        had = 1
        for number in counts:
            with app.app_context():
                _add_rows(kind, had, number)
                found.setdefault("bytes", []).append(round(_bytes(kind, app) / number))
            for name, ask in asked.items():
                found.setdefault(name, []).append(_cost_ms(ask))
            had = number
        found["write one"] = [_cost_ms(lambda: _write(app, [row]))]
        found["write 500, each"] = [_cost_ms(lambda: _write(app, [row] * 500)) / 500]
    _print(f"{kind}, rows", counts, found)
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


def _questions(app: Flask, version_id: int) -> dict[str, Callable[[], object]]:
    """What pages ask of the rows, each as if in a request of its own; and three pages as a person gets them."""
    client = app.test_client()
    factories.Auth(client).login("viewer")

    def asking(ask: Callable[[], object]) -> Callable[[], object]:
        def ask_within() -> None:
            with app.app_context():
                ask()

        return ask_within

    def rows(**wanted: Any) -> Callable[[], object]:
        return asking(lambda: history.page(history.Filter(**wanted), 50, None).items)

    return {
        "newest rows": rows(),
        "of a version": rows(version=version_id),
        "of a request": rows(request_id="request-7"),
        "wrong": rows(truth="wrong"),
        "wrong, none is": rows(truth="wrong", label="benign"),
        "live scores": asking(feedback.live_scores),
        "drift": asking(lambda: drift.watch(db.session.get_one(ModelVersion, version_id))),
        "page: dashboard": lambda: client.get("/").text,
        "page: history": lambda: client.get("/predictions/").text,
        "page: watching": lambda: client.get("/predictions/watching").text,
    }


def _add_rows(kind: str, start: int, stop: int) -> None:
    values = {"start": start, "stop": stop, "step_s": DAYS * 86_400 / stop}
    db.session.execute(text(MORE_ROWS.format(moment=MOMENTS[kind])), values)
    db.session.execute(text(MORE_TRUTHS), {"start": start})
    db.session.commit()
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if kind == "postgresql" else "ANALYZE"))


def _bytes(kind: str, app: Flask) -> int:
    """Of all rows of predictions and truths with their indexes."""
    if kind == "postgresql":
        size = "pg_total_relation_size('prediction') + pg_total_relation_size('feedback')"
        return int(db.session.scalar(text(f"SELECT {size}")) or 0)
    db.session.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    return (app.extensions["settings"].data_dir / "platform.db").stat().st_size


def _write(app: Flask, rows: list[dict[str, Any]]) -> None:
    """As the journal does it."""
    with app.app_context():
        db.session.execute(insert(Prediction.__table__), rows)  # type: ignore[arg-type]
        db.session.commit()


def _jobs() -> dict[str, list[float]]:
    """Milliseconds of what is done with a job, with so many that wait before it."""
    found: dict[str, list[float]] = {"ring and take": [], "janitor, each": []}
    with _site("sqlite") as app, app.app_context():
        line, rows = queue.queue_of(queue.TRAIN), iter(range(1, 10**9))

        def ring_and_take() -> None:
            queue.ring(queue.TRAIN, next(rows))
            Queue.dequeue_any([line], None, connection=queue.connection(), serializer=JSONSerializer)

        for waiting in WAITING:
            queue.ring_each(queue.TRAIN, [next(rows) for _ in range(waiting - line.count)])
            found["ring and take"].append(_cost_ms(ring_and_take))
            new = next(rows)
            round_ms = _cost_ms(partial(queue.ring_each, queue.TRAIN, range(new - waiting, new)))
            found["janitor, each"].append(round_ms / max(1, waiting))
    _print("jobs that wait", WAITING, found)
    return found


def _images() -> dict[str, float]:
    """What an image costs to bring in, to learn from and to answer, and what all of it leaves in the store."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_archive(folder / "drawn.zip", IMAGES_PER_CLASS, SIDE_PX, 0)
        began_s = _processor_s()
        done = ingest(folder / "drawn.zip", folder, IngestOptions(), ArchiveLimits())
        found = {"an image brought in, ms": 1000 * (_processor_s() - began_s) / done.report.images}
        found["its bytes in packs"] = sum(path.stat().st_size for path in done.pack_paths) / done.report.images
        found["its bytes in the manifest"] = done.manifest_path.stat().st_size / done.report.images
        found |= _version(folder / "version", done)
    for what, value in found.items():
        print(f"{what:<50}{value:>14,.1f}")
    return found


def _version(folder: Path, data: Ingested) -> dict[str, float]:
    """What one version costs, all of whose layers learn, and one answer of it."""
    config = TrainConfig(network=NETWORK, epochs=1, image_size_px=SIDE_PX, initial_weights="none")
    given = config, data.manifest, PackReader(data.pack_paths)
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        began_s = _processor_s()
        fitted = training.fit(*given, Path(scratch), lambda progress: None, lambda path, epoch: None)
        found = {"an image learnt from, ms": 1000 * (_processor_s() - began_s) / len(data.manifest.of_split("train"))}
        found["checkpoint, bytes"] = (Path(scratch) / "checkpoint.pt").stat().st_size
    began_s = _processor_s()
    card = release(fitted, *given, folder, NETWORK, "drawn").card
    found["exported and scored, s"] = _processor_s() - began_s
    files = sorted(folder.iterdir())
    found |= {"objects": len(files), "their bytes": sum(path.stat().st_size for path in files)}
    with _site("sqlite") as app:
        with app.app_context():
            kept = {path.name: app.extensions["store"].keep(path.open("rb")) for path in files}
            version = factories.make_version(files=kept, classes=list(card.classes), card=card.model_dump(mode="json"))
            factories.make_activation(version)
        client = app.test_client()
        headers = factories.Auth(client).token("predict") | {"Content-Type": "image/jpeg"}
        ask = partial(client.post, "/predict", data=photograph(), headers=headers)
        assert ask().status_code == 200  # noqa: S101
        found["an answer, ms"] = _cost_ms(ask)
    return found


def _print(title: str, counts: Any, found: Mapping[str, list[float]]) -> None:
    print(f"{title:<20}", *(f"{number:>12,}" for number in counts))
    for name, values in found.items():
        print(f"{name:<20}", *(f"{value:>12.3f}" for value in values))


def _processor_s() -> float:
    """Of this process and of all that it started, servers as well."""
    me = psutil.Process()
    return sum(sum(one.cpu_times()[:4]) for one in (me, *me.children(recursive=True)))


def _cost_ms(ask: Callable[[], object]) -> float:
    """Of one call."""
    ask()
    spent_s, began_s, calls = _processor_s(), time.perf_counter(), 0
    while calls < LEAST_CALLS or time.perf_counter() - began_s < LEAST_S:
        ask()
        calls += 1
    return round(1000 * (_processor_s() - spent_s) / calls, 3)


if __name__ == "__main__":
    main()
