"""An executor that can kill itself at one exact instant of a run, and a process that makes such.

    python executor_process.py

It loads the executor's code once, then forks an executor for each line of JSON on its standard
input, the executor's environment, and answers with the process id. All of them end with it.

The variable ``CRASH_AT`` says when the process kills itself, as ``kill -9`` does: ``create 3 before`` is
before the third commit of the first run that is created in it, ``claim 3 after`` after the third of
the first run that it takes over; commit 0 is the claim itself, where ``before`` stands for a claim
of one run by its id, as after a decision.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import signal
import sys
import threading
from typing import Any, NoReturn

# What a start of the executor would import: the provider's SDK alone takes more than a second.
import alembic.command  # noqa: F401 -- see above

import agent_executor.executor.journal.journal_postgres
import agent_executor.executor.models.anthropic.provider  # noqa: F401 -- see above
from agent_executor.executor import bootstrap

_PR_SET_PDEATHSIG = 1


class CrashingJournal:
    """A journal whose process dies at one of the writes of a run.

    Args:
        journal: The journal.
        crash_at: See the module.
    """

    def __init__(self, journal: Any, crash_at: str) -> None:
        self._journal = journal
        self._origin, number, self._when = crash_at.split()
        self._number = int(number)
        self._run_id = ""
        self._writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def create(self, run: Any, *rest: Any) -> Any:
        self._begun("create", run)
        return await self._write(run, self._journal.create, *rest)

    async def append(self, run: Any, *rest: Any) -> Any:
        return await self._write(run, self._journal.append, *rest)

    async def claim(self, *arguments: Any, **named: Any) -> Any:
        runs = await self._journal.claim(*arguments, **named)
        for run in runs:
            self._begun("claim", run)
        return runs

    async def claim_run(self, *arguments: Any) -> Any:
        if (self._origin, self._number, self._when) == ("claim", 0, "before"):
            _die()
        run = await self._journal.claim_run(*arguments)
        if run is not None:
            self._begun("claim", run)
        return run

    def _begun(self, origin: str, run: Any) -> None:
        if origin == self._origin and not self._run_id:
            self._run_id = run.run_id
            if self._number == 0:
                _die()

    async def _write(self, run: Any, write: Any, *rest: Any) -> Any:
        is_last = False
        if run.run_id == self._run_id:
            self._writes += 1
            is_last = self._writes == self._number
        if is_last and self._when == "before":
            _die()
        written = await write(run, *rest)
        if is_last:
            _die()
        return written


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process outlived its end")


def _crash_at(crash_at: str) -> None:
    # What it imports for itself is put in its place.
    parts = vars(bootstrap)
    open_storage = parts["open_storage"]

    async def open_crashing(*arguments: Any) -> Any:
        storage = await open_storage(*arguments)
        return dataclasses.replace(storage, journal=CrashingJournal(storage.journal, crash_at))

    parts["open_storage"] = open_crashing


def _run(environment: dict[str, str], parent_pid: int) -> NoReturn:
    """Becomes an executor."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for name in ("stdin", "stdout"):
        os.dup2(os.open(os.devnull, os.O_RDWR), getattr(sys, f"__{name}__").fileno())
    os.environ.clear()  # noqa: TID251 -- the settings are read from it
    os.environ.update(environment)  # noqa: TID251 -- as above
    if environment.get("CRASH_AT"):
        _crash_at(environment["CRASH_AT"])
    os._exit(bootstrap.main())


def main() -> None:
    """Forks executors until its input ends."""
    # A fork copies no thread but the one that forks.
    assert threading.active_count() == 1
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    parent_pid = os.getpid()
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line), parent_pid)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
