"""Scripts for mock Claude: what it shall answer, instead of understanding the text.

Entries with a condition (``when``) are rules: the first whose condition holds answers, as often
as its ``times`` allow. The others are a sequence, which every run goes through from its start:
the n-th reply answers the n-th model turn since the person's last message, and the failures
before it come first, once each. After the script's end mock Claude understands the text again.

    MockClaude(script=[
        ScriptedFailure.overloaded(retry_after_seconds=0.1),
        ScriptedReply(tool_calls=(ScriptedToolCall("calculator", {"operation": ...}),)),
        ScriptedReply(text="It is 42."),
    ])
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

from agent_executor.errors import ModelError
from agent_executor.executor.models.model import ModelRequest, ModelUsage, StopReason

Condition: TypeAlias = Callable[[ModelRequest], bool]


@dataclass(frozen=True, slots=True)
class ScriptedToolCall:
    """A tool call of a scripted reply."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedReply:
    """An answer.

    Attributes:
        text: What the model says; none if empty.
        tool_calls: The tools that it asks for, after the text.
        latency_seconds: How long it takes, in addition to the mock's own latency.
        usage: The tokens; None counts them as for any answer.
        stop_reason: None derives it from the content.
        when: Makes the entry a rule; see above.
        times: How often a rule answers; None for always.
    """

    text: str = ""
    tool_calls: tuple[ScriptedToolCall, ...] = ()
    latency_seconds: float = 0.0
    usage: ModelUsage | None = None
    stop_reason: StopReason | None = None
    when: Condition | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedFailure:
    """A refusal of the provider.

    Attributes:
        error_type: The provider's word for it.
        status_code: The HTTP status that it stands for.
        retry_after_seconds: What the error says about repeating; None: repeating is no use.
        latency_seconds: How long it takes, in addition to the mock's own latency.
        when: Makes the entry a rule; see above.
        times: How often a rule answers; None for always.
    """

    error_type: str
    status_code: int
    retry_after_seconds: float | None = None
    latency_seconds: float = 0.0
    when: Condition | None = None
    times: int | None = None

    @classmethod
    def overloaded(cls, retry_after_seconds: float | None = 1.0, **options: Any) -> Self:
        """The provider is overloaded for everybody (529)."""
        return cls(
            error_type="overloaded_error",
            status_code=529,
            retry_after_seconds=retry_after_seconds,
            **options,
        )

    @classmethod
    def rate_limited(cls, retry_after_seconds: float | None = 1.0, **options: Any) -> Self:
        """The key has used up its allowance (429)."""
        return cls(
            error_type="rate_limit_error",
            status_code=429,
            retry_after_seconds=retry_after_seconds,
            **options,
        )

    def to_error(self) -> ModelError:
        """The error to raise."""
        return ModelError(
            f"The model's provider answered {self.status_code} ({self.error_type}).",
            metadata={
                "provider": "mock",
                "error_type": self.error_type,
                "status_code": str(self.status_code),
            },
            retry_after_seconds=self.retry_after_seconds,
        )


ScriptEntry: TypeAlias = ScriptedReply | ScriptedFailure


class Script:
    """Hands out the entries of one script. Safe to use from any number of runs and threads."""

    def __init__(self, entries: Sequence[ScriptEntry]) -> None:
        self._rules = [entry for entry in entries if entry.when is not None]
        self._rule_uses: Counter[int] = Counter()
        # Turn n is the n-th reply with the failures before it; after the last reply there may
        # be failures whose reply the mock makes up itself.
        self._turns: list[tuple[list[ScriptedFailure], ScriptedReply | None]] = []
        failures: list[ScriptedFailure] = []
        for entry in entries:
            if entry.when is not None:
                continue
            if isinstance(entry, ScriptedFailure):
                failures.append(entry)
            else:
                self._turns.append((failures, entry))
                failures = []
        if failures:
            self._turns.append((failures, None))
        self._failures_raised: Counter[str] = Counter()
        self._lock = threading.Lock()

    def next_entry(self, request: ModelRequest, turn: int, fingerprint: str) -> ScriptEntry | None:
        """The entry that answers this request, or None if the script says nothing about it.

        Args:
            request: What rules look at.
            turn: How many times the model has answered since the person's last message.
            fingerprint: Names the request: repeats of one request go through its failures.
        """
        with self._lock:
            for number, rule in enumerate(self._rules):
                is_used_up = rule.times is not None and self._rule_uses[number] >= rule.times
                if not is_used_up and rule.when is not None and rule.when(request):
                    self._rule_uses[number] += 1
                    return rule
            if turn >= len(self._turns):
                return None
            failures, reply = self._turns[turn]
            raised = self._failures_raised[fingerprint]
            if raised < len(failures):
                self._failures_raised[fingerprint] += 1
                return failures[raised]
            # The next run with the very same input shall meet the failures again.
            self._failures_raised.pop(fingerprint, None)
            return reply
