"""Becomes a command of an unprivileged user that the kernel kills when its parent dies.

    python start_postgres.py PARENT_PID USER COMMAND [ARGUMENT ...]

A process that changes its user loses the kernel's promise to kill it, so the change comes first.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent_pid: int, user: str, command: list[str]) -> None:
    """Becomes the command, unless the parent is dead already."""
    libc = ctypes.CDLL(None)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    # Immediate shutdown: PostgreSQL's parts end with it.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
    if os.getppid() == parent_pid:
        os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
