"""The chain of an organization's audit records, which shows a change or a gap. Pure.

A record's digest is the SHA-256 of its canonical text: a JSON array of the values of all its
fields but ``sha256``, in the order in which ``AuditRecord`` declares them, ``sequence`` and
``previous_sha256`` included; in UTF-8, without blanks, and with only those characters escaped that
JSON does not allow unescaped. So anyone can compute it without this code.

The chain shows what was changed afterwards, unless all that follows was computed anew, and it does
not show that its end is missing: for both, keep a digest elsewhere and look for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from agent_executor.tool_runner.audit import AuditRecord

FIRST_PREVIOUS_SHA256: Final = "0" * 64

FaultKind: TypeAlias = Literal["changed", "missing", "out_of_order"]

_ENCODE: Final = msgspec.json.Encoder().encode
_SEQUENCE: Final = AuditRecord.__struct_fields__.index("sequence")
_PREVIOUS: Final = AuditRecord.__struct_fields__.index("previous_sha256")


class Head(NamedTuple):
    """The newest record of a chain.

    Attributes:
        sequence: How many records there are.
        sha256: The digest of the newest.
    """

    sequence: int
    sha256: str


EMPTY: Final = Head(0, FIRST_PREVIOUS_SHA256)


class Fault(NamedTuple):
    """The first place at which a chain does not hold.

    Attributes:
        kind: ``changed``: the record is not the one that was written. ``missing``: one or more
            records before it are. ``out_of_order``: it does not follow the record before it.
        sequence: The record's, or that of the first one missing.
    """

    kind: FaultKind
    sequence: int


def canonical_text(record: AuditRecord) -> bytes:
    """Returns what a record's digest is computed of."""
    return _ENCODE(msgspec.structs.astuple(record)[:-1])


def digest_of(record: AuditRecord) -> str:
    """Returns a record's digest, in hexadecimal."""
    return hashlib.sha256(canonical_text(record)).hexdigest()


def linked(record: AuditRecord, head: Head) -> AuditRecord:
    """Returns a new record as the next one of the chain that ends in ``head``."""
    values = list(msgspec.structs.astuple(record))
    values[_SEQUENCE] = head.sequence + 1
    values[_PREVIOUS] = head.sha256
    sha256 = hashlib.sha256(_ENCODE(values[:-1])).hexdigest()
    return msgspec.structs.replace(
        record, sequence=head.sequence + 1, previous_sha256=head.sha256, sha256=sha256
    )


def check(record: AuditRecord, head: Head) -> Fault | None:
    """Returns what is wrong with a record as the next one after ``head``; None if nothing is."""
    if record.sequence > head.sequence + 1:
        return Fault("missing", head.sequence + 1)
    if record.sequence <= head.sequence or record.previous_sha256 != head.sha256:
        return Fault("out_of_order", record.sequence)
    if digest_of(record) != record.sha256:
        return Fault("changed", record.sequence)
    return None


def verify(records: Iterable[AuditRecord]) -> Fault | None:
    """Returns the first fault of one organization's records, oldest first; None if there is none.

    It reads no further than to the fault.
    """
    head = EMPTY
    for record in records:
        fault = check(record, head)
        if fault is not None:
            return fault
        head = Head(record.sequence, record.sha256)
    return None
