"""Where the executor's SQLite file is, and the migrations of either kind of database."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DATABASE_FILE: Final = Path("executor", "journal.sqlite3")
"""Below the data folder."""

MIGRATIONS: Final = Path(__file__).with_name("migrations")
