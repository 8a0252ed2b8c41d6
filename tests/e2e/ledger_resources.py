"""One resource of each kind that the ledger keeps, for tests of who may have it."""

from __future__ import annotations

from typing import Any, Final

from tests.platforms import Client

BUDGET_ID: Final = "ours"
RECORDED: Final[dict[str, Any]] = {
    "id": "recorded",
    "model": "claude-sonnet-4-20250514",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
CORRECTION: Final[dict[str, Any]] = {
    "entry_id": "correction",
    "corrects_entry_id": "recorded",
    "usage": {"input_tokens": 2, "output_tokens": 1},
}
RATE_CARD: Final[dict[str, Any]] = {"tool_name": "search", "fee_usd": 0.01}
LEDGER_NAMES: Final = ("budget_id", "rate_card_id")


def create_ledger_resources(client: Client) -> dict[str, str]:
    """Creates them and returns their names, by their names in paths."""
    assert client.put(f"/api/v1/budgets/{BUDGET_ID}", {"limit_usd": 5}).status == 200
    assert client.post("/api/v1/usage/entries", {"entries": [RECORDED]}).status == 200
    card = client.post("/api/v1/rate-cards", RATE_CARD)
    assert card.status == 200, card.content
    return {"budget_id": BUDGET_ID, "rate_card_id": card.body["id"]}
