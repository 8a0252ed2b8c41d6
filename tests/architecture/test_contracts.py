"""The house rules of the contracts, beyond what buf knows."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from protos.contracts import HTTP_STATUS_OF_CODE, Contracts, messages_inside

SECRET = re.compile(r"(^|_)(api_key|password|secret|credential)$")
TEXT = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}
WIDE = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}


def routed(contracts: Contracts) -> list[MethodDescriptor]:
    return [method for method in contracts.methods if contracts.bindings(method)]


def route(rule: Any) -> tuple[str, str]:
    verb = rule.WhichOneof("pattern")
    return verb, getattr(rule, verb)


def test_everything_is_commented(contracts: Contracts) -> None:
    assert [name for name, comment in contracts.comments.items() if not comment] == []


def test_a_missing_comment_would_be_found(image: descriptor_pb2.FileDescriptorSet) -> None:
    silent = descriptor_pb2.FileDescriptorSet()
    silent.CopyFrom(image)
    for file in silent.file:
        file.ClearField("source_code_info")
    comments = Contracts(silent).comments
    assert "agent_executor.api.error.v1.ErrorReason.ERROR_REASON_INTERNAL" in comments
    assert set(comments.values()) == {""}


def test_every_rpc_names_its_errors(contracts: Contracts) -> None:
    assert [method.full_name for method in contracts.methods if not contracts.errors(method)] == []


def test_every_clause_of_errors_names_a_code(contracts: Contracts) -> None:
    wrong = [
        f"{method.name}: {clause.strip()}"
        for method in contracts.methods
        for clause in contracts.comment(method.full_name).partition("Errors:")[2].split(";")
        if not (set(re.findall(r"\b[A-Z_]+\b", clause)) & set(HTTP_STATUS_OF_CODE))
        and not clause.strip().startswith("those of ")
    ]
    assert wrong == []


def test_reasons_of_errors_exist_and_have_that_code(
    contracts: Contracts, reason_codes: dict[str, str]
) -> None:
    wrong = [
        f"{method.name}: {error.text}"
        for method in contracts.methods
        for error in contracts.errors(method)
        for reason in error.reasons
        if reason_codes.get(reason) != error.code
    ]
    assert wrong == []


def test_every_call_can_be_refused_for_want_of_a_credential(contracts: Contracts) -> None:
    # A stream's frames each carry their own; what they name is those of the unary RPCs.
    open_to_all = [
        method.name
        for method in contracts.methods
        if not method.client_streaming
        and "UNAUTHENTICATED" not in {error.code for error in contracts.errors(method)}
    ]
    assert open_to_all == []


def test_routes_are_in_one_place_and_each_once(contracts: Contracts) -> None:
    routes = [route(rule) for method in contracts.methods for rule in contracts.bindings(method)]
    # A rate card's id holds slashes, and is the last thing of its path.
    segment = r"(?:[a-z0-9]+(?:-[a-z0-9]+)*|\{[a-z_]+\}|\{rate_card_id=\*/\*\*\}$)"
    assert [path for _, path in routes if not re.fullmatch(rf"/api/v1(?:/{segment})+", path)] == []
    shapes = Counter((verb, re.sub(r"\{\w+(=[*/]+)?\}", "{}", path)) for verb, path in routes)
    assert [shape for shape, count in shapes.items() if count > 1] == []


def test_secrets_are_marked_and_never_answered(contracts: Contracts) -> None:
    sent = messages_inside(method.input_type for method in contracts.methods)
    answered = messages_inside(method.output_type for method in contracts.methods)
    secrets = {
        field.full_name
        for message in (*sent, *answered)
        for field in message.fields
        if SECRET.search(field.name) and field.type in TEXT
    }
    marked = {
        field.full_name
        for message in sent
        for field in message.fields
        if field.GetOptions().debug_redact
    }
    assert secrets
    assert secrets - marked == set()
    assert [
        field.full_name
        for message in answered
        for field in message.fields
        if field.full_name in marked
    ] == []


def test_counts_of_one_run_are_json_numbers(contracts: Contracts) -> None:
    # REST writes a 64-bit integer as a string. Only exact money and sums over many runs are 64 bit.
    shown = messages_inside(
        message
        for method in routed(contracts)
        for message in (method.input_type, method.output_type)
    )
    wrong = [
        field.full_name
        for message in shown
        for field in message.fields
        if field.type in WIDE
        and not field.name.endswith("_nano_usd")
        # Sums over many runs.
        and not message.name.endswith(("Summary", "BatchResponse"))
    ]
    assert wrong == []


def test_rounded_money_has_the_exact_amount_beside_it(contracts: Contracts) -> None:
    wrong = [
        field.full_name
        for message in messages_inside(method.output_type for method in contracts.methods)
        for field in message.fields
        if field.type == FieldDescriptor.TYPE_DOUBLE
        and field.name.endswith("_usd")
        and field.name.replace("_usd", "_nano_usd") not in message.fields_by_name
    ]
    assert wrong == []


def test_lists_are_paged(contracts: Contracts) -> None:
    # An agent names at most 256 tools, and the answer has the total. Suggestions are computed
    # together, and are the 100 largest.
    whole = {"ListAgentTools", "ListSuggestions"}
    for method in contracts.methods:
        if method.name.startswith("List") and method.name not in whole:
            assert {"page_size", "page_token"} <= set(method.input_type.fields_by_name), method.name
            assert "next_page_token" in method.output_type.fields_by_name, method.name
            assert method.output_type.fields[0].is_repeated, method.name
