"""What the callers of streams say beside the request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.streams.stream_metadata import last_event_id_of, silence_seconds_of


def context(**headers: str) -> Any:
    pairs = tuple((key.replace("_", "-"), value) for key, value in headers.items())
    return SimpleNamespace(invocation_metadata=lambda: pairs)


def test_what_is_not_said_has_its_default() -> None:
    assert silence_seconds_of(context()) is None
    assert last_event_id_of(context(last_event_id="")) == 0


def test_numbers_are_read() -> None:
    assert silence_seconds_of(context(agent_executor_heartbeat_seconds="15")) == 15.0
    assert last_event_id_of(context(last_event_id="2147483647")) == 2**31 - 1


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "٣", "2147483648", "9" * 5_000, " 1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="last-event-id"):
        last_event_id_of(context(last_event_id=text))
