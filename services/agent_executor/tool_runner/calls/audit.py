"""The audit log: one record of each attempt to call a tool, refusals included; append-only.

The records of an organization are a chain: each holds the digest of the one before it. See
``audit_chain``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.serving.security import SecurityContext

Decision: TypeAlias = Literal["allowed", "refused", "replayed"]
Outcome: TypeAlias = Literal["success", "error", "unknown", "none"]

READ_PERMISSION: Final = "policy:admin"
DEFAULT_PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1_000
FACTS_MAX: Final = 16
_TOKEN_DIGITS_MAX: Final = 16


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. It holds digests of arguments and result, never their content.

    Attributes:
        sequence: From 1 without a gap in each organization; 0 until it is stored.
        tool_name: As it was asked for.
        arguments_sha256: Of the arguments' JSON text, in hexadecimal.
        decision: ``allowed``, ``refused`` or ``replayed`` (answered from the call's record).
        rule: What decided, for example ``permission`` or ``rate_limit``; empty if allowed.
        outcome: ``success``, ``error``, ``unknown`` if the tool may have taken effect, or ``none``
            if it was not dispatched.
        code: A name of ``ErrorReason``; empty on success.
        result_sha256: Of the result's JSON text, in hexadecimal; empty without a result.
        duration_ms: How long the tool ran.
        trace_id: In hexadecimal; empty if the call was not traced.
        created_at_ms: Milliseconds since 1970-01-01 UTC.
        tool_version: Of a custom tool, in hexadecimal; empty for a built-in one.
        facts: What is to be known beside the decision, for example ``screening:sql_injection``;
            at most 16.
        previous_sha256: The digest of the record before; empty until it is stored.
        sha256: The digest of this record, in hexadecimal; empty until it is stored.

    Raises:
        ValueError: There are too many facts.
    """

    organization_id: str
    sequence: int = 0
    user_id: str
    run_id: str
    agent_id: str
    tool_call_id: str
    tool_name: str
    arguments_sha256: str
    decision: Decision
    rule: str
    outcome: Outcome
    code: str
    result_sha256: str
    duration_ms: int
    trace_id: str
    created_at_ms: int
    tool_version: str = ""
    facts: tuple[str, ...] = ()
    previous_sha256: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if len(self.facts) > FACTS_MAX:
            raise ValueError(f"An audit record has at most {FACTS_MAX} facts.")


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are asked for: those that meet every condition that is set.

    Attributes:
        run_id: Only those of this run; empty for all.
        tool_name: Only those of this tool; empty for all.
        user_id: Only those of this user; empty for all.
        decision: Only those with this decision; empty for all.
        created_from_ms: Only those from this time on, as ``created_at_ms``; None for all.
        created_before_ms: Only those before this time; None for all.
    """

    run_id: str = ""
    tool_name: str = ""
    user_id: str = ""
    decision: str = ""
    created_from_ms: int | None = None
    created_before_ms: int | None = None

    def matches(self, record: AuditRecord) -> bool:
        """Tells whether a record meets every condition."""
        wanted = (self.run_id, self.tool_name, self.user_id, self.decision)
        found = (record.run_id, record.tool_name, record.user_id, record.decision)
        if any(want and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        if self.created_from_ms is not None and record.created_at_ms < self.created_from_ms:
            return False
        return self.created_before_ms is None or record.created_at_ms < self.created_before_ms


EVERY_RECORD: Final = AuditFilter()


class AuditLog(Protocol):
    """Reads the audit log. It is written together with the record of calls: see ``CallRecords``."""

    async def list_audit_records(
        self,
        organization_id: str,
        limit: int,
        *,
        before_sequence: int | None = None,
        matching: AuditFilter = EVERY_RECORD,
    ) -> list[AuditRecord]:
        """Returns records of one organization, newest first.

        Args:
            organization_id: The organization.
            limit: How many records at most.
            before_sequence: Only older records than this one; None for all.
            matching: Only those that meet these conditions.

        Raises:
            UnavailableError: The storage failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some records, newest first, and the token of the next page; empty on the last one."""

    records: list[AuditRecord]
    next_page_token: str


class AuditReports:
    """Shows the audit log to those who may read it."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def list(
        self,
        security: SecurityContext,
        *,
        page_size: int = 0,
        page_token: str = "",
        matching: AuditFilter = EVERY_RECORD,
    ) -> AuditPage:
        """Returns a page of the caller's organization.

        Args:
            security: The caller.
            page_size: How many records at most, up to 1000; 0 for 100.
            page_token: The ``next_page_token`` of the page before; empty for the first page.
            matching: Only records that meet these conditions.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            InvalidArgumentError: The page's size or token is none.
            UnavailableError: The storage failed.
        """
        security.require(READ_PERMISSION)
        if not 0 <= page_size <= PAGE_SIZE_MAX:
            raise InvalidArgumentError(f"page_size must be from 0 to {PAGE_SIZE_MAX}.")
        limit = page_size or DEFAULT_PAGE_SIZE
        records = await self._log.list_audit_records(
            security.organization_id,
            limit + 1,
            before_sequence=_sequence_of(page_token),
            matching=matching,
        )
        has_more = len(records) > limit
        records = records[:limit]
        return AuditPage(records, str(records[-1].sequence) if has_more else "")


def _sequence_of(page_token: str) -> int | None:
    if not page_token:
        return None
    if not (page_token.isascii() and page_token.isdecimal()) or len(page_token) > _TOKEN_DIGITS_MAX:
        raise InvalidArgumentError("page_token is not one that was given out.")
    return int(page_token)
