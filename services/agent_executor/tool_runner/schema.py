"""Where the tool-runner's migrations are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MIGRATIONS: Final = Path(__file__).with_name("migrations")
