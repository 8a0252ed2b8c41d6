"""Callers that execute an agent again and again, while something happens to the platform."""

from __future__ import annotations

import http.client
import threading
from dataclasses import dataclass, field
from typing import Self

from tests.e2e.agents_and_runs import SUM
from tests.platforms import Answer, Client, until

CALLERS = 12
_PAUSE_SECONDS = 0.01


@dataclass
class Load:
    """Callers that are busy while the context is entered.

    Attributes:
        client: How they call.
        agent_id: What they execute.
        answers: What they were answered so far.
        broken_off: How often they got no answer.
    """

    client: Client
    agent_id: str
    answers: list[Answer] = field(default_factory=list)
    broken_off: int = 0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._callers = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for caller in self._callers:
            caller.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for caller in self._callers:
            caller.join()

    def go_on(self) -> None:
        """Waits until as many further answers have come as there are callers."""
        wanted = len(self.answers) + CALLERS
        until(lambda: len(self.answers) >= wanted, what="that the callers get on")

    def _call(self) -> None:
        path = f"/api/v1/agents/{self.agent_id}/execute"
        while not self._stop.is_set():
            try:
                self.answers.append(self.client.post(path, {"input": SUM}))
            except (OSError, http.client.HTTPException):
                self.broken_off += 1
                # Nobody may be there; whoever comes back should find a free processor.
                self._stop.wait(_PAUSE_SECONDS)
