"""The processes beside this one that train one run on several devices.

This process is rank 0 and stays what it was: it alone reports, validates, keeps checkpoints and hears of a
cancellation; the others only take steps. They are started here rather than by torchrun, whose agent would stand between
the worker and its training and start anew what the worker's attempts start anew. All talk over the loopback interface.

A peer has a pipe to this process and ends with it, however this one ended. It is in a process group of its own, as a
signal to hand over, or Ctrl-C, is for this process to judge. Where a peer is lost, this process cannot go on, nor leave
the operation in which it waits for the peer: it ends too, and whoever runs it sees a lost process.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed

from ml.share import ALONE, Share

_log = logging.getLogger(__name__)
_PATIENCE = timedelta(days=1)  # rank 0 may validate and store for long; a peer that is lost is seen at once
_LOST_WITHIN_S = 1.0


class Task(NamedTuple):
    """What a peer does: `follow(share, device, *arguments)`, where `follow` is a function of a module."""

    follow: Callable[..., None]
    arguments: tuple[Any, ...]


class _Place(NamedTuple):
    """Where one process of a run stands."""

    share: Share
    device: torch.device
    threads: int
    rendezvous: Path

    def join(self) -> None:
        """Returns when all others have joined, too."""
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ.update(GLOO_SOCKET_IFNAME=loopback, NCCL_SOCKET_IFNAME=loopback)
        torch.set_num_threads(self.threads)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        distributed.init_process_group(
            "nccl" if self.device.type == "cuda" else "gloo",
            init_method=self.rendezvous.as_uri(),
            rank=self.share.rank,
            world_size=self.share.size,
            timeout=_PATIENCE,
        )


@contextlib.contextmanager
def beside(devices: int, device: torch.device, scratch: Path, task: Task) -> Iterator[Share]:
    """The share of this process, while its peers work on theirs; none of them is left afterwards."""
    if devices == 1:
        yield ALONE
        return
    threads, rendezvous = torch.get_num_threads(), scratch.absolute() / "rendezvous"
    rendezvous.unlink(missing_ok=True)
    first, *others = (
        _Place(Share(rank, devices), torch.device(device.type, rank), max(1, threads // devices), rendezvous)
        for rank in range(devices)
    )
    peers = [_Peer(place, task) for place in others]
    try:
        first.join()
        yield first.share
        distributed.destroy_process_group()
    except RuntimeError:  # a broken connection says less than its cause: a peer that is lost ends this process
        for peer in peers:
            peer.watch.join(_LOST_WITHIN_S)
        raise
    finally:
        for peer in peers:
            peer.end()
        if distributed.is_initialized() and device.type == "cpu":  # NCCL would wait for the peers
            distributed.destroy_process_group()
        torch.set_num_threads(threads)


class _Peer:
    """A process of another rank, and the thread that watches it."""

    def __init__(self, place: _Place, task: Task) -> None:
        self._pipe, theirs = Pipe()
        self._is_over = False
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from ml import peers; peers.serve({theirs.fileno()})"],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        self.watch = threading.Thread(target=self._watch, args=(place, task), daemon=True)
        self.watch.start()

    def _watch(self, place: _Place, task: Task) -> None:
        with contextlib.suppress(OSError):  # it is lost already
            self._pipe.send((place, task))
        status = self._process.wait()
        if not self._is_over:
            _log.error("peer_lost: rank %d of %d ended with status %d", place.share.rank, place.share.size, status)
            os._exit(1)

    def end(self) -> None:
        self._is_over = True
        self._process.kill()
        self.watch.join()
        self._pipe.close()


def serve(descriptor: int) -> None:
    """The life of a peer: it does its task and waits until it is ended."""
    pipe = Connection(descriptor)
    try:
        place, task = pipe.recv()
    except EOFError:
        return
    watch = threading.Thread(target=_end_with, args=(pipe,), daemon=True)
    watch.start()
    place.join()
    task.follow(place.share, place.device, *task.arguments)
    distributed.destroy_process_group()
    watch.join()


def _end_with(pipe: Connection) -> None:
    """Ends this process when the other end of the pipe is closed, whatever it is doing."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    os._exit(0)
