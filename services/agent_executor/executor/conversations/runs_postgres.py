"""What runs do to their conversation, within the journal's transactions, in PostgreSQL."""

from __future__ import annotations

from typing import Final

from agent_executor.errors import ConflictError
from agent_executor.executor.conversations.conversation import RunEnd, busy_error
from agent_executor.executor.conversations.rows import (
    CONVERSATION_NAMES,
    PART_NAMES,
    new_row,
    part_row,
    trim_text,
)
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.storage.postgres_writer import PostgresTransaction


def _places(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))


# Of two runs that begin a conversation, the second waits here for the first one's commit.
_INSERT: Final = (
    f"INSERT INTO conversations ({', '.join(CONVERSATION_NAMES)})"  # noqa: S608 -- fixed column names, no input
    f" VALUES ({_places(len(CONVERSATION_NAMES))}) ON CONFLICT DO NOTHING"
)
# Of two that continue it, the second waits too, and then finds another last run. A run that has
# ended stays so, therefore the snapshot of its row cannot be too old to say no by mistake.
_CONTINUE: Final = (
    "UPDATE conversations SET agent_id = $3, last_run_id = $4, run_count = run_count + 1,"
    " updated_at_ms = greatest(updated_at_ms, $5::bigint)"
    " WHERE organization_id = $1 AND conversation_id = $2 AND last_run_id = $6"
    " AND EXISTS (SELECT 1 FROM runs WHERE run_id = $6 AND ended_at_ms > 0)"
)
_LAST_RUN: Final = (
    "SELECT last_run_id FROM conversations WHERE organization_id = $1 AND conversation_id = $2"
)
_ADD_PART: Final = (
    f"INSERT INTO conversation_parts ({', '.join(PART_NAMES)})"  # noqa: S608 -- fixed column names, no input
    f" VALUES ({_places(len(PART_NAMES))})"
)
_END: Final = (
    "UPDATE conversations SET part_count = part_count + $4::int, message_count = $5,"
    " size_bytes = size_bytes + $6::bigint, updated_at_ms = greatest(updated_at_ms, $7::bigint),"
    " applied_trim = CASE $8::text WHEN '' THEN applied_trim ELSE $8::text END"
    " WHERE organization_id = $1 AND conversation_id = $2 AND last_run_id = $3"
)
_NO_ROW: Final = " 0"


async def begin_run(
    transaction: PostgresTransaction, run: RunRecord, after_run_id: str
) -> ConflictError | None:
    """Makes a run the last one of its conversation, or returns why it cannot be; see ``Journal``."""
    key = (run.organization_id, run.conversation_id)
    if after_run_id:
        values = (*key, run.agent_id, run.run_id, run.created_at_ms, after_run_id)
        status = await transaction.execute(_CONTINUE, *values)
    else:
        status = await transaction.execute(_INSERT, *new_row(run))
    if not status.endswith(_NO_ROW):
        return None
    last = await transaction.fetchval(_LAST_RUN, *key)
    return busy_error(run.conversation_id, last or after_run_id)


async def end_run(transaction: PostgresTransaction, end: RunEnd) -> None:
    """Adds what a run that ended has said."""
    row = part_row(end)
    size_bytes = 0
    if end.part.messages:
        await transaction.execute(_ADD_PART, *row)
        size_bytes = row[PART_NAMES.index("size_bytes")]
    await transaction.execute(
        _END,
        end.organization_id,
        end.conversation_id,
        end.part.run_id,
        int(bool(end.part.messages)),
        end.part.end_index,
        size_bytes,
        end.ended_at_ms,
        trim_text(end),
    )
