from __future__ import annotations

import hashlib
import json
from itertools import accumulate
from typing import Any

import msgspec
import pytest

from agent_executor.tool_runner.calls.audit import FACTS_MAX, AuditFilter, AuditRecord
from agent_executor.tool_runner.calls.audit_chain import (
    EMPTY,
    ChainReport,
    Fault,
    Head,
    canonical_text,
    linked,
    verify,
)

# Each kind of character that JSON escapes, or that some write escaped though it need not be.
DIFFICULT = "".join(map(chr, range(0x20))) + '"\\/\x7f é\u2028\ufeff😀<&'


def new_audit(**changes: Any) -> AuditRecord:
    audit = AuditRecord(
        organization_id="acme",
        user_id="ada",
        run_id="run-1",
        agent_id="agent-1",
        tool_call_id="call-1",
        tool_name="calculator",
        arguments_sha256="ab" * 32,
        decision="allowed",
        rule="",
        outcome="unknown",
        code="",
        result_sha256="ef" * 32,
        duration_ms=864,
        trace_id="cd" * 16,
        created_at_ms=1_700_000_000_987,
        facts=("one", "two"),
    )
    return msgspec.structs.replace(audit, **changes)


def chain_of(records: list[AuditRecord]) -> list[AuditRecord]:
    """Returns the records as they are stored."""

    def after(last: AuditRecord, record: AuditRecord) -> AuditRecord:
        return linked(record, Head(last.sequence, last.sha256))

    return list(accumulate(records[1:], after, initial=linked(records[0], EMPTY)))


@pytest.fixture
def chain() -> list[AuditRecord]:
    return chain_of([new_audit(tool_call_id=f"call-{number}") for number in range(1, 11)])


def renumbered(records: list[AuditRecord]) -> list[AuditRecord]:
    """Returns the records with sequences without a gap, as one who hides a change writes them."""
    return [
        msgspec.structs.replace(record, sequence=number) for number, record in enumerate(records, 1)
    ]


def test_a_chain_holds(chain: list[AuditRecord]) -> None:
    assert verify(chain) is None
    assert verify([]) is None
    assert chain[0].previous_sha256 == "0" * 64
    assert len({record.sha256 for record in chain}) == 10


def test_a_digest_can_be_computed_without_this_code() -> None:
    record = linked(new_audit(user_id=DIFFICULT, facts=(DIFFICULT, "")), Head(6, "12" * 32))
    fields = msgspec.structs.asdict(record)
    sha256 = fields.pop("sha256")
    text = json.dumps(list(fields.values()), ensure_ascii=False, separators=(",", ":"))
    assert canonical_text(record) == text.encode()
    assert sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert (record.sequence, record.previous_sha256) == (7, "12" * 32)


def test_the_canonical_text_stays_as_it_is() -> None:
    # Whoever has kept a head outside must find it again after every upgrade.
    assert linked(new_audit(), EMPTY).sha256 == (
        "b8c0eb648755d99f4e0ec000ef32587fcebed93ed1cee2dde7e53ede4103575a"
    )


@pytest.mark.parametrize("field", AuditRecord.__struct_fields__)
def test_a_change_of_any_field_is_found(chain: list[AuditRecord], field: str) -> None:
    value = getattr(chain[4], field)
    changed = {str: "changed", int: 1_000, tuple: ("one",)}[type(value)]
    chain[4] = msgspec.structs.replace(chain[4], **{field: changed})
    fault = verify(chain)
    assert fault is not None
    if field == "sequence":
        assert fault == Fault("missing", 5)
    elif field == "previous_sha256":
        assert fault == Fault("out_of_order", 5)
    else:
        assert fault == Fault("changed", 5)


@pytest.mark.parametrize("value", ["5", 5.5, None])
def test_a_sequence_that_is_none_is_found(chain: list[AuditRecord], value: Any) -> None:
    chain[4] = msgspec.structs.replace(chain[4], sequence=value)
    assert verify(chain) == Fault("changed", 5)


def test_text_that_moves_from_one_field_to_the_next_is_found() -> None:
    moved = {"rule": "a,b", "code": "c"}, {"rule": "a", "code": "b,c"}
    first, second = (linked(new_audit(**fields), EMPTY) for fields in moved)
    assert first.sha256 != second.sha256
    together, apart = (linked(new_audit(facts=facts), EMPTY) for facts in [("ab",), ("a", "b")])
    assert together.sha256 != apart.sha256


@pytest.mark.parametrize("at", [0, 4, 8])
def test_a_record_that_is_removed_is_found(chain: list[AuditRecord], at: int) -> None:
    del chain[at]
    assert verify(chain) == Fault("missing", at + 1)
    assert verify(renumbered(chain)) == Fault("out_of_order", at + 1)


def test_a_record_that_is_inserted_is_found(chain: list[AuditRecord]) -> None:
    forged = linked(new_audit(), Head(4, chain[3].sha256))
    assert verify([*chain[:4], forged, *chain[4:]]) == Fault("out_of_order", 5)
    assert verify(renumbered([*chain[:4], forged, *chain[4:]])) == Fault("out_of_order", 6)
    unlinked = renumbered([*chain[:4], new_audit(sha256="ab" * 32), *chain[4:]])
    assert verify(unlinked) == Fault("out_of_order", 5)


@pytest.mark.parametrize("other", [5, 8])
def test_records_that_change_places_are_found(chain: list[AuditRecord], other: int) -> None:
    chain[4], chain[other] = chain[other], chain[4]
    assert verify(renumbered(chain)) == Fault("out_of_order", 5)
    assert verify(chain) == Fault("missing", 5)


def test_a_record_that_is_computed_anew_is_found_by_the_next(chain: list[AuditRecord]) -> None:
    head = Head(4, chain[3].sha256)
    chain[4] = linked(msgspec.structs.replace(chain[4], user_id="eve"), head)
    assert verify(chain) == Fault("out_of_order", 6)


def test_a_chain_that_is_cut_off_holds_and_has_another_head(chain: list[AuditRecord]) -> None:
    assert verify(chain[:7]) is None
    whole, cut = ChainReport("acme"), ChainReport("acme")
    for record in chain:
        whole.add(record)
    for record in chain[:7]:
        cut.add(record)
    assert (whole.head, cut.head) == (Head(10, chain[9].sha256), Head(7, chain[6].sha256))


def test_a_report_stops_at_the_first_fault(chain: list[AuditRecord]) -> None:
    report = ChainReport("acme")
    for record in [*chain[:3], *chain[4:]]:
        report.add(record)
    assert (report.head.sequence, report.fault) == (3, Fault("missing", 4))


def test_a_record_has_a_limited_number_of_facts() -> None:
    assert len(new_audit(facts=("fact",) * FACTS_MAX).facts) == FACTS_MAX
    with pytest.raises(ValueError, match="at most 16 facts"):
        new_audit(facts=("fact",) * (FACTS_MAX + 1))


def test_a_filter_matches_what_meets_every_condition() -> None:
    record = new_audit(created_at_ms=100)
    assert AuditFilter().matches(record)
    assert AuditFilter(user_id="ada", decision="allowed", run_id="run-1").matches(record)
    assert AuditFilter(created_from_ms=100, created_before_ms=101).matches(record)
    for other in (
        AuditFilter(user_id="ada", tool_name="other"),
        AuditFilter(decision="refused"),
        AuditFilter(created_from_ms=101),
        AuditFilter(created_before_ms=100),
    ):
        assert not other.matches(record)
