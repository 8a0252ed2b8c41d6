"""What the processes of a platform use of the machine, sampled while they work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.platforms import RunningPlatform, children_of

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """What was used at one moment.

    Attributes:
        at_seconds: When, in seconds since the beginning.
        memory_mib: Resident memory by process name, in MiB; "sandbox" is all below the tool-runner.
        descriptors: Open file descriptors by process name, without those of the sandbox.
        processes: How many processes there are, the sandbox included.
    """

    at_seconds: float
    memory_mib: dict[str, float]
    descriptors: dict[str, int]
    processes: int


def sample(platform: RunningPlatform, at_seconds: float) -> Sample:
    """Looks at every process of a platform."""
    pids = {"up": platform.process.pid, **platform.pids()}
    sandbox = list(_below(pids["tool-runner"]))
    memory = {name: _memory_mib(pid) for name, pid in pids.items()}
    memory["sandbox"] = sum(map(_memory_mib, sandbox))
    descriptors = {name: len(list(Path(f"/proc/{pid}/fd").iterdir())) for name, pid in pids.items()}
    return Sample(at_seconds, memory, descriptors, len(pids) + len(sandbox))


def slope_mib_per_hour(samples: Sequence[Sample], name: str) -> float:
    """Returns how fast a process grows: the slope of the line of least squares."""
    times = [each.at_seconds / 3600 for each in samples]
    sizes = [each.memory_mib[name] for each in samples]
    mean_time, mean_size = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((time - mean_time) ** 2 for time in times)
    both = sum(
        (time - mean_time) * (size - mean_size) for time, size in zip(times, sizes, strict=True)
    )
    return both / spread


def _below(pid: int) -> Iterator[int]:
    for child in children_of(pid):
        yield child
        yield from _below(child)


def _memory_mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        # A worker of the sandbox lives for one call.
        return 0.0
    return pages * _PAGE_BYTES / _MEBIBYTE
