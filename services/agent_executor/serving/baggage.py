"""W3C baggage: what the spans of a call are told of the run that makes it, across processes.

It goes from service to service on their own streams alone, and only where a trace is recorded.
Nothing that leaves the platform carries it, and no caller's own is read: who calls is in the grant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from opentelemetry import baggage
from opentelemetry.context import Context

from agent_executor.serving import semantic_conventions as names

CARRIED: Final = (
    names.AGENT_EXECUTOR_RUN_ID,
    names.AGENT_EXECUTOR_ORGANIZATION_ID,
    names.AGENT_EXECUTOR_MODEL_CALL_ID,
)
"""All that baggage may hold; anything else is left out at both ends."""

# Of the field that carries it; beyond that there is none, since it is worth no failed call.
BAGGAGE_MAX_BYTES: Final = 1024


def with_baggage(values: Mapping[str, str], context: Context | None = None) -> Context:
    """Returns a context with so much more baggage.

    Args:
        values: By name, of ``CARRIED``; the empty ones are left out.
        context: What it is added to. Default: that of the running task.
    """
    for name, value in values.items():
        if value:
            context = baggage.set_baggage(name, value, context)
    return context if context is not None else Context()


def baggage_value(name: str, context: Context | None = None) -> str:
    """Returns what the baggage of a context says; empty if nothing."""
    value = baggage.get_baggage(name, context)
    return value if isinstance(value, str) else ""


def format_baggage(context: Context | None = None) -> str:
    """Returns the baggage of a context as a header has it; empty if there is none, or too much."""
    held = baggage.get_all(context)
    text = ",".join(f"{name}={quote(str(held[name]), safe='')}" for name in CARRIED if name in held)
    return text if len(text) <= BAGGAGE_MAX_BYTES else ""


def parse_baggage(text: str) -> dict[str, str]:
    """Returns what baggage says; what cannot be read, or is not known, is left out."""
    found = {}
    for member in text.split(","):
        name, _, value = member.partition("=")
        if name.strip() in CARRIED:
            found[name.strip()] = unquote(value.partition(";")[0].strip())
    return found
