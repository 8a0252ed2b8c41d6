"""The port to how custom tools are isolated at present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class SandboxStatus(Protocol):
    """The state of the sandbox."""

    @property
    def available(self) -> bool:
        """Whether custom tools are run."""
        ...

    @property
    def tier(self) -> str:
        """``namespaces``, ``landlock`` or ``none``."""
        ...

    @property
    def landlock_abi(self) -> int:
        """Landlock's version in the running kernel; 0 if it has none."""
        ...

    @property
    def missing(self) -> Sequence[str]:
        """What is missing, one sentence each."""
        ...

    @property
    def remedy(self) -> str:
        """What an operator can do about it; empty when nothing is missing."""
        ...

    @property
    def checked_at_ms(self) -> int:
        """When the canary attacks were last tried, in milliseconds since 1970-01-01 UTC."""
        ...

    @property
    def idle_workers(self) -> int:
        """Workers that wait for a call."""
        ...

    @property
    def busy_workers(self) -> int:
        """Workers that run a call."""
        ...


class SandboxReporter(Protocol):
    """Tells how custom tools are isolated."""

    @property
    def status(self) -> SandboxStatus:
        """The state at present."""
        ...
