"""What runs do to the outbox, within the journal's transactions, in PostgreSQL."""

from __future__ import annotations

from typing import Final

import msgspec

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.webhooks.delivery import Delivery, Webhook, new_delivery
from agent_executor.storage.postgres_writer import PostgresTransaction

_NAMES: Final = Delivery.__struct_fields__
_PLACES: Final = ", ".join(f"${number}" for number in range(1, len(_NAMES) + 1))
_INSERT: Final = f"INSERT INTO webhook_deliveries ({', '.join(_NAMES)}) VALUES ({_PLACES})"  # noqa: S608 -- fixed column names, no input
# A run ends once; should its log be written after its end, nothing is told again.
_END: Final = (
    "UPDATE webhook_deliveries SET due_at_ms = $1"
    " WHERE run_id = $2 AND due_at_ms = 0 AND attempts = 0"
)


async def begin_run(transaction: PostgresTransaction, run: RunRecord, webhook: Webhook) -> None:
    """Puts a new run's delivery in."""
    delivery = new_delivery(run.run_id, run.organization_id, webhook, run.ended_at_ms)
    await transaction.execute(_INSERT, *msgspec.structs.astuple(delivery))


async def end_run(transaction: PostgresTransaction, run: RunRecord) -> None:
    """Makes a run's delivery due."""
    await transaction.execute(_END, run.ended_at_ms, run.run_id)
