"""Where the ledger's SQLite file is, and the migrations of either kind of database."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DATABASE_FILE: Final = Path("ledger", "ledger.sqlite3")
"""Below the data folder."""

MIGRATIONS: Final = Path(__file__).with_name("migrations")
"""Brings a service's database to the newest revision that the code knows, at start."""
