"""`python webapp/tied.py COMMAND...` becomes the command, which the kernel ends when its parent dies (Linux).

Run as a file, so that it imports nothing of the platform. Elsewhere than on Linux it only becomes the command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tie_to_parent(signum: signal.Signals) -> None:
    """From now on the death of the parent process sends this one the signal; kept across exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum)


if __name__ == "__main__":
    parent = os.getppid()
    tie_to_parent(signal.SIGTERM)
    if os.getppid() != parent:  # it died before it could be tied
        sys.exit(1)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  # no shell is what is wanted
