"""A gateway that answers gRPC what a test says in the words of REST, and remembers the same way."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from google.api import httpbody_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from agent_executor.client.groups import Groups
from agent_executor.client.methods import Group, Paged, Stream, Unary
from agent_executor.errors import NotFoundError, UnavailableError
from tests.unit.client.fake_platform import FakePlatform, fake_platform
from tests.unit.client.gateway_descriptor import methods_of_the_gateway, rule_of


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    authorization: str
    body: Any


@dataclass
class FakeGateway:
    """Answers by the method and the path that REST has for a call.

    Attributes:
        url: Where it is.
        answers: What it answers: JSON, bytes of a file, or a list of messages of a stream. Of
            several answers each is given once, and the last one again and again.
        breaks_off: Whether it ends a file before it is whole.
    """

    url: str = ""
    answers: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    breaks_off: bool = False

    def will_answer(self, method: str, path: str, *answers: Any) -> None:
        """Tells what to answer."""
        self.answers[method, path] = list(answers)

    def answer(self, method: str, request: Message, response: type[Message], token: str) -> Any:
        """Answers a call, as ``FakePlatform`` takes it."""
        asked = _asked(method, request, token)
        self.asked.append(asked)
        answers = self.answers.get((asked.method, asked.path))
        if answers is None:
            return NotFoundError("There is no such thing.")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, bytes):
            file = [httpbody_pb2.HttpBody(data=answer)]
            return [*file, UnavailableError("It broke off.")] if self.breaks_off else file
        if isinstance(answer, list):
            return [filled(each, response) for each in answer]
        return filled(answer, response)


def filled(answer: dict[str, Any], response: type[Message]) -> Message:
    """Returns an answer as a message."""
    return ParseDict(answer, response(), ignore_unknown_fields=True)


def printed(answer: dict[str, Any], response: type[Message]) -> dict[str, Any]:
    """Returns an answer as the gateway prints it: with every field that is always there."""
    return MessageToDict(
        filled(answer, response),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def _asked(method: str, request: Message, token: str) -> Asked:
    rule = rule_of(METHODS[method])
    kind: str = rule.WhichOneof("pattern")
    fields = MessageToDict(request, preserving_proto_field_name=True)

    def value(place: re.Match[str]) -> str:
        return quote(str(fields.pop(place[1])), safe="/" if place[2] else "")

    path = re.sub(r"\{(\w+)(=[^}]*)?\}", value, getattr(rule, kind))
    query = {
        name: list(map(str, given)) if isinstance(given, list) else [str(given)]
        for name, given in fields.items()
    }
    is_body = bool(rule.body)
    return Asked(kind.upper(), path, {} if is_body else query, token, fields if is_body else None)


def _types() -> dict[str, tuple[Any, Any]]:
    rows = [
        row
        for group in vars(Groups(None)).values()
        if isinstance(group, Group)
        for row in vars(type(group)).values()
        if isinstance(row, Unary | Paged | Stream)
    ]
    return {row.method.path.rpartition(".")[2]: (row.request, row.method.response) for row in rows}


METHODS = methods_of_the_gateway()
TYPES = _types()


class _Platform(FakePlatform):
    gateway: FakeGateway

    def given(self, method: str, request: bytes, metadata: dict[str, str]) -> Any:
        """See ``FakePlatform``."""
        takes, gives = TYPES[method]
        token = metadata.get("authorization", "")
        return self.gateway.answer(method, takes.FromString(request), gives, token)


@contextlib.contextmanager
def fake_gateway() -> Iterator[FakeGateway]:
    """Yields a gateway on a free port."""
    platform = _Platform()
    platform.gateway = FakeGateway()
    with fake_platform(platform):
        platform.gateway.url = platform.url
        yield platform.gateway
