"""A tool call that a person decides about, as it is kept."""

from __future__ import annotations

from typing import Final

import msgspec

PENDING: Final = "pending"
APPROVED: Final = "approved"
DENIED: Final = "denied"
EXPIRED: Final = "expired"


class Approval(msgspec.Struct, frozen=True):
    """A question to a person, and the answer.

    Attributes:
        tool_call_id: The tool call; it is the approval's id as well.
        arguments_json: The arguments that the model gave, as JSON text.
        reason: Why a decision is needed.
        created_at_ms: When it was asked for, in milliseconds since 1970-01-01 UTC.
        expires_at_ms: From when on it is denied if nobody has decided.
        state: ``pending``, ``approved``, ``denied`` or ``expired``.
        decided_by: The user; empty if nobody has decided.
        decision_reason: What the decider said.
        edited_arguments_json: The arguments in place of the model's; empty if they are unchanged.
        decided_at_ms: When it was decided, or known to have expired; 0 while it is pending.
    """

    tool_call_id: str
    run_id: str
    organization_id: str
    agent_id: str
    tool_name: str
    arguments_json: str
    reason: str
    created_at_ms: int
    expires_at_ms: int
    state: str = PENDING
    decided_by: str = ""
    decision_reason: str = ""
    edited_arguments_json: str = ""
    decided_at_ms: int = 0


class Decision(msgspec.Struct, frozen=True):
    """What a person decided.

    Attributes:
        state: ``approved`` or ``denied``.
        decided_by: The user.
        decision_reason: What the user said; empty if nothing.
        edited_arguments_json: The arguments in place of the model's; empty to leave them.
        decided_at_ms: When.
    """

    state: str
    decided_by: str
    decision_reason: str
    edited_arguments_json: str
    decided_at_ms: int

    def is_that_of(self, approval: Approval) -> bool:
        """Tells whether an approval was decided so, by whomever and for whatever reason."""
        decided = (approval.state, approval.edited_arguments_json)
        return decided == (self.state, self.edited_arguments_json)
