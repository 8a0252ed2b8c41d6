"""What `agent-executor keys list` shows."""

from __future__ import annotations

import io

from rich.console import Console

from agent_executor.cli.api_keys_report import show_api_keys
from agent_executor.cli.figures import NARROW_WIDTH

KEY_ID = "01a222aa-ff0d-76cd-b06e-8ae972e617b0"
KEY = {
    "id": KEY_ID,
    "name": "a report that runs every night",
    "hint": "aek_uJak",
    "state": "active",
    "user_id": "somebody@example.com",
    "permissions": ["agent:read", "run:execute", "run:read"],
    "expires_at": "2026-11-29T14:59:00Z",
}


def test_an_id_can_be_copied_at_every_width() -> None:
    for width in (60, NARROW_WIDTH, 80, 200):
        file = io.StringIO()
        show_api_keys([KEY], Console(file=file, width=width))
        assert KEY_ID in file.getvalue(), width
