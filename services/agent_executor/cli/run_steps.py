"""A run's steps out of its log: what was done, from when to when, and how it came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that a run did, or waited for.

    Attributes:
        name: What it was, for example "tool calculator".
        begun_at: When it began, in seconds since 1970-01-01 UTC.
        ended_at: When it ended; None if it has not.
        outcome: How it came out, in a few words.
        has_failed: Whether it did not come out well.
        cost_nano_usd: What it cost, as far as the ledger has said.
    """

    name: str
    begun_at: float
    ended_at: float | None = None
    outcome: str = ""
    has_failed: bool = False
    cost_nano_usd: int = 0


def steps_of(events: Iterable[Mapping[str, Any]]) -> list[Step]:
    """Returns the steps of a run in the order in which they began; what is still open has no end.

    Args:
        events: The log from its beginning, as REST shows it.
    """
    log = _Log()
    for event in events:
        log.add(event)
    return log.steps


@dataclass(slots=True)
class _Log:
    steps: list[Step] = field(default_factory=list)
    # Where the latest step of each call, or of waiting for money, is among them.
    places: dict[str, int] = field(default_factory=dict)

    def add(self, event: Mapping[str, Any]) -> None:
        kind, at = event["type"], datetime.fromisoformat(event["created_at"]).timestamp()
        payload: Mapping[str, Any] = event.get(kind, {})
        if kind in _BEGINNINGS:
            key, name = _BEGINNINGS[kind](payload)
            self.places[key] = len(self.steps)
            self.steps.append(Step(name=name, begun_at=at))
        elif kind in _ENDS:
            key, outcome, has_failed = _ENDS[kind](payload)
            self._change(key, ended_at=at, outcome=outcome, has_failed=has_failed)
        elif kind in _MARKS:
            self.steps.append(Step(name=_MARKS[kind](payload), begun_at=at, ended_at=at))
        elif kind == "model_call_settled":
            # The call is over by then; one that was corrected is settled more than once.
            place = self.places.get(f"model {payload['model_call_id']}")
            before = 0 if place is None else self.steps[place].cost_nano_usd
            cost_nano_usd = before + int(payload["cost_nano_usd"])
            self._change(f"model {payload['model_call_id']}", cost_nano_usd=cost_nano_usd)
        elif kind == "run_finished":
            for place, step in enumerate(self.steps):
                if step.ended_at is None:
                    self.steps[place] = replace(step, ended_at=at, outcome="ended with the run")

    def _change(self, key: str, **fields: Any) -> None:
        place = self.places.get(key)
        if place is not None:
            self.steps[place] = replace(self.steps[place], **fields)


def _model_answered(payload: Mapping[str, Any]) -> tuple[str, str, bool]:
    tokens = f"{payload['input_tokens']:,} in, {payload['output_tokens']:,} out"
    cached = ", from the response cache" if payload["from_cache"] else ""
    return f"model {payload['model_call_id']}", f"{payload['stop_reason']}, {tokens}{cached}", False


def _model_failed(payload: Mapping[str, Any]) -> tuple[str, str, bool]:
    again = " It was tried again." if payload["will_retry"] else ""
    return (
        f"model {payload['model_call_id']}",
        f"{payload['code']}: {payload['error']}{again}",
        True,
    )


def _tool_ended(payload: Mapping[str, Any]) -> tuple[str, str, bool]:
    result = payload["tool_result"]
    key, is_good = f"tool {result['tool_call_id']}", result["success"]
    return key, "done" if is_good else f"{result['code']}: {result['error']}", not is_good


def _decided(payload: Mapping[str, Any]) -> tuple[str, str, bool]:
    said = " ".join(filter(None, (payload["decision"], payload["reason"])))
    return f"approval {payload['tool_call_id']}", said, payload["decision"] != "approved"


# The step's key and name.
_BEGINNINGS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str]]]] = {
    "model_call_started": lambda payload: (
        f"model {payload['model_call_id']}",
        f"model call {payload['turn']}",
    ),
    "tool_call_started": lambda payload: (
        f"tool {payload['tool_call_id']}",
        f"tool {payload['tool_name']}",
    ),
    "approval_requested": lambda payload: (
        f"approval {payload['tool_call_id']}",
        f"approval of {payload['tool_name']}",
    ),
    "run_paused": lambda _: ("paused", "waiting for money"),
}
# The step's key, how it came out, and whether that is a failure.
_ENDS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str, bool]]]] = {
    "model_call_completed": _model_answered,
    "model_call_failed": _model_failed,
    "tool_call_completed": _tool_ended,
    "approval_resolved": _decided,
    "run_continued": lambda _: ("paused", "there is some again", False),
}
# What happens at an instant.
_MARKS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "run_resumed": lambda payload: f"taken over, attempt {payload['attempt']}",
    "cancel_requested": lambda payload: f"asked to stop: {payload['reason'] or 'no reason given'}",
}
