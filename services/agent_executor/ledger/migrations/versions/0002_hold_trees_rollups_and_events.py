"""Bring trees of holds, roll-ups, budget events, organizations' cards and entries of every kind.

A table that changes is made anew and filled from the old one, on both kinds of database alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens_5m",
    "cache_creation_input_tokens_1h",
)
ENTRY_IDS = ("organization_id", "id", "kind", "user_id", "agent_id", "run_id", "model", "tool_name")
WHAT = ("agent_id", "model", "tool_name", "kind")
HOUR_MS = 3_600_000


def upgrade() -> None:
    """Make the new tables, filled from the old ones."""
    _create_organization_cards()
    _replace_reservations()
    _replace_usage_entries()
    _refuse_changes()
    _create_rollups()
    _replace_budgets()
    _replace_overruns()


def downgrade() -> None:
    """Refuse: what the new tables hold has no place in the old ones."""
    raise NotImplementedError("A ledger is not brought back to an older revision.")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _integers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def _longs(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, LONG, nullable=False) for name in names]


def _key(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _sequence() -> sa.Column[int]:
    return sa.Column("sequence", LONG, primary_key=True)


def _create(name: str, *parts: sa.schema.SchemaItem, with_rowid: bool = False) -> None:
    op.create_table(name, *parts, sqlite_with_rowid=with_rowid, sqlite_strict=True)


def _index(name: str, table: str, columns: Sequence[str], where: str = "") -> None:
    condition = sa.text(where) if where else None
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _move(table: str, columns: Sequence[str], added: Mapping[str, str]) -> None:
    """Fills ``<table>_new`` with these columns of the old table, and puts it in its place.

    ``added`` has an expression for each column that the old table lacks.
    """
    names = ", ".join((*columns, *added))
    values = ", ".join((*columns, *added.values()))
    op.execute(f"INSERT INTO {table}_new ({names}) SELECT {values} FROM {table}")  # noqa: S608 -- names of this file
    op.drop_table(table)
    op.rename_table(f"{table}_new", table)
    if _is_postgresql():
        op.execute(f"ALTER INDEX {table}_new_pkey RENAME TO {table}_pkey")


def _create_organization_cards() -> None:
    _create(
        "organization_cards",
        _sequence(),
        *_texts("organization_id", "id", "model", "tool_name"),
        *_longs("valid_from_ms"),
        sa.Column("valid_until_ms", LONG, nullable=True),
        *_longs("created_at_ms"),
        sa.Column("withdrawn_at_ms", LONG, nullable=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("organization_id", "id", name="organization_cards_by_id"),
        with_rowid=True,
    )


def _replace_reservations() -> None:
    _create(
        "reservations_new",
        *_key("organization_id", "id"),
        *_texts("user_id", "agent_id", "run_id", "model", "processing", "speed"),
        *_integers(
            "max_input_tokens",
            "max_output_tokens",
            "asked_output_tokens",
            "min_output_tokens",
            "writes_cache",
        ),
        *_texts("rate_card_id", "parent_id"),
        *_longs(
            "held_nano_usd",
            "remaining_nano_usd",
            "drawn_nano_usd",
            "spent_nano_usd",
            "created_at_ms",
            "ttl_ms",
            "expires_at_ms",
        ),
        *_texts("state"),
    )
    kept = (
        *("organization_id", "id", "user_id", "agent_id", "run_id", "model", "max_input_tokens"),
        *("max_output_tokens", "writes_cache", "rate_card_id", "held_nano_usd", "created_at_ms"),
        *("expires_at_ms", "state"),
    )
    added = {
        "processing": "''",
        "speed": "''",
        "asked_output_tokens": "max_output_tokens",
        "min_output_tokens": "0",
        "parent_id": "''",
        "remaining_nano_usd": "CASE state WHEN 'open' THEN held_nano_usd ELSE 0 END",
        "drawn_nano_usd": "0",
        "spent_nano_usd": "0",
        "ttl_ms": "expires_at_ms - created_at_ms",
    }
    _move("reservations", kept, added)
    _index(
        "reservations_open", "reservations", ["organization_id", "expires_at_ms"], "state = 'open'"
    )
    _index("reservations_by_run", "reservations", ["organization_id", "run_id", "created_at_ms"])
    _index(
        "reservations_ended_with_draws",
        "reservations",
        ["organization_id"],
        "state <> 'open' AND remaining_nano_usd > 0",
    )


def _replace_usage_entries() -> None:
    if _is_postgresql():
        # The name of an index is taken for the whole schema there.
        op.drop_constraint("usage_entries_by_id", "usage_entries", type_="unique")
    _create(
        "usage_entries_new",
        _sequence(),
        *_texts(*ENTRY_IDS),
        *_longs(*TOKENS, "cost_nano_usd"),
        *_texts("rate_card_id", "processing", "speed"),
        *_integers("estimated", "is_test", "attempt"),
        *_texts("reservation_id", "reservation_outcome", "corrects_entry_id", "description"),
        *_texts("content_digest"),
        *_integers("prefix_tokens", "history_tokens", "is_background"),
        *_longs("occurred_at_ms", "created_at_ms"),
        sa.UniqueConstraint("organization_id", "id", name="usage_entries_by_id"),
        with_rowid=True,
    )
    kept = (
        *("sequence", "organization_id", "id", "kind", "user_id", "agent_id", "run_id", "model"),
        *(*TOKENS, "cost_nano_usd", "rate_card_id", "estimated", "is_test", "attempt"),
        *("reservation_id", "reservation_outcome", "created_at_ms"),
    )
    texts = ("tool_name", "processing", "speed", "corrects_entry_id", "description")
    added = dict.fromkeys((*texts, "content_digest"), "''")
    added |= dict.fromkeys(("prefix_tokens", "history_tokens", "is_background"), "0")
    # It was recorded as it happened.
    _move("usage_entries", kept, {**added, "occurred_at_ms": "created_at_ms"})
    if _is_postgresql():
        op.execute("ALTER SEQUENCE usage_entries_new_sequence_seq RENAME TO usage_entries_sequence")
        op.execute(
            "SELECT setval('usage_entries_sequence', "
            "(SELECT COALESCE(MAX(sequence), 0) + 1 FROM usage_entries), false)"
        )
    for name, columns in (
        ("time", ["occurred_at_ms"]),
        *((whose, [f"{whose}_id", "occurred_at_ms"]) for whose in ("run", "agent", "user")),
        ("position", ["sequence"]),
    ):
        _index(f"usage_entries_by_{name}", "usage_entries", ["organization_id", *columns])
    _index(
        "usage_entries_by_corrected",
        "usage_entries",
        ["organization_id", "corrects_entry_id"],
        "corrects_entry_id <> ''",
    )


def _refuse_changes() -> None:
    """The triggers went with the old table."""
    if _is_postgresql():
        op.execute(
            "CREATE TRIGGER usage_entries_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE "
            "ON usage_entries EXECUTE FUNCTION refuse_change()"
        )
        return
    for change in ("update", "delete"):
        op.execute(
            f"CREATE TRIGGER usage_entries_refuse_{change} BEFORE {change} ON usage_entries "
            "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        )


def _create_rollups() -> None:
    _create(
        "usage_rollups",
        *_key("organization_id"),
        *_key("detail"),
        sa.Column("span_hours", sa.Integer, primary_key=True),
        sa.Column("start_ms", LONG, primary_key=True),
        *_key("user_id", *WHAT),
        *_longs("entry_count", *TOKENS, "cost_nano_usd"),
    )
    sums = ", ".join(f"SUM({name})" for name in (*TOKENS, "cost_nano_usd"))
    for detail, span_hours in (
        *(("all", 24), ("agents", 24), ("agents", 1), ("users", 24), ("users", 1)),
    ):
        start = f"occurred_at_ms - occurred_at_ms % {span_hours * HOUR_MS}"
        told_apart = {"all": ("user_id", *WHAT), "agents": WHAT, "users": ("user_id",)}[detail]
        values = (name if name in told_apart else "''" for name in ("user_id", *WHAT))
        op.execute(
            f"INSERT INTO usage_rollups SELECT organization_id, '{detail}', {span_hours}, {start},"  # noqa: S608 -- names of this file
            f" {', '.join(values)}, COUNT(*), {sums} FROM usage_entries"
            f" GROUP BY organization_id, {start}, {', '.join(told_apart)}"
        )


def _replace_budgets() -> None:
    op.drop_index("budgets_by_scope", "budgets")
    _create(
        "budgets_new",
        *_key("organization_id", "id"),
        *_longs("limit_nano_usd"),
        *_texts("spending_window", "user_id", "agent_id", "run_id", "time_zone", "alert_percents"),
        *_longs("reserved_nano_usd", "counted_from_ms"),
    )
    kept = (
        *("organization_id", "id", "limit_nano_usd", "spending_window", "user_id", "agent_id"),
        *("run_id", "reserved_nano_usd"),
    )
    # A budget's first balance was made with it.
    first = (
        "COALESCE((SELECT MIN(window_start_ms) FROM budget_balances"
        " WHERE budget_balances.organization_id = budgets.organization_id"
        " AND budget_id = budgets.id), 0)"
    )
    added = {"time_zone": "'UTC'", "alert_percents": "'[]'", "counted_from_ms": first}
    _move("budgets", kept, added)
    _index("budgets_by_scope", "budgets", ["organization_id", "user_id", "agent_id", "run_id"])
    _index("budgets_of_runs", "budgets", ["organization_id"], "run_id <> ''")

    _create(
        "budget_balances_new",
        *_key("organization_id", "budget_id"),
        sa.Column("window_start_ms", LONG, primary_key=True),
        *_longs("settled_nano_usd"),
        *_integers("alerted_percent"),
    )
    balance = ("organization_id", "budget_id", "window_start_ms", "settled_nano_usd")
    _move("budget_balances", balance, {"alerted_percent": "0"})


def _replace_overruns() -> None:
    _create(
        "budget_events",
        _sequence(),
        *_texts("organization_id", "budget_id", "kind"),
        *_integers("percent"),
        *_texts("entry_id"),
        *_longs(
            "limit_nano_usd",
            "settled_nano_usd",
            "reserved_nano_usd",
            "window_start_ms",
            "created_at_ms",
        ),
        with_rowid=True,
    )
    _index("budget_events_by_budget", "budget_events", ["organization_id", "budget_id"])
    connection = op.get_bind()
    # Those of a deleted budget go: its events are deleted with it now.
    overruns = connection.execute(
        sa.text(
            "SELECT o.organization_id, o.budget_id, o.entry_id, o.excess_nano_usd,"
            " o.recorded_at_ms, b.limit_nano_usd, b.spending_window FROM budget_overruns AS o"
            " JOIN budgets AS b ON b.organization_id = o.organization_id AND b.id = o.budget_id"
            " ORDER BY o.sequence"
        )
    )
    events = [_event(*row) for row in overruns]
    if events:
        table = sa.table("budget_events", *(sa.column(name) for name in events[0]))
        connection.execute(sa.insert(table), events)
    op.drop_table("budget_overruns")


def _event(
    organization_id: str,
    budget_id: str,
    entry_id: str,
    excess_nano_usd: int,
    recorded_at_ms: int,
    limit_nano_usd: int,
    window: str,
) -> dict[str, object]:
    """Returns an overrun as an event. What was held then is not known; the excess is exact."""
    return {
        "organization_id": organization_id,
        "budget_id": budget_id,
        "kind": "overrun",
        "percent": 0,
        "entry_id": entry_id,
        "limit_nano_usd": limit_nano_usd,
        "settled_nano_usd": limit_nano_usd + excess_nano_usd,
        "reserved_nano_usd": 0,
        "window_start_ms": _window_start_ms(window, recorded_at_ms),
        "created_at_ms": recorded_at_ms,
    }


def _window_start_ms(window: str, at_ms: int) -> int:
    if window == "total":
        return 0
    day = datetime.fromtimestamp(at_ms // 1000, UTC).replace(hour=0, minute=0, second=0)
    start = day.replace(day=1) if window == "month" else day
    return int(start.timestamp()) * 1000
