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
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from agent_executor.tool_runner.calls.audit import AuditRecord

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
    # SQLite holds whatever it is given in a column of whole numbers.
    sequence: object = record.sequence
    if not isinstance(sequence, int):
        return Fault("changed", head.sequence + 1)
    if record.sequence > head.sequence + 1:
        return Fault("missing", head.sequence + 1)
    if record.sequence <= head.sequence or record.previous_sha256 != head.sha256:
        return Fault("out_of_order", record.sequence)
    if digest_of(record) != record.sha256:
        return Fault("changed", record.sequence)
    return None


@dataclass(slots=True)
class ChainReport:
    """What is known of an organization's chain, as far as it was read.

    Attributes:
        organization_id: The organization.
        head: The newest record that holds.
        fault: The first fault; None while there is none.
    """

    organization_id: str
    head: Head = EMPTY
    fault: Fault | None = None

    def add(self, record: AuditRecord) -> None:
        """Takes the next record, oldest first. After a fault there is nothing to be learned."""
        if self.fault is None:
            self.fault = check(record, self.head)
        if self.fault is None:
            self.head = Head(record.sequence, record.sha256)


def verify(records: Iterable[AuditRecord]) -> Fault | None:
    """Returns the first fault of one organization's records, oldest first; None if there is none.

    It reads no further than to the fault.
    """
    report = ChainReport("")
    for record in records:
        report.add(record)
        if report.fault is not None:
            break
    return report.fault
