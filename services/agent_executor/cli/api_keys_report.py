"""What `agent-executor keys` shows: a row for each key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from agent_executor.cli.figures import NARROW_WIDTH, new_table

_STYLES = {"active": "green", "expired": "dim", "revoked": "red"}
_MINUTES = len("2026-11-28T13:51")


def show_api_keys(keys: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints a row per key."""
    if not keys:
        console.print(
            "There are no keys. Make one with `agent-executor keys create NAME`.", highlight=False
        )
        return
    is_narrow = console.width < NARROW_WIDTH
    table = new_table()
    # In one piece, for it is copied to revoke the key.
    table.add_column("id", no_wrap=True)
    for name in ("name", "key", "state"):
        table.add_column(name, overflow="fold")
    if not is_narrow:
        for name in ("user", "may", "ends (UTC)", "used (UTC)"):
            table.add_column(name, overflow="fold")
    for key in keys:
        state = key["state"]
        cells = [
            Text(key["id"]),
            Text(key["name"]),
            Text(f"{key['hint']}…"),
            Text(state, style=_STYLES.get(state, "")),
        ]
        if not is_narrow:
            cells += [
                Text(key["user_id"]),
                Text(", ".join(key["permissions"])),
                Text(_time(key.get("expires_at"))),
                Text(_time(key.get("last_used_at")) or "never"),
            ]
        table.add_row(*cells)
    console.print(table)


def _time(timestamp: str | None) -> str:
    return (timestamp or "")[:_MINUTES].replace("T", " ")
