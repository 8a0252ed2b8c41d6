"""Questions about usage through the gateway: files, what a run cost, and pages."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tests.e2e.agents_and_runs import pages
from tests.platforms import Client

COUNT = 2_500
NANO_PER_USD = 1_000_000_000


def record(client: Client, count: int = COUNT) -> None:
    """Records calls of three runs, on two days in Berlin that are one day in UTC."""
    for first in range(0, count, 1_000):
        entries = [
            {
                "id": f"entry-{one}",
                "agent_id": "=agent",
                "run_id": f"run/{one % 3} ü",
                "model": "claude-sonnet-4-20250514",
                "usage": {"input_tokens": one, "output_tokens": 1},
                "occurred_at": f"2026-09-30T{21 + one % 2}:30:00Z",
            }
            for one in range(first, min(first + 1_000, count))
        ]
        answer = client.post("/api/v1/usage/entries", {"entries": entries})
        assert answer.status == 200, answer.content


def exported(client: Client, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"/api/v1/usage/export?{query}")
    assert answer.status == 200, answer.content
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline=""), strict=True))


def test_a_file_has_what_the_lists_have(client: Client) -> None:
    record(client)
    listed = list(pages(client, "/api/v1/usage/entries?page_size=1000", "entries"))
    rows = exported(client)
    assert len(rows) == len(listed) == COUNT
    costs = {row["id"]: (row["cost_nano_usd"], row["input_tokens"]) for row in rows}
    assert costs == {
        one["id"]: (one["cost_nano_usd"], str(one["usage"]["input_tokens"])) for one in listed
    }
    assert {row["agent_id"] for row in rows} == {"'=agent"}
    [first, *_] = exported(client, "format=focus&run_id=run%2F1%20%C3%BC")
    assert first["ChargeCategory"] == "Usage"
    assert first["ProviderName"] == "anthropic"
    answer = client.get("/api/v1/usage/export?format=focus")
    assert answer.headers["content-disposition"] == 'attachment; filename="usage-focus.csv"'


def test_sums_are_those_of_the_entries(client: Client) -> None:
    record(client, 900)
    listed = list(pages(client, "/api/v1/usage/entries?page_size=1000", "entries"))
    total = sum(int(one["cost_nano_usd"]) for one in listed)
    query = "group_by=day&group_by=run&time_zone=Europe/Berlin&order_by=time&page_size=2"
    rows = list(pages(client, f"/api/v1/usage?{query}", "summaries"))
    assert [row["day"] for row in rows] == ["2026-09-30"] * 3 + ["2026-10-01"] * 3
    assert sum(int(row["cost_nano_usd"]) for row in rows) == total
    assert sum(int(row["entry_count"]) for row in rows) == 900


def test_what_a_run_cost(client: Client) -> None:
    record(client, 30)
    answer = client.get("/api/v1/usage/runs/run%2F1%20%C3%BC")
    assert answer.status == 200, answer.content
    cost: dict[str, Any] = answer.body
    assert len(cost["entries"]) == 10
    total = int(cost["total"]["cost_nano_usd"])
    assert total == sum(int(one["cost_nano_usd"]) for one in cost["entries"])
    assert cost["total"]["cost_usd"] == total / NANO_PER_USD
    assert (cost["reserved_nano_usd"], cost["estimated_nano_usd"]) == ("0", "0")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("usage/runs/nobody's", 404, "RUN_NOT_FOUND"),
        ("usage/export?format=xls", 400, "INVALID_ARGUMENT"),
        (
            "usage/export?start_time=2026-01-02T00:00:00Z&end_time=2026-01-01T00:00:00Z",
            400,
            "INVALID_ARGUMENT",
        ),
        ("usage?group_by=day&time_zone=Europe/Atlantis", 400, "INVALID_ARGUMENT"),
        ("usage?group_by=day&group_by=hour", 400, "INVALID_ARGUMENT"),
        ("usage?order_by=time", 400, "INVALID_ARGUMENT"),
        ("usage/entries?page_token=%E2%98%83", 400, "INVALID_ARGUMENT"),
        ("usage/entries?agent_id=%00", 400, "INVALID_ARGUMENT"),
    ],
)
def test_refusals(client: Client, path: str, status: int, code: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert (answer.status, answer.body["code"]) == (status, code), answer.content
