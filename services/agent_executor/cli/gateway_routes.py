"""What the gateway must know of the contracts: its REST services and the paths they answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

# A piece of a path template: `{name}`, `{name=pattern}`, `**`, `*`, or text.
_TEMPLATE_PIECE = re.compile(r"\{[^={}]+(?:=(?P<pattern>[^{}]+))?\}|(?P<wild>\*\*?)|[^{}*]+")


def methods(descriptor: FileDescriptorSet) -> Iterator[tuple[str, MethodDescriptorProto]]:
    """Yields each method of the contracts with its service's full name."""
    for file in descriptor.file:
        for service in file.service:
            for method in service.method:
                yield f"{file.package}.{service.name}", method


def rest_services(descriptor: FileDescriptorSet) -> list[str]:
    """Lists the services that have a REST route, sorted by their full names."""
    return sorted({service for service, method in methods(descriptor) if any(_rules(method))})


def rest_methods(descriptor: FileDescriptorSet) -> dict[str, set[str]]:
    """Maps each REST path, as a regular expression, to the HTTP methods that it has."""
    paths: dict[str, set[str]] = {"/healthz": {"GET"}, "/openapi\\.json": {"GET"}}
    for _, method in methods(descriptor):
        for rule in _rules(method):
            verb, template = _verb_and_template(rule)
            paths.setdefault(path_pattern(template), set()).add(verb)
    return paths


def method_not_allowed_routes(descriptor: FileDescriptorSet) -> list[dict[str, Any]]:
    """Builds Envoy routes that answer 405 with `allow` where only the HTTP method is wrong.

    Two templates can match one path (`/tools/{name}` and `/tools/search`), so a path is answered
    with the methods of the most literal template, which is the one that the transcoder prefers.
    """
    paths = sorted(
        rest_methods(descriptor).items(), key=lambda path: (_literalness(path[0]), path[0])
    )
    return [_method_not_allowed(pattern, sorted(verbs)) for pattern, verbs in paths]


def _literalness(pattern: str) -> tuple[int, int]:
    """Ranks a pattern: what matches across slashes comes after what does not."""
    return pattern.count("[^?]+"), pattern.count("[^/]+")


def path_pattern(template: str) -> str:
    """Turns a path template of `google.api.http` into a regular expression for the whole path."""
    return "".join(_piece_pattern(piece) for piece in _TEMPLATE_PIECE.finditer(template))


def _piece_pattern(piece: re.Match[str]) -> str:
    if piece["pattern"]:
        return path_pattern(piece["pattern"])
    if piece["wild"] == "**":
        return "[^?]+"
    if piece["wild"] or piece[0].startswith("{"):
        return "[^/]+"
    return re.escape(piece[0])


def _rules(method: MethodDescriptorProto) -> Iterator[http_pb2.HttpRule]:
    # Its stubs declare a plain field descriptor, which the typed extension API refuses.
    extension: Any = annotations_pb2.http
    if method.options.HasExtension(extension):
        rule: http_pb2.HttpRule = method.options.Extensions[extension]
        yield rule
        yield from rule.additional_bindings


def _verb_and_template(rule: http_pb2.HttpRule) -> tuple[str, str]:
    kind = rule.WhichOneof("pattern")
    if kind is None:
        msg = "a google.api.http rule has no path"
        raise ValueError(msg)
    if kind == "custom":
        return rule.custom.kind, rule.custom.path
    return kind.upper(), getattr(rule, kind)


def _method_not_allowed(pattern: str, verbs: list[str]) -> dict[str, Any]:
    wrong_method = {
        "name": ":method",
        "string_match": {"safe_regex": {"regex": "|".join(verbs)}},
        "invert_match": True,
    }
    allow = {"header": {"key": "allow", "value": ", ".join(verbs)}}
    return {
        "match": {"safe_regex": {"regex": pattern}, "headers": [wrong_method]},
        "direct_response": {"status": 405},
        "response_headers_to_add": [allow],
    }
