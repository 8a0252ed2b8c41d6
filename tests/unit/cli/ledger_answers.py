"""Answers of the ledger as REST gives them: int64 as texts, times as texts, nothing left out."""

from __future__ import annotations

from typing import Any


def summary(cost_nano_usd: int = 0, entries: int = 1, **changes: object) -> dict[str, Any]:
    """Returns the sums of one group."""
    names = ("user_id", "agent_id", "model", "run_id", "tool_name", "kind", "hour", "day", "month")
    row: dict[str, Any] = dict.fromkeys(names, "")
    return row | {
        "entry_count": str(entries),
        "input_tokens": "1200",
        "output_tokens": "300",
        "cache_read_input_tokens": "50",
        "cache_creation_input_tokens_5m": "0",
        "cache_creation_input_tokens_1h": "0",
        "tokens_used": "1550",
        "cost_nano_usd": str(cost_nano_usd),
        "cost_usd": cost_nano_usd / 1e9,
        **changes,
    }


def page(*rows: dict[str, Any], token: str = "") -> dict[str, Any]:
    """Returns a page of sums."""
    total = sum(int(row["cost_nano_usd"]) for row in rows)
    return {
        "summaries": list(rows),
        "total": summary(total, entries=len(rows)),
        "next_page_token": token,
    }


def entry(entry_id: str, cost_nano_usd: int, second: int, **changes: object) -> dict[str, Any]:
    """Returns an entry of a model call."""
    return {
        "id": entry_id,
        "kind": "model_call",
        "user_id": "ada",
        "agent_id": "agent",
        "run_id": "run_1",
        "model": "claude-sonnet-5",
        "usage": {
            "input_tokens": 1_000,
            "output_tokens": 200,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens_5m": 0,
            "cache_creation_input_tokens_1h": 0,
        },
        "cost_nano_usd": str(cost_nano_usd),
        "estimated": False,
        "is_test": False,
        "reservation_outcome": "open",
        "attempt": 1,
        "corrects_entry_id": "",
        "tool_name": "",
        "description": "",
        "occurred_at": f"2026-11-27T10:00:{second:02d}.500Z",
        "created_at": "2026-11-27T10:00:00Z",
        **changes,
    }


RUN_COST: dict[str, Any] = {
    "run_id": "run_1",
    "entries": [
        entry("call-1", 4_000_000, 0, estimated=True, reservation_outcome="expired"),
        entry("call-1-2", 4_000_000, 2, attempt=2),
        entry("tool-1", 10_000_000, 3, kind="tool_call", tool_name="search", model="", usage=None),
        entry(
            "fix",
            -1_000_000,
            4,
            kind="correction",
            corrects_entry_id="call-1",
            description="the provider's own count",
        ),
    ],
    "reservations": [
        {"id": "call-1", "state": "settled", "held_nano_usd": "9000000"},
        {"id": "call-3", "state": "voided", "held_nano_usd": "9000000"},
        {"id": "call-4", "state": "open", "held_nano_usd": "9000000"},
    ],
    "total": summary(17_000_000, entries=4, tokens_used="2400"),
    "estimated_nano_usd": "3000000",
    "reserved_nano_usd": "9000000",
}


def budget(budget_id: str, limit: int, settled: int, reserved: int, **changes: Any) -> Any:
    """Returns a budget; amounts in cents."""
    cent = 10_000_000
    return {
        "id": budget_id,
        "user_id": "",
        "agent_id": "",
        "run_id": "",
        "window": "month",
        "limit_nano_usd": str(limit * cent),
        "settled_nano_usd": str(settled * cent),
        "reserved_nano_usd": str(reserved * cent),
        "left_nano_usd": str((limit - settled - reserved) * cent),
        "resets_at": "2026-12-01T00:00:00Z",
        "time_zone": "UTC",
        "alert_percents": [],
        **changes,
    }


EVENTS: list[dict[str, Any]] = [
    {
        "id": "2",
        "budget_id": "everyone",
        "kind": "overrun",
        "percent": 0,
        "entry_id": "",
        "limit_nano_usd": "1000000000",
        "settled_nano_usd": "1500000000",
        "reserved_nano_usd": "0",
        "created_at": "2026-11-27T10:00:00.123Z",
    },
    {
        "id": "1",
        "budget_id": "everyone",
        "kind": "threshold_reached",
        "percent": 80,
        "entry_id": "call-1",
        "limit_nano_usd": "10000000000",
        "settled_nano_usd": "8000000000",
        "reserved_nano_usd": "0",
        "created_at": "2026-11-26T10:00:00Z",
    },
]

CARD: dict[str, Any] = {
    "id": "organization/claude-sonnet-5@0123456789abcdef",
    "provider": "organization",
    "model": "claude-sonnet-5",
    "tool_name": "",
    "processing": "",
    "speed": "",
    "rates": {
        "input_usd_per_million_tokens": 1.6,
        "output_usd_per_million_tokens": 8,
        "cache_read_usd_per_million_tokens": 0.16,
    },
    "tiers": [
        {
            "above_input_tokens": 200_000,
            "rates": {"input_usd_per_million_tokens": 3.2, "output_usd_per_million_tokens": 12},
        }
    ],
    "fee_usd": 0,
    "valid_from": "2026-11-01T00:00:00Z",
    "created_by": "ada",
    "description": "",
}
TOOL_CARD = CARD | {
    "id": "organization/search@0123456789abcdef",
    "model": "",
    "tool_name": "search",
    "rates": None,
    "tiers": [],
    "fee_usd": 0.01,
    "withdrawn_at": "2026-11-20T00:00:00Z",
}

SUGGESTIONS: dict[str, Any] = {
    "suggestions": [
        {
            "id": "cheaper_model-0123456789abcdef",
            "kind": "cheaper_model",
            "agent_id": "agent_support",
            "model": "claude-large",
            "tool_name": "",
            "finding": "100 % of the 788 runs of agent agent_support are short, and more of the like.",
            "change": "Try model claude-small for the agent on its test route.",
            "saving": {
                "low_nano_usd": "12559526000",
                "expected_nano_usd": "13667722000",
                "high_nano_usd": "14775918000",
                "expected_usd": 13.667722,
            },
            "evidence_run_ids": [f"run_{number}" for number in range(10)],
            "evidence_run_count": "788",
            "figures": {"run_count": 788},
        },
        {
            "id": "tool_result_cache-0123456789abcdef",
            "kind": "tool_result_cache",
            "agent_id": "",
            "model": "",
            "tool_name": "search",
            "finding": "2 calls of 9 repeated one.",
            "change": "Let the tool's results be kept for an hour.",
            "saving": {
                "low_nano_usd": "10000000",
                "expected_nano_usd": "20000000",
                "high_nano_usd": "30000000",
                "expected_usd": 0.02,
            },
            "evidence_run_ids": [],
            "evidence_run_count": "0",
            "figures": {},
        },
    ],
    "start_time": "2026-10-28T10:00:00Z",
    "end_time": "2026-11-27T10:00:00Z",
    "cost_nano_usd": "22160000000",
}
