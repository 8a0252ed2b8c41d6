"""The limits of the sandbox, each with its unit and default."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

_LAUNCHERS_MAX_BY_DEFAULT = 2


def _launchers_by_default() -> int:
    return min(_LAUNCHERS_MAX_BY_DEFAULT, len(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a pool of workers, and each of its workers, may use.

    Attributes:
        memory_bytes: Address space of a worker, the interpreter's own of about 30 MiB included.
        output_bytes: Length of a result as JSON text in UTF-8.
        source_bytes: Length of a tool's source in UTF-8.
        cpu_seconds: Computing time of one call, whatever its deadline; whole seconds.
        http_requests: Requests that one call may make through the broker.
        idle_workers: Workers that wait for a call, about 4 MB each.
        busy_workers_max: Calls that run at the same time.
        queued_calls_max: Calls that wait for a worker; beyond it they are refused.
        share_of_one: How much of these two one organization may take, from 0 to 1, so that its
            calls that hang leave the others something.
        launchers: Processes that fork workers. Default: one per processor, up to 2.
        calls_per_launcher: Workers that a launcher forks before it is replaced. Its workers share
            the layout of their memory and the seed of their hashes.
    """

    memory_bytes: int = 268_435_456
    output_bytes: int = 1_048_576
    source_bytes: int = 262_144
    cpu_seconds: int = 60
    http_requests: int = 100
    idle_workers: int = 8
    busy_workers_max: int = 16
    queued_calls_max: int = 1_000
    share_of_one: float = 0.75
    launchers: int = field(default_factory=_launchers_by_default)
    calls_per_launcher: int = 10_000

    @property
    def busy_workers_of_one_max(self) -> int:
        """Calls of one organization that run at the same time."""
        return math.ceil(self.busy_workers_max * self.share_of_one)

    @property
    def queued_calls_of_one_max(self) -> int:
        """Calls of one organization that wait for a worker."""
        return math.ceil(self.queued_calls_max * self.share_of_one)
