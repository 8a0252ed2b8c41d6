"""Every route of the API, made from the contracts and the good requests for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from google.api import annotations_pb2
from google.protobuf.json_format import MessageToDict

from tests.e2e.rpcs import RPCS, Rpc

# Routes that need no token, and so are in no table of refusals.
OPEN_ROUTES = {("POST", "/api/v1/token"), ("GET", "/healthz"), ("GET", "/openapi.json")}
_VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the API.

    Attributes:
        method: The HTTP method.
        path: The path, with the names of what it needs in braces.
        permission: What the caller must hold; empty if any caller may.
        body: A good body; None if the route takes none.
        missing: The code of the error that there is no such resource; empty if it needs none.
    """

    method: str
    path: str
    permission: str
    body: dict[str, Any] | None = None
    missing: str = ""

    def __str__(self) -> str:
        """Names it in a test's id."""
        return f"{self.method} {self.path}"

    def content(self, names: dict[str, str]) -> dict[str, Any] | None:
        """Returns the body with the names of what it needs."""
        if self.body is None:
            return None
        return {
            key: names[value[1:]] if isinstance(value, str) and value.startswith("$") else value
            for key, value in self.body.items()
        }


def routes_of(rpc: Rpc) -> Iterator[Route]:
    """Yields the routes by which a method is called."""
    extension: Any = annotations_pb2.http
    rule = rpc.method.descriptor.GetOptions().Extensions[extension]
    for binding in (rule, *rule.additional_bindings):
        for verb in _VERBS:
            if template := getattr(binding, verb):
                yield _route(rpc, verb.upper(), template, takes_body=bool(binding.body))


def _route(rpc: Rpc, method: str, template: str, *, takes_body: bool) -> Route:
    # A rate card's id holds slashes, which its template says and the table need not.
    path = re.sub(r"\{(\w+)=[^}]*\}", r"{\1}", template)
    named = set(re.findall(r"\{(\w+)\}", path))
    request = MessageToDict(rpc.method.request(**rpc.fields), preserving_proto_field_name=True)
    rest = {name: value for name, value in request.items() if name not in named}
    if not takes_body and rest:
        path += f"?{urlencode(rest)}"
    # What names a tool is an error with the tool's name, which tests of its own look at.
    missing = rpc.missing if named and rpc.missing != "TOOL_NOT_FOUND" else ""
    body = json.loads(json.dumps(rest)) if takes_body else None
    return Route(method, path, rpc.permission, body, missing)


ROUTES = [route for rpc in RPCS for route in routes_of(rpc)]
PATHS = sorted({route.path.partition("?")[0] for route in ROUTES})
