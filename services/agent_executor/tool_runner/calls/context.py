"""What the platform tells a tool of the call that it serves, beside the arguments."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from agent_executor.tool_runner.credentials.credential import CredentialVault


@dataclass(frozen=True, slots=True)
class CallContext:
    """One call, as built-in tools may know it; none of it comes from a model.

    Attributes:
        organization_id: On whose behalf.
        tool_name: The tool that is called; also if it asks the host for a request.
        tool_call_id: The idempotency key of the call in its organization.
        allowed_domains: What tools of the organization may reach, in normal form.
        credentials: The credentials of all organizations; None where there are none.
        allowed_origins: The origins that the tool itself may reach; None for every one that is
            an allowed domain.
    """

    organization_id: str
    tool_name: str
    tool_call_id: str
    allowed_domains: frozenset[str] = frozenset()
    credentials: CredentialVault | None = None
    allowed_origins: frozenset[str] | None = None


current_call: Final[ContextVar[CallContext | None]] = ContextVar("tool_call", default=None)
"""The call that the running task or thread serves; None where a program calls a tool itself."""
