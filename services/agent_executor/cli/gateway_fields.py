"""Which fields the bodies of REST requests may have, as Lua for the filter that refuses others.

It is made from the descriptor when the configuration is rendered, so that it cannot be older than
the contracts that the gateway serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)

from agent_executor.cli.gateway_rules import rest_rules

# Messages whose JSON is a plain value, or whatever the caller likes: Struct, Value, Timestamp, the
# wrappers. They have no fields to be checked.
_OWN_JSON_PACKAGES = ("google.protobuf.", "google.api.HttpBody")


def request_fields_source(descriptor: FileDescriptorSet, script: str) -> str:
    """Puts the table `MESSAGES` before the filter's script.

    Args:
        descriptor: The contracts.
        script: What `gateway/request_fields.lua` holds.
    """
    messages = _all_messages(descriptor)
    wanted = sorted(_reachable(messages, body_messages(descriptor).values()))
    table = ",\n".join(f'["{name}"]={_message(messages, messages[name])}' for name in wanted)
    return f"local MESSAGES = {{\n{table}\n}}\n\n{script}"


def body_messages(descriptor: FileDescriptorSet) -> dict[tuple[str, str], str]:
    """Maps each REST verb and path template that takes a body to the full name of its message."""
    messages = _all_messages(descriptor)
    found = {}
    for rule in rest_rules(descriptor):
        if not rule.body:
            continue
        name = rule.method.input_type.removeprefix(".")
        if rule.body != "*":
            fields = {field.name: field for field in messages[name].field}
            name = fields[rule.body].type_name.removeprefix(".")
        if _has_fields(messages, name):
            found[rule.verb, rule.template] = name
    return found


def _all_messages(descriptor: FileDescriptorSet) -> dict[str, DescriptorProto]:
    return {
        name: message
        for file in descriptor.file
        for name, message in _nested(file.package, file.message_type)
    }


def _nested(
    scope: str, messages: Iterable[DescriptorProto]
) -> Iterator[tuple[str, DescriptorProto]]:
    for message in messages:
        name = f"{scope}.{message.name}"
        yield name, message
        yield from _nested(name, message.nested_type)


def _has_fields(messages: Mapping[str, DescriptorProto], name: str) -> bool:
    return name in messages and not name.startswith(_OWN_JSON_PACKAGES)


def _reachable(messages: Mapping[str, DescriptorProto], roots: Iterable[str]) -> set[str]:
    reached: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        waiting += [below for field in messages[name].field if (below := _below(messages, field))]
    return {name for name in reached if not messages[name].options.map_entry}


def _below(messages: Mapping[str, DescriptorProto], field: FieldDescriptorProto) -> str:
    """Returns the message that a field holds, a map's entry included; empty if none is checked."""
    name = field.type_name.removeprefix(".")
    return name if _has_fields(messages, name) else ""


def _message(messages: Mapping[str, DescriptorProto], message: DescriptorProto) -> str:
    spellings = {
        spelling: field.name
        for field in message.field
        for spelling in (field.name, field.json_name or field.name)
    }
    fields = ",".join(f'["{spelling}"]="{name}"' for spelling, name in sorted(spellings.items()))
    below = ",".join(
        f'["{field.name}"]={_held(messages, name)}'
        for field in message.field
        if (name := _below(messages, field))
    )
    return f"{{fields={{{fields}}},below={{{below}}}}}"


def _held(messages: Mapping[str, DescriptorProto], name: str) -> str:
    if not messages[name].options.map_entry:
        return f'"{name}"'
    value = next(field for field in messages[name].field if field.name == "value")
    # A map of scalars may have any key, as what holds anything may.
    return f'{{values="{_below(messages, value)}"}}'
