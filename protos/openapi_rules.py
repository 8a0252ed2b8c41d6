"""protovalidate's rules as the limits of JSON Schema.

A rule that JSON Schema cannot say (a CEL expression, a limit of a 64-bit integer, which is a
string in JSON, other than its sign) is left to the service and to the field's comment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor

Schema: TypeAlias = dict[str, Any]

# JSON Schema's word for a rule that carries over with its value. The two that count bytes are
# bounds all the same: a string never has more characters than bytes.
_STRING = {
    "min_len": "minLength",
    "max_len": "maxLength",
    "max_bytes": "maxLength",
    "pattern": "pattern",
    "const": "const",
}
_NUMBER = {
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
    "const": "const",
}
_REPEATED = {"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems"}
_MAP = {"min_pairs": "minProperties", "max_pairs": "maxProperties"}
_WORDS = {
    "string": _STRING,
    "int32": _NUMBER,
    "uint32": _NUMBER,
    "double": _NUMBER,
    "float": _NUMBER,
    "repeated": _REPEATED,
    "map": _MAP,
}
_FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uuid": "uuid",
}


def with_rules(schema: Schema, field: FieldDescriptor, rules: Any | None) -> Schema:
    """Returns the schema of a field's value with the limits of its rules added.

    Args:
        schema: The value's type.
        field: The field; without presence, its zero value may be exempt from the rules.
        rules: Its ``buf.validate.FieldRules``; None adds nothing.
    """
    if rules is None:
        return schema
    limited = {**schema, **_limits(schema, rules)}
    if limited != schema and rules.ignore and not field.has_presence:
        return {"anyOf": [limited, {"const": field.default_value}]}
    return limited


def _limits(schema: Schema, rules: Any) -> Schema:
    kind = rules.WhichOneof("type")
    if kind in _STRINGS_IN_JSON:
        return _STRINGS_IN_JSON[kind](getattr(rules, kind))
    if kind not in _WORDS:
        return {}
    values = getattr(rules, kind)
    limits = {
        word: getattr(values, rule)
        for rule, word in _WORDS[kind].items()
        if _is_set(values, rule) and getattr(values, rule) is not False
    }
    if kind == "repeated":
        limits["items"] = {**schema["items"], **_limits(schema["items"], values.items)}
    elif kind == "map":
        names = _limits({}, values.keys)
        if names:
            limits["propertyNames"] = names
        entry = schema["additionalProperties"]
        limits["additionalProperties"] = {**entry, **_limits(entry, values.values)}
    else:
        limits |= _choices(values)
    if kind == "string" and values.HasField("len"):
        limits |= {"minLength": values.len, "maxLength": values.len}
    if kind == "string" and (well_known := values.WhichOneof("well_known")) in _FORMATS:
        limits["format"] = _FORMATS[well_known]
    return limits


def _base64_length(values: Any) -> Schema:
    """Limits base64, which has four characters for each three bytes begun."""
    words = {"min_len": "minLength", "max_len": "maxLength"}
    return {
        word: (getattr(values, rule) + 2) // 3 * 4
        for rule, word in words.items()
        if _is_set(values, rule)
    }


def _sign(values: Any) -> Schema:
    """Limits a 64-bit integer, a string, as far as its sign goes."""
    if (_is_set(values, "gte") and values.gte >= 0) or (_is_set(values, "gt") and values.gt >= -1):
        return {"pattern": "^[0-9]+$"}
    return {}


_STRINGS_IN_JSON: dict[str, Callable[[Any], Schema]] = {
    "bytes": _base64_length,
    "int64": _sign,
}


def _choices(values: Any) -> Schema:
    choices: Schema = {}
    if allowed := list(getattr(values, "in")):
        choices["enum"] = allowed
    if refused := list(values.not_in):
        choices["not"] = {"enum": refused}
    return choices


def _is_set(values: Any, rule: str) -> bool:
    return rule in values.DESCRIPTOR.fields_by_name and bool(values.HasField(rule))
