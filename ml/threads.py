"""How the threads of torch wait for one another."""

import os


def share_cores() -> None:
    """Lets waiting threads sleep instead of spin; to be called before torch is imported, in each process that trains.

    The parts of an operation end at different moments as soon as anything else wants a core: the site, a second worker.
    A spinning thread then takes the core from the one that it waits for, and small networks train five times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
