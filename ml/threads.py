"""How many threads torch computes with, and how they wait for one another."""

import contextlib
import os
from collections.abc import Iterator


def share_cores() -> None:
    """Lets waiting threads sleep instead of spin; to be called before torch is imported, in each process that trains.

    The parts of an operation end at different moments as soon as anything else wants a core: the site, a second worker.
    A spinning thread then takes the core from the one that it waits for, and small networks train five times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextlib.contextmanager
def counted(number: int) -> Iterator[None]:
    """Lets torch compute with so many threads within the `with` block, also more than there are cores; 0: as it is.

    Their number decides in which parts a sum is added up, and so the last bits of every gradient.
    """
    import torch  # not before `share_cores`

    own = torch.get_num_threads()
    try:
        torch.set_num_threads(number or own)
        yield
    finally:
        torch.set_num_threads(own)
