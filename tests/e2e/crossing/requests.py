"""Requests that the contracts themselves say how to make, and the places in them that name something."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from buf.validate import validate_pb2
from tests.e2e.tool_runner_resources import MCP_SERVER, TOOL

# Texts that name nothing which an organization has. Any other text is taken for a name.
FREE_TEXT: Final = frozenset(
    [
        "agent_type",
        "allowed_origins",
        "allowed_tools",
        "api_key",
        "arguments_digest",
        "arguments_json",
        "base_url",
        "class_name",
        "currency",
        "decision",
        "description",
        "effect",
        "format",
        "group_by",
        "header_name",
        "header_prefix",
        "input",
        "inputs",
        "instructions",
        "kind",
        "on_budget_exceeded",
        "on_disconnect",
        "order_by",
        "permissions",
        "processing",
        "provider",
        "reason",
        "role",
        "scope",
        "secret",
        "source",
        "speed",
        "state",
        "time_zone",
        "url",
        "webhook_secret",
        "webhook_url",
        "window",
    ]
)
# Messages of rules and figures, with no name in them that would be looked up.
OPAQUE: Final = frozenset(
    [
        "approval_policy",
        "context_policy",
        "created_before",
        "created_from",
        "end_time",
        "input_schema",
        "occurred_at",
        "purpose",
        "rates",
        "start_time",
        "tiers",
        "time",
        "update_mask",
        "usage",
        "valid_from",
        "valid_until",
    ]
)
MCP_ORIGIN: Final = MCP_SERVER["url"].removesuffix("/mcp")
# What a method needs beyond what the rules of its request say.
NEEDED: Final[Mapping[str, Mapping[str, Any]]] = {
    "BudgetService/PutBudget": {"limit_usd": 9_000_000.0},
    "CredentialService/PutCredential": {"allowed_origins": [MCP_ORIGIN]},
    "McpServerService/PutMcpServer": MCP_SERVER,
    "PolicyService/SetRateLimit": {"max_calls": 999},
    "RateCardService/CreateRateCard": {"tool_name": "x", "fee_usd": 0.5},
    "ToolCallService/ExecuteToolCall": {"arguments_json": "{}"},
    "UsageService/CorrectUsage": {"usage": {"input_tokens": 2, "output_tokens": 1}},
    "ToolService/CreateTool": {name: TOOL[name] for name in ("source", "class_name")},
    "UsageService/RecordUsage": {"entries": [{"cost_nano_usd": 1, "description": "x"}]},
    "UsageService/RerateUsage": {"start_time": {"seconds": 1}, "dry_run": True},
    "UsageService/SettleUsage": {
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "tool_uses": [{"tool_name": "x"}],
    },
}
# Names that the caller makes up for something new. Each request has another one.
MADE_UP: Final = frozenset(
    {
        "BudgetService/PutBudget budget_id",
        "ToolCallService/ExecuteToolCall tool_call_id",
        "ToolCallService/StopToolCall tool_call_id",
        "UsageService/CorrectUsage entry_id",
        "UsageService/RecordUsage entries.id",
        "UsageService/ReserveAmount reservation_id",
        "UsageService/ReserveUsage reservation_id",
        "UsageService/SettleUsage entry_id",
        "UsageService/SettleUsage tool_uses.tool_call_id",
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a request something is named: a text, an item of a list, or the key of a map.

    Attributes:
        fields: The fields that lead there.
    """

    fields: tuple[FieldDescriptor, ...]

    @property
    def name(self) -> str:
        """The name of the last field."""
        return str(self.fields[-1].name)

    def __str__(self) -> str:
        """Names it in messages."""
        return ".".join(field.name for field in self.fields)

    @property
    def is_needed(self) -> bool:
        """Whether the request is none without it."""
        (field, *inner) = self.fields
        rules = _rules_of(field)
        items = rules.repeated.items.string if field.is_repeated else rules.string
        is_bound = bool(items.min_len) or re.search(items.pattern, "") is None
        return not inner and is_bound and (not field.is_repeated or bool(rules.repeated.min_items))

    def put(self, request: Any, value: str) -> None:
        """Names something there, and nothing else."""
        *outer, last = self.fields
        for field in outer:
            request = getattr(request, field.name)
            if field.is_repeated:
                request = request[0] if len(request) else request.add()
        if not last.is_repeated:
            setattr(request, last.name, value)
            return
        container = getattr(request, last.name)
        if last.message_type is None:
            del container[:]
            container.append(value)
        else:
            container.clear()
            kind = last.message_type.fields_by_name["value"].cpp_type
            if kind == FieldDescriptor.CPPTYPE_MESSAGE:
                container[value].SetInParent()
            else:
                container[value] = _SOMETHING[kind]


_SOMETHING: Final[Mapping[int, Any]] = {
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_INT32: 1,
    FieldDescriptor.CPPTYPE_STRING: "",
}


def places(request: Descriptor, outer: tuple[FieldDescriptor, ...] = ()) -> Iterator[Place]:
    """Yields where a request names something, in the messages that it holds too."""
    for field in request.fields:
        fields = (*outer, field)
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            yield Place(fields)
        elif message is not None:
            if field.name not in OPAQUE:
                yield from places(message, fields)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.name not in FREE_TEXT:
            yield Place(fields)


def smallest(name: str, descriptor: Descriptor) -> Message:
    """Makes the smallest request of a method that keeps its rules; it names nothing yet."""
    request: Any = GetMessageClass(descriptor)(**NEEDED.get(name, {}))
    for field in descriptor.fields:
        rules = _rules_of(field)
        if field.is_repeated and rules.repeated.min_items and not getattr(request, field.name):
            getattr(request, field.name).append("x")
        elif not field.is_repeated and not _is_set(request, field):
            value = _least(rules)
            if value:
                setattr(request, field.name, value)
    return request  # type: ignore[no-any-return]  # it is one


def _rules_of(field: FieldDescriptor) -> Any:
    # The extension's type is lost in the stubs of buf.validate.
    extension: Any = validate_pb2.field
    return field.GetOptions().Extensions[extension]


def _is_set(request: Any, field: FieldDescriptor) -> bool:
    # A field without presence that was given is not its default.
    return (
        bool(request.HasField(field.name))
        if field.has_presence
        else bool(getattr(request, field.name))
    )


def _least(rules: Any) -> Any:
    """Returns the least value that a field's rules let pass; None for the default."""
    kind = rules.WhichOneof("type")
    if kind == "string":
        words = getattr(rules.string, "in")
        if words:
            return words[0]
        return "x" * (rules.string.min_len or re.search(rules.string.pattern, "") is None)
    if kind in {"int32", "int64", "double"}:
        own = getattr(rules, kind)
        if own.HasField("gt"):
            return own.gt + 1
        return own.gte if own.HasField("gte") and own.gte > 0 else None
    return None
