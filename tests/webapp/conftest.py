"""Jobs done at once, in the process of the test."""

import signal
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from jobs import tasks, work

Ingest = Callable[[int], None]


@pytest.fixture
def ingest(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ingest]:
    """Does the job of a data set as a worker would, with the application of the test."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(work, "create_app", lambda **options: app)
    yield tasks.ingest
    signal.signal(signal.SIGTERM, before)
