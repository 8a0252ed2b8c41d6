"""Whatever a client may send has a limit, and it is in the contract."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from protos.contracts import Contracts, messages_inside


def is_bounded(contracts: Contracts, field: FieldDescriptor) -> bool:
    """Returns whether a field's rules limit how many values it has and how long each is."""
    rules = contracts.rules(field)
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return rules is not None and bool(
            rules.map.max_pairs
            and is_value_bounded(entry.fields_by_name["key"], rules.map.keys)
            and is_value_bounded(entry.fields_by_name["value"], rules.map.values)
        )
    if field.is_repeated:
        return rules is not None and bool(
            rules.repeated.max_items and is_value_bounded(field, rules.repeated.items)
        )
    return is_value_bounded(field, rules)


def is_value_bounded(field: FieldDescriptor, rules: Any | None) -> bool:
    """Only text can be of any length; other types have their size, messages their fields."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return rules is not None and bool(
            rules.string.max_len
            or rules.string.max_bytes
            or rules.string.len
            or rules.string.WhichOneof("well_known")
            or getattr(rules.string, "in")
            or re.search(r"\{\d*,?\d+\}\$$", rules.string.pattern)
        )
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rules is not None and bool(rules.bytes.max_len or rules.bytes.len)
    return True


def refuses_empty(contracts: Contracts, field: FieldDescriptor) -> bool:
    rules = contracts.rules(field)
    if rules is None:
        return False
    pattern = rules.string.pattern
    return rules.string.min_len > 0 or bool(pattern and not re.fullmatch(pattern, ""))


def test_whatever_a_client_sends_is_bounded(contracts: Contracts) -> None:
    unbounded = [
        field.full_name
        for message in messages_inside(method.input_type for method in contracts.methods)
        for field in message.fields
        if not is_bounded(contracts, field)
    ]
    # As many frames as fit one gRPC message, whose size is limited; each frame is checked alone.
    # Rows of a batch are checked by the ledger, which names the bad one (ledger/usage/rows.py).
    checked_elsewhere = re.compile(r".*\.(frames|RecordUsageRequest\.entries|UsageRecord\.\w+)")
    assert [name for name in unbounded if not checked_elsewhere.fullmatch(name)] == []


def test_path_variables_may_not_be_empty(contracts: Contracts) -> None:
    wrong = [
        f"{method.name}: {name}"
        for method in contracts.methods
        for rule in contracts.bindings(method)
        for name in re.findall(r"{(\w+)}", getattr(rule, rule.WhichOneof("pattern")))
        if not refuses_empty(contracts, method.input_type.fields_by_name[name])
    ]
    assert wrong == []


def test_page_sizes_have_one_range(contracts: Contracts) -> None:
    for method in contracts.methods:
        field = method.input_type.fields_by_name.get("page_size")
        if field is not None:
            rules = contracts.rules(field)
            assert rules is not None, method.name
            assert (rules.int32.gte, rules.int32.lte) == (0, 1000), method.name
