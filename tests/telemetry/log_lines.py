"""The lines of the log that runs and tool calls have."""

from __future__ import annotations

import json
from typing import Any

from tests.platforms import RunningPlatform, until

EVENTS = ("run ended", "tool call ended")


def lines_about(platform: RunningPlatform, run_id: str) -> list[dict[str, Any]]:
    """Returns the lines about a run and its tool calls, once that of the run is there.

    It is the last one: a run ends after its tools.
    """
    until(lambda: any(_is_end(line) for line in _lines(platform, run_id)), what="the run's line")
    return _lines(platform, run_id)


def _lines(platform: RunningPlatform, run_id: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in platform.log.splitlines() if run_id in line]
    return [line for line in found if line["event"] in EVENTS]


def _is_end(line: dict[str, Any]) -> bool:
    return bool(line["event"] == "run ended")
