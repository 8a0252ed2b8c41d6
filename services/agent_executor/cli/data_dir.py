"""The option that names the data folder, the same for every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA_DIR = Path(".agent-executor")

DataDir = Annotated[
    Path, typer.Option("--data-dir", help="The folder in which everything is kept.")
]
