"""The executor's tables, for migrations. The hot path writes its SQL by hand against them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import TEXT

METADATA: Final = MetaData()

AGENTS: Final = Table(
    "agents",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("deleted", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

AGENT_VERSIONS: Final = Table(
    "agent_versions",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("body", LargeBinary, nullable=False, comment="AgentVersion as JSON"),
    sqlite_with_rowid=False,
)

AGENT_KEYS: Final = Table(
    "agent_keys",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_digest", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("agent_keys_by_time", AGENT_KEYS.c.created_at_ms)

RUNS: Final = Table(
    "runs",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("permissions", Text, nullable=False, comment="JSON list"),
    Column("agent_id", Text, nullable=False),
    Column("agent_version", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("input", Text, nullable=False),
    Column("is_test", Integer, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("ended_at_ms", BigInteger, nullable=False),
    Column("response", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("tokens_used", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("last_sequence", Integer, nullable=False),
    Column("parent_run_id", Text, nullable=False, server_default=""),
    Column("amount_id", Text, nullable=False, server_default=""),
    Column("conversation_id", Text, nullable=False, server_default=""),
    Column("wake_at_ms", BigInteger, nullable=False, server_default="0"),
    Column("cancel_requested_at_ms", BigInteger, nullable=False, server_default="0"),
    Column("cancel_user_id", Text, nullable=False, server_default=""),
    Column("cancel_reason", Text, nullable=False, server_default=""),
    Column("has_webhook", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
Index("runs_by_organization", RUNS.c.organization_id, RUNS.c.run_id)
# Those under way, which have not ended, stand together in it, and so do those that ended last.
Index("runs_by_end", RUNS.c.organization_id, RUNS.c.ended_at_ms, RUNS.c.run_id)
# Those that have a parent or a conversation are few among all, and found by it.
for _name in ("parent_run_id", "conversation_id"):
    Index(
        f"runs_by_{_name}",
        RUNS.c.organization_id,
        RUNS.c[_name],
        RUNS.c.run_id,
        sqlite_where=RUNS.c[_name] != "",
        postgresql_where=RUNS.c[_name] != "",
    )
# Unfinished runs are few however many have ended. Those of one owner stand together in it, and of
# those that wait for their turn, which have none, those of each organization in their order.
Index(
    "runs_unfinished",
    RUNS.c.owner,
    RUNS.c.wake_at_ms,
    RUNS.c.organization_id,
    RUNS.c.run_id,
    sqlite_where=RUNS.c.ended_at_ms == 0,
    postgresql_where=RUNS.c.ended_at_ms == 0,
)

# Ids that callers choose are compared as the bytes that they are, on every database alike.
_ID: Final = Text().with_variant(TEXT(collation="C"), "postgresql")

CONVERSATIONS: Final = Table(
    "conversations",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("conversation_id", _ID, primary_key=True),
    Column("agent_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("last_run_id", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("run_count", Integer, nullable=False),
    Column("part_count", Integer, nullable=False),
    Column("message_count", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("applied_trim", Text, nullable=False, comment="AppliedTrim as JSON, or empty"),
    sqlite_with_rowid=False,
)
Index(
    "conversations_by_time",
    CONVERSATIONS.c.organization_id,
    CONVERSATIONS.c.updated_at_ms,
    CONVERSATIONS.c.conversation_id,
)

CONVERSATION_PARTS: Final = Table(
    "conversation_parts",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("conversation_id", _ID, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("first_index", Integer, nullable=False),
    Column("end_index", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("messages", LargeBinary, nullable=False, comment="JSON list"),
    sqlite_with_rowid=False,
)

RUN_EVENTS: Final = Table(
    "run_events",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False, comment="the event as JSON"),
    sqlite_with_rowid=False,
)

EXECUTORS: Final = Table(
    "executors",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("lease_expires_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

IDEMPOTENCY_KEYS: Final = Table(
    "idempotency_keys",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_digest", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("idempotency_keys_by_time", IDEMPOTENCY_KEYS.c.created_at_ms)

APPROVALS: Final = Table(
    "approvals",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("tool_call_id", Text, primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("tool_name", Text, nullable=False),
    Column("arguments_json", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decision_reason", Text, nullable=False),
    Column("edited_arguments_json", Text, nullable=False),
    Column("decided_at_ms", BigInteger, nullable=False),
    Column("is_taken_up", Integer, nullable=False, comment="the decision is in the run's log"),
    sqlite_with_rowid=False,
)
# Those that wait are few however many there have been.
Index(
    "approvals_open",
    APPROVALS.c.organization_id,
    APPROVALS.c.created_at_ms,
    APPROVALS.c.tool_call_id,
    sqlite_where=APPROVALS.c.is_taken_up == 0,
    postgresql_where=APPROVALS.c.is_taken_up == 0,
)
Index(
    "approvals_by_expiry",
    APPROVALS.c.expires_at_ms,
    sqlite_where=APPROVALS.c.is_taken_up == 0,
    postgresql_where=APPROVALS.c.is_taken_up == 0,
)
_IS_TO_BE_TAKEN_UP: Final = (APPROVALS.c.is_taken_up == 0) & (APPROVALS.c.state != "pending")
Index(
    "approvals_decided",
    APPROVALS.c.run_id,
    sqlite_where=_IS_TO_BE_TAKEN_UP,
    postgresql_where=_IS_TO_BE_TAKEN_UP,
)

PROVIDER_BATCHES: Final = Table(
    "provider_batches",
    METADATA,
    Column("batch_key", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("api_key_ciphertext", LargeBinary, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("batch_id", Text, nullable=False, comment="the provider's; empty until it is known"),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("look_at_ms", BigInteger, nullable=False),
    Column("is_cancelled", Integer, nullable=False),
    Column("is_collected", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("provider_batches_by_look", PROVIDER_BATCHES.c.look_at_ms, PROVIDER_BATCHES.c.batch_key)

PROVIDER_BATCH_CALLS: Final = Table(
    "provider_batch_calls",
    METADATA,
    Column("model_call_id", Text, primary_key=True),
    Column("batch_key", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("organization_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("details", LargeBinary, nullable=False, comment="CallDetails as JSON"),
    Column("is_abandoned", Integer, nullable=False),
    Column("has_outcome", Integer, nullable=False),
    Column("outcome", LargeBinary, nullable=False, comment="BatchOutcome as JSON, or empty"),
    sqlite_with_rowid=False,
)
Index("provider_batch_calls_by_batch", PROVIDER_BATCH_CALLS.c.batch_key)
Index("provider_batch_calls_by_run", PROVIDER_BATCH_CALLS.c.run_id)
_IS_WAITED_FOR: Final = (PROVIDER_BATCH_CALLS.c.has_outcome == 1) & (
    PROVIDER_BATCH_CALLS.c.is_abandoned == 0
)
Index(
    "provider_batch_calls_to_wake",
    PROVIDER_BATCH_CALLS.c.run_id,
    sqlite_where=_IS_WAITED_FOR,
    postgresql_where=_IS_WAITED_FOR,
)

WEBHOOK_DELIVERIES: Final = Table(
    "webhook_deliveries",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("webhook_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("secret_ciphertext", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status_code", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("due_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
# Those that are to come are few among all; those of one receiver stand together, in their order.
Index(
    "webhook_deliveries_to_come",
    WEBHOOK_DELIVERIES.c.origin,
    WEBHOOK_DELIVERIES.c.due_at_ms,
    WEBHOOK_DELIVERIES.c.run_id,
    sqlite_where=WEBHOOK_DELIVERIES.c.due_at_ms > 0,
    postgresql_where=WEBHOOK_DELIVERIES.c.due_at_ms > 0,
)

API_KEYS: Final = Table(
    "api_keys",
    METADATA,
    Column("key_id", Text, primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the secret"),
    Column("hint", Text, nullable=False),
    Column("permissions", Text, nullable=False, comment="JSON list"),
    Column("kind", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("last_used_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("api_keys_by_digest", API_KEYS.c.digest, unique=True)
Index("api_keys_by_organization", API_KEYS.c.organization_id, API_KEYS.c.key_id)
Index("api_keys_by_user", API_KEYS.c.organization_id, API_KEYS.c.user_id, API_KEYS.c.key_id)
