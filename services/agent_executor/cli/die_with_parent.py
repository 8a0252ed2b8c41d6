"""Runs a command that the kernel kills when its parent dies, however the parent dies.

    python die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]

It is a process of its own, which becomes the command, because code between a fork and an exec is
not safe in a parent with threads. It imports nothing of this package, so that it starts quickly.
Where there is no such kernel feature, the command runs without it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Becomes the command, unless the parent is dead already."""
    parent_pid, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the kernel was told.
        if os.getppid() != parent_pid:
            return
    try:
        os.execvp(command[0], command)  # noqa: S606 -- the command is the supervisor's own
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
