"""Prometheus text, read from the rows and from Redis: every web process gives the same answer."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, cast

from flask import Blueprint, Response, current_app
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError
from sqlalchemy import func, select

from webapp import queue
from webapp.api import shapes
from webapp.lately import lately
from webapp.models import BatchPrediction, Dataset, Evaluation, Experiment, ModelVersion, RateSearch, Search, Study, db
from webapp.predictions import drift, feedback, incoming, turns
from webapp.predictions.active import active_model
from webapp.predictions.history import Counted
from webapp.predictions.tally import STAGES, Told
from webapp.registry import service as registry
from webapp.security import allow
from webapp.studies import service as studies

bp = Blueprint("metrics", __name__)
LEVELS = {"none": 0, "moderate": 1, "large": 2}


@bp.get("/metrics")
@allow("viewer", scope="predict")
def read() -> shapes.Measurements:
    """All measurements in the text format of Prometheus."""
    collectors = CollectorRegistry()
    collectors.register(_Rows())
    return Response(generate_latest(collectors), content_type=CONTENT_TYPE_LATEST)


class _Rows:
    """A collector in the shape that prometheus-client asks for."""

    def collect(self) -> Iterator[Metric]:
        yield _by_label(
            "platform_rows",
            "Data sets, jobs, searches and studies by status",
            ("kind", "status"),
            (
                (kind.__tablename__, status, count)
                for kind in (Dataset, Experiment, Evaluation, RateSearch, BatchPrediction, Search, Study)
                for status, count in _by_status(kind)
            ),
        )
        yield from _from_redis()
        predictions = CounterMetricFamily("platform_predictions", "Answers given, by version", labels=("version",))
        for version_id, count in _answers().items():
            predictions.add_metric((str(version_id),), count)
        yield predictions
        yield from _serving()
        yield from _watched()

    def describe(self) -> Iterable[Metric]:
        return ()


def _by_label(name: str, help_text: str, labels: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for *values, count in rows:
        family.add_metric([str(value) for value in values], float(count))
    return family


def _answers() -> Counter[int]:
    """Of each version, all that it ever gave. What was counted before is kept: rows are never taken back."""
    counted = current_app.extensions.get("answers_counted", Counted()).brought_forward()
    current_app.extensions["answers_counted"] = counted
    return cast(Counter[int], counted.totals())


def _by_status(kind: Any) -> Iterable[tuple[str, int]]:
    if kind is Study:
        return studies.by_status().items()
    return [
        (status, count) for status, count in db.session.execute(select(kind.status, func.count()).group_by(kind.status))
    ]


def _from_redis() -> Iterator[Metric]:
    """Nothing of it where Redis is away."""
    try:
        lengths, workers, told = queue.lengths(), queue.workers(), Told(queue.connection())
    except RedisError:
        return
    yield _by_label("platform_queue_jobs", "Jobs that wait, by queue", ("queue",), lengths.items())
    now_s = time.time()
    beats = ((one["name"], now_s - one["heartbeat_at"].timestamp()) for one in workers if one["heartbeat_at"])
    yield _by_label("platform_worker_heartbeat_age_seconds", "Since each worker was last heard of", ("worker",), beats)
    stages = HistogramMetricFamily(
        "platform_predict_seconds", "What one image takes: to decode, in the model, and all of it", labels=("stage",)
    )
    for stage in STAGES:
        buckets, sum_s = told.histogram(stage)
        stages.add_metric((stage,), buckets, sum_s)
    yield stages
    yield CounterMetricFamily("platform_undecoded_images", "Images that were refused", value=told.undecoded)
    requests = CounterMetricFamily(
        "platform_requests", "Requests, refused ones too", labels=("part", "method", "status")
    )
    for *labels, count in told.requests():
        requests.add_metric(labels, count)
    yield requests
    yield CounterMetricFamily("platform_predict_busy", "Requests that found no place before the model", value=told.busy)
    yield CounterMetricFamily(
        "platform_predict_occupied_seconds",
        "How long places before the model were taken; its rate is how many are taken",
        value=told.occupied_s,
    )


def _serving() -> Iterator[Metric]:
    settings = current_app.extensions["settings"]
    places = turns.places(settings) * settings.web_concurrency
    yield GaugeMetricFamily("platform_predict_places", "Places before the model, of the processes of this pod", places)
    activation = registry.active()
    if activation:
        yield GaugeMetricFamily("platform_active_version", "The version that must serve", value=activation.version_id)
    loaded = active_model().current()
    if loaded:
        yield GaugeMetricFamily("platform_loaded_version", "The version that this process serves", value=loaded.version)


def _watched() -> Iterator[Metric]:
    """How right the answers were, and how far those of the active version drifted; nothing where it is not known."""
    live = lately("live scores", lambda: {one.version.id: one for one in feedback.live_scores()})
    known = ((version_id, one.n) for version_id, one in live.items())
    yield _by_label("platform_feedback", "Answers whose truth is known", ("version",), known)
    for name in feedback.SCORES:
        found = ((version_id, getattr(one, name)) for version_id, one in live.items())
        values = ((version_id, score.value) for version_id, score in found if score and score.value is not None)
        yield _by_label(f"platform_live_{name}", f"{name.title()} on them", ("version",), values)
    activation = registry.active()
    if activation:
        yield from _drift(activation.version)


def _drift(version: ModelVersion) -> Iterator[Metric]:
    drifts = lately(f"drift of version {version.id}", lambda: drift.watch(version)).drifts.items()
    came = lately(f"images of version {version.id}", lambda: incoming.watch(version))
    shifts = [(window, of, getattr(one, of)) for window, one in drifts for of in ("scores", "answers")]
    shifts += [(window, kind, one.shift) for window, kinds in came.moved.items() for kind, one in kinds.items()]
    yield _by_label(
        "platform_drift_psi",
        "Population stability index of a window against validation",
        ("version", "window", "of"),
        ((version.id, window, of, shift.psi) for window, of, shift in shifts if shift.psi is not None),
    )
    yield _by_label(
        "platform_drift_level",
        "What the index says beyond chance: 0 none, 1 moderate, 2 large",
        ("version", "window", "of"),
        ((version.id, window, of, LEVELS[shift.level]) for window, of, shift in shifts if shift.level in LEVELS),
    )
    yield _by_label(
        "platform_outside_share",
        "Share of the images of a window outside the domain",
        ("version", "window"),
        ((version.id, window, one.share.value) for window, one in came.outside.items() if one.n),
    )
    yield _by_label(
        "platform_outside_level",
        "Whether it exceeds that of validation beyond chance: 0 no, 1 it does, 2 by a quarter of all images",
        ("version", "window"),
        ((version.id, window, LEVELS[one.level]) for window, one in came.outside.items() if one.level in LEVELS),
    )
    yield _by_label(
        "platform_drift_ks_p_value",
        "p-value of the two-sample Kolmogorov-Smirnov test of the scores",
        ("version", "window"),
        ((version.id, window, one.test.p_value) for window, one in drifts if one.test),
    )
