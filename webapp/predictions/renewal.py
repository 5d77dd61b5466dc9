"""A web process whose GPU stays lost ends, so that Gunicorn starts another in its place.

After some faults no process gets an answer from CUDA until it ends: an illegal access, an error of the memory. It would
fail every request, fast, and so be given more than its share of them.
"""

import logging
import os
import signal

from ml.serving import Predictor

log = logging.getLogger(__name__)
PATIENCE_S = 30.0  # others may need the memory of the GPU for a moment


def end_where_lost(predictor: Predictor) -> None:
    """Lets this process finish what it has begun and end, where its GPU has failed for half a minute."""
    if predictor.device == "cuda" and predictor.failing_s > PATIENCE_S:
        log.error("process_renewed", extra={"reason": predictor.device_fault})
        os.kill(os.getpid(), signal.SIGTERM)
