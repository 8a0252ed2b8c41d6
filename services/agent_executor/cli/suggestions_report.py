"""What `agent-executor suggestions` shows: a paragraph for each, the largest saving first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from agent_executor.cli.figures import decimals_for, usd

MAX_RUNS_SHOWN = 3
_INDENT = (0, 0, 0, 2)


def show_suggestions(found: Mapping[str, Any], console: Console) -> None:
    """Prints every suggestion, and what was looked at."""
    spent = int(found["cost_nano_usd"])
    span = f"{found['start_time'][:10]} to {found['end_time'][:10]}"
    looked_at = f"{usd(spent, decimals_for([spent]))} was spent from {span}."
    if not found["suggestions"]:
        console.print(f"Nothing to suggest. {looked_at}", highlight=False)
        return
    for one in found["suggestions"]:
        saving = {name: int(one["saving"][f"{name}_nano_usd"]) for name in ("low", "high")}
        expected = int(one["saving"]["expected_nano_usd"])
        low, high = (usd(saving[name], 2) for name in ("low", "high"))
        whom = one["tool_name"] or one["agent_id"] or one["model"]
        console.print(
            Text.assemble(
                (f"{usd(expected, 2)} a month", "bold green"),
                f" ({low} to {high})  ",
                (one["kind"].replace("_", " "), "bold"),
                f"  {whom}",
            )
        )
        _paragraph(console, one["finding"])
        _paragraph(console, f"→ {one['change']}")
        _paragraph(console, _evidence(one), style="dim")
        console.print()
    console.print(
        f"{looked_at} Two suggestions about the same calls cannot both save all they say.",
        highlight=False,
    )


def _paragraph(console: Console, text: str, style: str = "") -> None:
    console.print(Padding(Text(text, style=style), _INDENT, expand=False))


def _evidence(one: Mapping[str, Any]) -> str:
    runs, count = one["evidence_run_ids"], int(one["evidence_run_count"])
    if not runs:
        return "no runs are named in the entries"
    shown = ", ".join(runs[:MAX_RUNS_SHOWN])
    more = count - min(len(runs), MAX_RUNS_SHOWN)
    return f"runs: {shown}" + (f" and {more:,} more" if more > 0 else "")
