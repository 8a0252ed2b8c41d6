"""What runs do to the outbox, within the journal's transactions, in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.webhooks.delivery import Delivery, Webhook, new_delivery

_NAMES: Final = Delivery.__struct_fields__
_INSERT: Final = (
    f"INSERT INTO webhook_deliveries ({', '.join(_NAMES)})"  # noqa: S608 -- fixed column names, no input
    f" VALUES ({', '.join('?' * len(_NAMES))})"
)
# A run ends once; should its log be written after its end, nothing is told again.
_END: Final = "UPDATE webhook_deliveries SET due_at_ms = ? WHERE run_id = ? AND due_at_ms = 0 AND attempts = 0"


def begin_run(connection: sqlite3.Connection, run: RunRecord, webhook: Webhook) -> None:
    """Puts a new run's delivery in."""
    delivery = new_delivery(run.run_id, run.organization_id, webhook, run.ended_at_ms)
    connection.execute(_INSERT, msgspec.structs.astuple(delivery))


def end_run(connection: sqlite3.Connection, run: RunRecord) -> None:
    """Makes a run's delivery due."""
    connection.execute(_END, (run.ended_at_ms, run.run_id))
