"""Looking at images: everything that pixels tell, found for several images at a time, on all cores.

Threads are enough for large images, whose decoders let each other run. For small ones the interpreter itself is the
work: they go, in batches, to processes beside this one. Such a process ends when its pipe does, however its parent
ended; an image that brings it down is refused, and the others of its batch are looked at again.
"""

import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, Self, cast

import numpy as np
from numpy.typing import NDArray

from ml import fingerprints, images, pack, quality
from ml.errors import BadImage
from ml.fingerprints import Fingerprint
from ml.images import ImageArray, ImageFile
from ml.pack import Encoded

_MOST = 4  # each may hold an image of 100 megapixels
_SMALL_BYTES = 64 << 10
IMAGES_AT_ONCE = 64  # of fewer a thread takes care: for them no process is started

Decode = Callable[[], NDArray[np.uint8]]


class Seen(NamedTuple):
    """What the pixels of one image tell, and its bytes for the pack."""

    encoded: Encoded
    sha256: str
    width: int
    height: int
    fingerprint: Fingerprint
    issues: list[str]


def look(decode: Decode) -> Seen | BadImage:
    """Everything that is to be known of one image, or why it cannot be had."""
    try:
        image_HWC = decode()
    except BadImage as error:
        return error
    height, width = image_HWC.shape[:2]
    fingerprint = fingerprints.fingerprint(image_HWC)
    issues = quality.of_image(image_HWC, fingerprint)
    return Seen(pack.encode(image_HWC), images.pixel_sha256(image_HWC), width, height, fingerprint, issues)


def is_small(decode: Decode) -> bool:
    """Whether the image should wait for others like it, to be looked at in one batch."""
    return isinstance(decode, ImageFile | ImageArray) and decode.size_bytes <= _SMALL_BYTES


class Looking:
    """Threads and processes that look at images, as many as there are cores, until the `end`."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST))
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._processes: set[_Process] = set()
        self._lock = threading.Lock()
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Leaves no thread and no process; twice is harmless."""
        with self._lock:
            self._is_over = True
            for process in self._processes:
                process.end()
        self._threads.shutdown(cancel_futures=True)

    def start(self, decodes: Sequence[Decode]) -> "Future[list[Seen | BadImage]]":
        """Begins to look at a batch; the results are in its order."""
        if len(decodes) >= IMAGES_AT_ONCE and all(map(is_small, decodes)):
            return self._threads.submit(self._ask, decodes)
        return self._threads.submit(lambda: list(map(look, decodes)))

    def _ask(self, decodes: Sequence[Decode]) -> list[Seen | BadImage]:
        """The answers of a process."""
        process = self._take()
        try:
            answers = process.ask(decodes)
        except (EOFError, OSError):
            self._bury(process)
            if len(decodes) == 1:
                return [BadImage("The image brings its decoder down. Save it again with another program.")]
            return [answer for decode in decodes for answer in self._ask([decode])]
        self._idle.put(process)
        return answers

    def _take(self) -> "_Process":
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            with self._lock:
                if self._is_over:
                    raise RuntimeError("The looking is over.") from None
                process = _Process()
                self._processes.add(process)
                return process

    def _bury(self, process: "_Process") -> None:
        with self._lock:
            self._processes.discard(process)
            process.end()


class _Process:
    """A process that looks at what it is sent. It inherits no environment: what it decodes is not to be trusted."""

    def __init__(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from ml import looking; looking.serve({theirs.fileno()})"],
                cwd=Path(__file__).parents[1],
                env={},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def ask(self, decodes: Sequence[Decode]) -> list[Seen | BadImage]:
        """What `look` says of each. Raises EOFError or OSError where the process came to its end."""
        self._pipe.send(decodes)
        return cast(list[Seen | BadImage], self._pipe.recv())

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def serve(descriptor: int) -> None:
    """The life of a process: answers until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal it goes to all; the parent decides
    with Connection(descriptor) as pipe:
        while True:
            try:
                pipe.send(list(map(look, pipe.recv())))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                return
