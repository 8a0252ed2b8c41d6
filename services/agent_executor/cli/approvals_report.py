"""What `agent-executor approvals list` shows: a block for each tool call that waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

ARGUMENTS_CHARACTERS_MAX = 2_000


def show_approvals(approvals: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints what is to be known of each to decide, and how to."""
    if not approvals:
        console.print("No tool call waits for a decision.", highlight=False)
        return
    for number, approval in enumerate(approvals):
        if number:
            console.print()
        # As text, since what a model has written must not be taken for markup.
        console.print(Text(f"{approval['tool_name']}  {_shortened(approval['arguments_json'])}"))
        console.print(Text(f"  why      {approval['reason']}"))
        console.print(Text(f"  run      {approval['run_id']}"))
        console.print(Text(f"  call     {approval['tool_call_id']}"))
        console.print(Text(f"  expires  {approval['expires_at']}"))
    console.print(
        "\nDecide with `agent-executor approvals approve RUN CALL` or `... deny RUN CALL`.",
        highlight=False,
    )


def _shortened(text: str) -> str:
    # Control characters could draw over what stands before them.
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    if len(shown) <= ARGUMENTS_CHARACTERS_MAX:
        return shown
    return f"{shown[:ARGUMENTS_CHARACTERS_MAX]}…"
