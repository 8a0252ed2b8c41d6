"""One line of the ledger, which never changes."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import NanoUsd

EntryKind: TypeAlias = Literal["model_call", "tool_call", "correction", "rerating", "adjustment"]
"""What an entry records.

``model_call``: tokens at their price. ``tool_call``: one call at the tool's fee, which may be zero.
``correction``: what the usage of another entry really was, as the difference. ``rerating``: another
entry at another price, as the difference. ``adjustment``: an amount without usage.
"""

ReservationOutcome: TypeAlias = Literal["none", "unknown", "open", "settled", "voided", "expired"]
"""How an entry found its reservation: it had ``none``, an ``unknown`` one, or one in a state."""


class Purpose(msgspec.Struct, frozen=True):
    """What a call was made for. It decides no price; suggestions are computed from it.

    Attributes:
        content_digest: Of a model call, names the part of the prompt that stays the same from call
            to call; of a tool call, its arguments. Empty: not known.
        prefix_tokens: About how many input tokens are that part of the prompt; 0: not known.
        history_tokens: About how many input tokens are earlier turns of the conversation.
        is_background: Nobody waits for the run, so that it might be done later for less.
    """

    content_digest: str = ""
    prefix_tokens: int = 0
    history_tokens: int = 0
    is_background: bool = False


UNKNOWN_PURPOSE = Purpose()


class UsageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ledger.

    Attributes:
        id: The idempotency key: an id counts once in its organization.
        user_id: On whose behalf.
        agent_id: Empty if none was named.
        run_id: Empty if none was named.
        model: The model as asked for; empty if there was none.
        tool_name: The tool of a ``tool_call``; empty for other kinds.
        usage: The tokens; differences in a ``correction``.
        cost_nano_usd: The exact cost, rounded once; negative if it gives money back.
        rate_card_id: The card that priced it; empty for an amount that was given as such.
        processing: ``batch`` or empty.
        speed: ``fast`` or empty.
        estimated: The usage is an estimate, since the provider's own count was lost.
        is_test: The run is a test. It costs money all the same.
        attempt: How often the call had been made, from 1.
        reservation_id: The reservation it was settled under; empty if there was none.
        reservation_outcome: How it found that reservation.
        corrects_entry_id: The entry that it corrects or rates again; empty if it stands for itself.
        description: Why it was recorded, as the caller put it.
        occurred_at_ms: When the usage occurred, in milliseconds since 1970-01-01 UTC. Prices,
            budgets and summaries go by it.
        created_at_ms: When it was recorded.
    """

    id: str
    organization_id: str
    kind: EntryKind = "model_call"
    user_id: str = ""
    agent_id: str = ""
    run_id: str = ""
    model: str = ""
    tool_name: str = ""
    usage: TokenCounts = TokenCounts()
    cost_nano_usd: NanoUsd = NanoUsd(0)
    rate_card_id: str = ""
    processing: str = ""
    speed: str = ""
    estimated: bool = False
    is_test: bool = False
    attempt: int = 1
    reservation_id: str = ""
    reservation_outcome: ReservationOutcome = "none"
    corrects_entry_id: str = ""
    description: str = ""
    purpose: Purpose = UNKNOWN_PURPOSE
    occurred_at_ms: int
    created_at_ms: int

    def records_the_same(self, other: UsageEntry) -> bool:
        """Tells whether both record the same, whatever it was found to cost, and when.

        A repeat is recorded at another time than the first, when the price may be another and the
        reservation in another state.
        """
        return self._said() == other._said()

    def _said(self) -> tuple[object, ...]:
        return (
            self.id,
            self.organization_id,
            self.kind,
            self.user_id,
            self.agent_id,
            self.run_id,
            self.model,
            self.tool_name,
            # What was asked is a TokenUsage, what was stored need not be.
            msgspec.structs.astuple(self.usage),
            self.processing,
            self.speed,
            self.estimated,
            self.is_test,
            self.attempt,
            self.reservation_id,
            self.corrects_entry_id,
            self.purpose,
        )
