"""What a person sees on standard error while the platform starts, runs and stops."""

from __future__ import annotations

import time

from rich.console import Console
from rich.status import Status
from rich.text import Text

from agent_executor.cli.supervisor import ChildEvent, ChildState

# A first request is tried many times a second; only a reason that stays is worth a line.
QUIET_SECONDS = 5.0


class Progress:
    """Tells of the processes: with a spinner on a terminal, in plain lines elsewhere.

    Args:
        console: Where it is told.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._states: dict[str, ChildState] = {}
        self._is_ready = False
        self._last_told = self._started
        self._spinner: Status | None = console.status("") if console.is_terminal else None
        if self._spinner is not None:
            self._spinner.start()

    def on_event(self, event: ChildEvent) -> None:
        """Tells of a change of a process's state."""
        previous = self._states.get(event.name)
        self._states[event.name] = event.state
        if event.state is ChildState.DEAD:
            self._tell(f"{event.name} {event.detail}; starting it again")
        elif event.state is ChildState.HEALTHY or previous is None:
            self._tell(f"{event.name} is {event.state.value}")
        self._spin()

    def on_waiting(self, reason: str) -> None:
        """Tells, now and then, why a request does not succeed yet."""
        if time.monotonic() - self._last_told >= QUIET_SECONDS:
            self._tell(f"waiting: {reason}")

    def ready(self) -> None:
        """Ends the starting."""
        self._is_ready = True
        self._tell("ready; Ctrl-C stops it")
        self.close()

    def stopping(self) -> None:
        """Tells that the platform is being stopped."""
        self._tell("stopping; once more kills")

    def close(self) -> None:
        """Gives the terminal back."""
        if self._spinner is not None:
            self._spinner.stop()

    def _spin(self) -> None:
        if self._spinner is not None and not self._is_ready:
            waiting = [name for name, state in self._states.items() if state != ChildState.HEALTHY]
            self._spinner.update(f"starting {', '.join(waiting) or 'the first request'}")

    def _tell(self, message: str) -> None:
        self._last_told = time.monotonic()
        seconds = self._last_told - self._started
        line = Text.assemble((f"{seconds:6.1f} s", "dim"), "  ", message)
        self._console.print(line, soft_wrap=True)
