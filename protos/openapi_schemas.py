"""Messages as JSON Schema: how Envoy reads and writes them, with the limits of their rules.

Envoy prints every field that has no presence (zeros and empty lists too), keeps the proto's
snake_case names, and writes 64-bit integers as strings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from protos.contracts import Contracts, messages_inside
from protos.openapi_rules import Schema, with_rules

_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": r"^-?[0-9]+$"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "uint32", "minimum": 0},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": r"^[0-9]+$"},
}

_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Value": {},
}


class Schemas:
    """The schemas of an OpenAPI document: those asked for, and all that they refer to.

    Args:
        contracts: Where the messages come from.
        requests: The messages that clients send. The rest are only ever answered, so that their
            fields without presence are always there.
    """

    def __init__(self, contracts: Contracts, requests: Iterable[Descriptor]) -> None:
        self._contracts = contracts
        self._sent = {message.full_name for message in messages_inside(requests)}
        self._components: dict[str, Schema] = {}
        self._owners: dict[str, str] = {}

    @property
    def components(self) -> dict[str, Schema]:
        """The schemas so far, by name, in alphabetical order."""
        return dict(sorted(self._components.items()))

    def reference(self, message: Descriptor, without: Collection[str] = ()) -> Schema:
        """Returns a schema that refers to the message's component, which is added if it is new.

        Args:
            message: Any message but a well-known type.
            without: Fields to leave out, since they are not in the body; the component is then
                named for the body.

        Raises:
            ValueError: Another message has the same name.
        """
        name = message.full_name.removeprefix(f"{message.file.package}.")
        if without:
            name += "Body"
        if self._owners.setdefault(name, message.full_name) != message.full_name:
            msg = f"{message.full_name} and {self._owners[name]} would have one schema name"
            raise ValueError(msg)
        if name not in self._components:
            self._components[name] = {}  # A recursive message refers to itself.
            self._components[name] = self._object(message, without)
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: FieldDescriptor) -> Schema:
        """Returns the schema of a field's value, with its comment and limits."""
        rules = self._contracts.rules(field)
        schema = with_rules(self._unlimited(field), field, rules)
        if field.GetOptions().debug_redact:
            schema |= {"format": "password"}
            # One that is answered is shown this once, as a new API key.
            owner = field.containing_type
            if owner is not None and owner.full_name in self._sent:
                schema |= {"writeOnly": True}
        comment = self._contracts.comment(field.full_name)
        return {"description": comment, **schema} if comment else schema

    def is_required(self, field: FieldDescriptor) -> bool:
        """Returns whether a request without the field, or with its zero value, is refused."""
        rules = self._contracts.rules(field)
        return rules is not None and (rules.required or _refuses_zero(field, rules))

    def _object(self, message: Descriptor, without: Collection[str]) -> Schema:
        fields = [field for field in message.fields if field.name not in without]
        schema: Schema = {"type": "object"}
        comment = self._contracts.comment(message.full_name)
        if comment:
            schema["description"] = comment
        schema["properties"] = {field.name: self.field(field) for field in fields}
        sent = message.full_name in self._sent
        if sent:
            # The gateway refuses a field that the contract does not have.
            schema["additionalProperties"] = False
        required = [
            field.name
            for field in fields
            if (self.is_required(field) if sent else not field.has_presence)
        ]
        if required:
            schema["required"] = required
        return schema

    def _unlimited(self, field: FieldDescriptor) -> Schema:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            return {
                "type": "object",
                "additionalProperties": self._value(message.fields_by_name["value"]),
            }
        value = self._value(field)
        return {"type": "array", "items": value} if field.is_repeated else value

    def _value(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            known = _WELL_KNOWN.get(field.message_type.full_name)
            return self.reference(field.message_type) if known is None else dict(known)
        if field.enum_type is not None:
            return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
        return dict(_SCALARS[field.type])


def _refuses_zero(field: FieldDescriptor, rules: Any) -> bool:
    """Returns whether the rules of a field without presence refuse its zero value."""
    if field.has_presence or rules.ignore:
        return False
    limits = getattr(rules, rules.WhichOneof("type") or "", None)
    if limits is None:
        return False
    floors = ("min_len", "min_bytes", "len", "min_items", "min_pairs", "gte")
    if any(getattr(limits, floor, 0) > 0 for floor in floors):
        return True
    if "gt" in limits.DESCRIPTOR.fields_by_name and limits.HasField("gt") and limits.gt >= 0:
        return True
    allowed = list(getattr(limits, "in", ()))
    return bool(allowed) and field.default_value not in allowed
