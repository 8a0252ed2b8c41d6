"""What a worker takes from itself, in this order, before it is given anything to do.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass
from typing import Final

from agent_executor.tool_runner.isolation import kernel, landlock
from agent_executor.tool_runner.isolation.seccomp import Filter

# The descriptor of a worker's socket; below are three of /dev/null, and there is none above.
CHANNEL: Final = 3
_OPEN_FILES_MAX: Final = 32
_STACK_BYTES_MAX: Final = 8_388_608


@dataclass(frozen=True, slots=True)
class Restrictions:
    """What every worker of a launcher is put under.

    Attributes:
        ruleset: A descriptor of the Landlock ruleset.
        system_calls: The seccomp filter.
        memory_bytes: Of address space, the interpreter's own included.
        cpu_seconds: Of computing.
    """

    ruleset: int
    system_calls: Filter
    memory_bytes: int
    cpu_seconds: int

    def apply(self, channel: int, parent_pid: int) -> None:
        """Restricts this process, for good.

        Args:
            channel: The socket, which becomes ``CHANNEL``.
            parent_pid: The launcher.

        Raises:
            OSError: The kernel refuses; the process must not go on.
        """
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            # It died before the kernel was told.
            raise ProcessLookupError
        for limit, value in self._limits():
            resource.setrlimit(limit, value)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        landlock.restrict_self(self.ruleset)
        if channel != CHANNEL:
            os.dup2(channel, CHANNEL, inheritable=False)
        kernel.close_from(CHANNEL + 1)
        self.system_calls.load()

    def _limits(self) -> tuple[tuple[int, tuple[int, int]], ...]:
        return (
            (resource.RLIMIT_AS, (self.memory_bytes, self.memory_bytes)),
            # A tool may ignore the signal at the first of the two.
            (resource.RLIMIT_CPU, (self.cpu_seconds, self.cpu_seconds + 1)),
            (resource.RLIMIT_FSIZE, (0, 0)),
            (resource.RLIMIT_NOFILE, (_OPEN_FILES_MAX, _OPEN_FILES_MAX)),
            (resource.RLIMIT_NPROC, (0, 0)),
            (resource.RLIMIT_CORE, (0, 0)),
            (resource.RLIMIT_MEMLOCK, (0, 0)),
            (resource.RLIMIT_MSGQUEUE, (0, 0)),
            (resource.RLIMIT_STACK, (_STACK_BYTES_MAX, _STACK_BYTES_MAX)),
        )
