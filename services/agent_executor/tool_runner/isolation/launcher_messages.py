"""What a launcher and the tool-runner say to each other over the control socket.

The tool-runner sends a message of one byte for each worker that it wants. The launcher sends messages
that begin with a byte for their kind.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# A worker that touches the memory that a call needs before it says that it is ready, and one that
# does not, since its call waits already.
WARM_WORKER: Final = b"W"
COLD_WORKER: Final = b"C"

# JSON with the tier and Landlock's version; with a pidfd of the process that forks.
STARTED: Final = b"S"
# JSON with the fields of ``UnfitError``.
UNFIT: Final = b"U"
# The launcher's number of a process; with its socket and its pidfd.
FORKED: Final = b"F"
FORKED_MESSAGE: Final = struct.Struct(">cI")
# Process, status as wait(2) gives it, CPU time in microseconds, largest memory in KiB.
EXITED: Final = b"X"
EXITED_MESSAGE: Final = struct.Struct(">cIiQQ")


@dataclass(frozen=True, slots=True)
class LauncherOptions:
    """What the tool-runner tells a launcher at its start.

    Attributes:
        control: The descriptor of the control socket.
        parent_pid: The tool-runner's process.
        source_root: The folder of the package, which is not looked at once it is loaded.
        tier: ``namespaces``, ``landlock``, or ``best`` for the first of them that works.
        memory_bytes: Of a worker.
        cpu_seconds: Of a worker.
        output_bytes: Of a result.
    """

    control: int
    parent_pid: int
    source_root: str
    tier: str
    memory_bytes: int
    cpu_seconds: int
    output_bytes: int


class UnfitError(Exception):
    """This host lacks what a sandbox needs.

    Attributes:
        missing: What it lacks, one by one.
        remedy: How to get it, as a sentence.
        next_tier: A tier that a new launcher could try; empty for none.
    """

    def __init__(self, missing: Iterable[str], remedy: str, next_tier: str = "") -> None:
        self.missing = tuple(missing)
        super().__init__(", ".join(self.missing))
        self.remedy = remedy
        self.next_tier = next_tier
