"""Envoy's routes for the REST paths of the contracts.

A REST call is routed twice: first here, by its own path, and again as the gRPC call that the
transcoder makes of it. The first routing tells the filters before the transcoder what they need to
know of the call, and answers 405 where only the HTTP method is wrong.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from agent_executor.cli.gateway_fields import body_messages
from agent_executor.cli.gateway_rules import rest_rules

# A piece of a path template: `{name}`, `{name=pattern}`, `/**`, `*`, or text.
_TEMPLATE_PIECE = re.compile(
    r"\{[^={}]+(?:=(?P<pattern>[^{}]+))?\}|(?P<rest>/\*\*)|(?P<wild>\*)|(?:(?!/\*\*)[^{}*])+"
)
# The transcoder takes `**` for nothing, too, as where the slashes of an id are escaped.
_REST = "(?:/[^?]*)?"


def rest_methods(descriptor: FileDescriptorSet) -> dict[str, set[str]]:
    """Maps each REST path, as a regular expression, to the HTTP methods that it has."""
    paths: dict[str, set[str]] = {"/healthz": {"GET"}, "/openapi\\.json": {"GET"}}
    for rule in rest_rules(descriptor):
        paths.setdefault(path_pattern(rule.template), set()).add(rule.verb)
    return paths


def rest_routes(descriptor: FileDescriptorSet, *, check_fields: bool) -> list[dict[str, Any]]:
    """Builds the routes of REST calls before they are transcoded.

    Each leads to its service, since some filters, CORS among them, look only at routes that lead
    anywhere. Those with a body name the message whose fields it may have, if that is checked.
    """
    bodies = body_messages(descriptor) if check_fields else {}
    rules = sorted(
        rest_rules(descriptor),
        key=lambda rule: (_literalness(path_pattern(rule.template)), rule.template, rule.verb),
    )
    return [
        _rest_route(rule.template, rule.verb, rule.service, bodies.get((rule.verb, rule.template)))
        for rule in rules
    ]


def read_methods(descriptor: FileDescriptorSet) -> dict[str, str]:
    """Matches the gRPC paths of the methods that only read: those whose REST verb is GET.

    Returns:
        A regular expression for each service, by `executor_reads` and so on. Streams are left out.
    """
    paths: dict[str, list[str]] = {}
    for rule in rest_rules(descriptor):
        if rule.verb == "GET" and not rule.method.server_streaming:
            path = re.escape(f"/{rule.service}/{rule.method.name}")
            paths.setdefault(f"{_cluster(rule.service)}_reads", []).append(path)
    return {name: "|".join(sorted(set(found))) for name, found in paths.items()}


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
    return pattern.count(_REST), pattern.count("[^/]+")


def path_pattern(template: str) -> str:
    """Turns a path template of `google.api.http` into a regular expression for the whole path."""
    return "".join(_piece_pattern(piece) for piece in _TEMPLATE_PIECE.finditer(template))


def _piece_pattern(piece: re.Match[str]) -> str:
    if piece["pattern"]:
        return path_pattern(piece["pattern"])
    if piece["rest"]:
        return _REST
    if piece["wild"] or piece[0].startswith("{"):
        return "[^/]+"
    return re.escape(piece[0])


def _rest_route(template: str, verb: str, service: str, message: str | None) -> dict[str, Any]:
    # Text is compared faster than a pattern is matched.
    path = (
        {"safe_regex": {"regex": path_pattern(template)}} if "{" in template else {"path": template}
    )
    is_verb = {"name": ":method", "string_match": {"exact": verb}}
    route: dict[str, Any] = {
        "match": {**path, "headers": [is_verb]},
        "route": {"cluster": _cluster(service)},
    }
    if message is not None:
        route["typed_per_filter_config"] = {
            "request_fields": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute",
                "name": "request_fields.lua",
                "filter_context": {"message": message},
            }
        }
    return route


def _cluster(service: str) -> str:
    """Returns the cluster of a service: `agent_executor.api.ledger.v1.UsageService` is ledger's."""
    return service.split(".")[2]


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
