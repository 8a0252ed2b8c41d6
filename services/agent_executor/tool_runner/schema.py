"""Where the tool-runner's SQLite file is, and the migrations of either kind of database."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DATABASE_FILE: Final = Path("tool_runner", "tool_runner.sqlite3")
"""Below the data folder."""

MIGRATIONS: Final = Path(__file__).with_name("migrations")
