"""Prices of an organization's own over REST, whose ids hold a slash."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.error_shape import assert_is_error
from tests.platforms import Client

MODEL = "claude-opus-5"
PATH = "/api/v1/rate-cards"
RATES = {"input_usd_per_million_tokens": 1, "output_usd_per_million_tokens": 2.000001}
EXAMPLE = f"/api/v1/rate-card?model={MODEL}&input_tokens=1000&output_tokens=1000"


def made(client: Client, **fields: Any) -> dict[str, Any]:
    """Makes a card and returns it."""
    answer = client.post(PATH, fields)
    assert answer.status == 200, answer.body
    card: dict[str, Any] = answer.body
    return card


def test_an_own_price_holds_from_the_next_call_until_it_is_withdrawn(client: Client) -> None:
    listed = client.get(EXAMPLE).body
    assert listed["rate_card"]["provider"] == "anthropic"
    card = made(client, model=MODEL, rates=RATES, description="negotiated")
    own = client.get(EXAMPLE).body
    assert own["rate_card"] == card
    assert (own["cost_nano_usd"], own["cost_usd"]) == ("3000001", 0.003000001)
    assert client.get(PATH).body["rate_cards"] == [card]
    withdrawn = client.delete(f"{PATH}/{card['id']}").body
    assert withdrawn["withdrawn_at"]
    assert client.get(EXAMPLE).body == listed
    assert client.get(f"{PATH}/{card['id']}").body == withdrawn


@pytest.mark.parametrize("safe", ["/@", "/", ""])
@pytest.mark.parametrize("name", [MODEL, "local/llama:70b", "..", "a@b?c#d%e f", "模型"])
def test_a_card_is_found_by_its_id_however_a_client_escapes_it(
    client: Client, name: str, safe: str
) -> None:
    card = made(client, model=name, rates=RATES)
    path = f"{PATH}/{quote(card['id'], safe=safe)}"
    assert client.get(path).body == card
    assert client.delete(path).body["withdrawn_at"]


def test_a_card_of_the_price_list_is_found_and_belongs_to_nobody(client: Client) -> None:
    answer = client.get("/api/v1/rate-card?model=aws/amazon.nova-lite-v1:0")
    path = f"{PATH}/{answer.body['rate_card']['id']}"
    assert client.get(path).body == answer.body["rate_card"]
    assert_is_error(client.delete(path), 404, "RATE_CARD_NOT_FOUND")


def test_a_price_that_is_not_exact_is_refused(client: Client) -> None:
    rates = RATES | {"output_usd_per_million_tokens": 0.0000001}
    answer = client.post(PATH, {"model": MODEL, "rates": rates})
    assert_is_error(answer, 400, "INVALID_ARGUMENT")
