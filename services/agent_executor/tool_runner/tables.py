"""The tool-runner's tables, for migrations. The hot path writes its SQL by hand against them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

METADATA: Final = MetaData()

TOOL_CALLS: Final = Table(
    "tool_calls",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("tool_call_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("tool_name", Text, nullable=False),
    Column("arguments_sha256", Text, nullable=False, comment="hexadecimal"),
    Column("effect", Text, nullable=False),
    Column("trace_id", Text, nullable=False, comment="hexadecimal"),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("runner_id", Integer, nullable=False, server_default="0", comment="0: not known"),
    # All of these are null in an intent: a call that was dispatched and has no result.
    Column("success", Integer),
    Column("result_json", Text),
    Column("error", Text),
    Column("code", Text),
    Column("finished_at_ms", BigInteger),
    Column("duration_ms", Integer),
    sqlite_with_rowid=False,
)

Index(
    "tool_calls_intents",
    TOOL_CALLS.c.started_at_ms,
    sqlite_where=text("success IS NULL"),
    postgresql_where=text("success IS NULL"),
)

AUDIT_EVENTS: Final = Table(
    "audit_events",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, comment="from 1 without a gap"),
    Column("user_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("tool_call_id", Text, nullable=False),
    Column("tool_name", Text, nullable=False),
    Column("arguments_sha256", Text, nullable=False, comment="hexadecimal"),
    Column("decision", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("result_sha256", Text, nullable=False, comment="hexadecimal"),
    Column("duration_ms", Integer, nullable=False),
    Column("trace_id", Text, nullable=False, comment="hexadecimal"),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("tool_version", Text, nullable=False, comment="hexadecimal", server_default=""),
    Column("facts", Text, nullable=False, comment="a JSON array of strings", server_default="[]"),
    Column("previous_sha256", Text, nullable=False, comment="hexadecimal", server_default=""),
    Column("sha256", Text, nullable=False, comment="hexadecimal", server_default=""),
    sqlite_with_rowid=False,
)

for _name, _column in (
    ("audit_events_by_run", AUDIT_EVENTS.c.run_id),
    ("audit_events_by_user", AUDIT_EVENTS.c.user_id),
    ("audit_events_by_time", AUDIT_EVENTS.c.created_at_ms),
):
    Index(_name, AUDIT_EVENTS.c.organization_id, _column, AUDIT_EVENTS.c.sequence)

# Almost every call is allowed, and the newest of those are found without an index.
Index(
    "audit_events_exceptional",
    AUDIT_EVENTS.c.organization_id,
    AUDIT_EVENTS.c.decision,
    AUDIT_EVENTS.c.sequence,
    sqlite_where=text("decision <> 'allowed'"),
    postgresql_where=text("decision <> 'allowed'"),
)

# Ordered by code points everywhere, as Python orders, so that pages of names fit together.
_NAME: Final = Text().with_variant(Text(collation="C"), "postgresql")

CUSTOM_TOOLS: Final = Table(
    "custom_tools",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("name", _NAME, primary_key=True),
    Column("newest_version", Text, nullable=False),
)

CUSTOM_TOOL_VERSIONS: Final = Table(
    "custom_tool_versions",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("name", _NAME, primary_key=True),
    Column("version", Text, primary_key=True, comment="SHA-256 in hexadecimal"),
    Column("class_name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("input_schema_json", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("timeout_seconds", Double, nullable=False),
    Column("cache_ttl_seconds", Integer, nullable=False),
    Column("allowed_origins", Text, nullable=False, comment="a JSON list"),
    Column("findings", Text, nullable=False, comment="a JSON list"),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("requires_approval", Integer, nullable=False, server_default="0"),
)

RATE_LIMITS: Final = Table(
    "rate_limits",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("tool_name", _NAME, primary_key=True),
    Column("scope", _NAME, primary_key=True),
    Column("max_calls", Integer, nullable=False),
    Column("window_seconds", Double, nullable=False),
)

ALLOWED_DOMAINS: Final = Table(
    "allowed_domains",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("domain", _NAME, primary_key=True),
    Column("created_at_ms", BigInteger, nullable=False),
)

CREDENTIALS: Final = Table(
    "credentials",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("name", _NAME, primary_key=True),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("header_name", Text, nullable=False),
    Column("header_prefix", Text, nullable=False),
    Column("allowed_origins", Text, nullable=False, comment="a JSON list"),
    Column("tools", Text, nullable=False, comment="a JSON list"),
    Column("updated_at_ms", BigInteger, nullable=False),
)

MCP_SERVERS: Final = Table(
    "mcp_servers",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("name", _NAME, primary_key=True),
    Column("url", Text, nullable=False),
    Column("credential_name", Text, nullable=False),
    Column("allowed_tools", Text, nullable=False, comment="a JSON list"),
    Column("effect", Text, nullable=False),
    Column("trusts_hints", Integer, nullable=False),
    Column("requires_approval", Integer, nullable=False),
    Column("timeout_seconds", Double, nullable=False),
    Column("server_title", Text, nullable=False),
    Column("protocol_version", Text, nullable=False),
    Column("findings", Text, nullable=False, comment="a JSON list"),
    Column("refreshed_at_ms", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False, comment="grows whenever it is stored"),
)

MCP_TOOL_VERSIONS: Final = Table(
    "mcp_tool_versions",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("name", _NAME, primary_key=True),
    Column("version", Text, primary_key=True, comment="SHA-256 in hexadecimal"),
    Column("server_name", _NAME, nullable=False),
    Column("server_tool_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("input_schema_json", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("requires_approval", Integer, nullable=False),
    Column("timeout_seconds", Double, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    # In force is what has that of its server.
    Column("generation", BigInteger, nullable=False, comment="the server's that had it last"),
)

Index(
    "mcp_tool_versions_by_server",
    MCP_TOOL_VERSIONS.c.organization_id,
    MCP_TOOL_VERSIONS.c.server_name,
    MCP_TOOL_VERSIONS.c.generation,
)
