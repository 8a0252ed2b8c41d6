"""What a command shows commands no terminal, whoever has given the names in it."""

from __future__ import annotations

import io

from rich.text import Text

from agent_executor.cli.figures import OutputConsole, new_table

HOSTILE = "a\x1b[2J\x1b]0;title\x07b\x9b31mc\r\x08\x7f"


def test_names_do_not_command_the_terminal() -> None:
    file = io.StringIO()
    console = OutputConsole(file=file, force_terminal=True, width=100)
    table = new_table(title="costs")
    table.add_column("agent")
    table.add_row(Text(HOSTILE, style="bold"))
    console.print(table)
    console.print(Text(HOSTILE))
    console.print(f"run {HOSTILE}", markup=False, highlight=False)
    shown = file.getvalue()
    assert "\x1b[1m" in shown, "the console's own styles are kept"
    own = shown.replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[3m", "")
    assert all(one.isprintable() or one == "\n" for one in own), own
    assert own.count("[2J") == 3
