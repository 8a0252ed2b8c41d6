"""Asks as one organization for what is another's, and says what came of it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from agent_executor.api.call.v1 import call_pb2, grant_pb2
from agent_executor.serving.grants import ServiceKey
from tests.e2e.crossing.requests import Place, places
from tests.e2e.crossing.world import USER, Organization
from tests.e2e.rpc import Method, frames_of
from tests.platforms import RunningPlatform, until

# What differs between two answers to the same question: new ids, keys, digests, times, durations.
_DIFFERENT: Final = re.compile(
    r"(?:new-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}|@[0-9a-f]{16}|aek_[\w-]+"
    r'|\d{4}-\d\d-\d\dT[\d:.]+Z|"(?:version|\w*_ms|latency\w*|duration\w*)": "?[\d.]+"?'
)
_BUSY: Final = ("pending", "running")
_TWELVE_DIGITS: Final = re.compile("[0-9a-f]{12}")


def never(name: str) -> str:
    """Returns a name of the same form that nobody has, the same one each time."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return _TWELVE_DIGITS.sub(digest[:12], name)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call.

    Attributes:
        code: The gRPC code's name.
        text: Everything that came back, as text.
        content: Everything that came back, as bytes.
    """

    code: str
    text: str
    content: bytes

    def __str__(self) -> str:
        """Shows it in messages."""
        return f"{self.code} {self.text[:300]}"


@dataclass(frozen=True, slots=True)
class Probe:
    """A request that names something of another organization, and one that names nothing."""

    method: Method
    place: Place
    name: str
    theirs: Any
    nobodys: Any

    @property
    def what(self) -> str:
        """The method and the place."""
        return f"{self.method.name} {self.place}"

    def __str__(self) -> str:
        """Names it in messages."""
        return f"{self.method.name} with {self.place}={self.name}"

    def compared(self, outcome: Outcome) -> tuple[str, str]:
        """Returns what must be the same whichever of the two names was sent."""
        text = outcome.text.replace(never(self.name), self.name)
        return outcome.code, _DIFFERENT.sub("<different>", text)


@dataclass(slots=True)
class Stranger:
    """Asks as one organization for what another has.

    Attributes:
        own: Who asks.
        other: Whose things are asked for.
        sent: The names that were sent, which may therefore be heard again.
    """

    own: Organization
    other: Organization
    sent: set[str] = field(default_factory=set)

    def probes(self, method: Method) -> Iterator[Probe]:
        """Yields a probe for everything of the other that a request could name."""
        for place in places(method.descriptor.input_type):
            is_page = place.name == "page_token"
            names = (
                self.other.of(method, place) if not is_page else (self.other.page_token(method),)
            )
            for name in names:
                theirs, nobodys = self.own.request(method), self.own.request(method)
                place.put(theirs, name)
                place.put(nobodys, never(name))
                self.sent.add(name)
                yield Probe(method, place, name, theirs, nobodys)
                if isinstance(getattr(theirs, "version", None), int):
                    # What is asked for by its version is looked for elsewhere.
                    theirs, nobodys = (
                        type(each).FromString(each.SerializeToString())
                        for each in (theirs, nobodys)
                    )
                    theirs.version = nobodys.version = 1
                    yield Probe(method, place, name, theirs, nobodys)

    def outcome(self, method: Method, request: Message, *metadata: tuple[str, str]) -> Outcome:
        """Makes a call and returns what came of it; a run that was started has ended by then."""
        try:
            answers = self.own.call(method, request, *metadata)
            if method.descriptor.name.startswith("StartRun"):
                until(self._is_idle, what="the end of the runs that were started")
        except grpc.RpcError as error:
            ended = cast("grpc.Call", error)
            status = rpc_status.from_call(ended) or status_pb2.Status(message=ended.details())
            return refused(ended.code().name, status)
        return answered(answers)

    def _is_idle(self) -> bool:
        answers = (self.own.client.get(f"/api/v1/runs?state={state}") for state in _BUSY)
        return not any(answer.body["runs"] for answer in answers)

    def leaks(self, outcome: Outcome) -> set[str]:
        """Returns what of the other's was in an answer without having been sent."""
        content = outcome.content
        for name in sorted(self.sent, key=len, reverse=True):
            content = content.replace(name.encode(), b"")
        return {secret for secret in self.other.secrets() if secret.encode() in content}


def answered(answers: list[Any]) -> Outcome:
    """Returns the outcome of a call that was answered."""
    text = "\n".join(
        answer.data.decode()
        if isinstance(answer, HttpBody)
        else MessageToJson(answer, preserving_proto_field_name=True, indent=None)
        for answer in answers
    )
    content = b"\n".join(answer.SerializeToString() for answer in answers)
    return Outcome("OK", text, content)


def refused(code: str, status: status_pb2.Status) -> Outcome:
    """Returns the outcome of a call that was refused."""
    info, invalid = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for packed in status.details:
        _ = packed.Unpack(info) or packed.Unpack(invalid)
    text = f"{info.reason}: {status.message} {dict(info.metadata)} {invalid}"
    return Outcome(code, text, status.SerializeToString())


def frame_outcomes(
    platform: RunningPlatform,
    stream: Method,
    requests: Sequence[tuple[str, Any]],
    organization: str,
) -> list[Outcome]:
    """Sends requests as the frames of one stream, with grants of an organization, as a service does.

    Args:
        platform: Whose service key signs the grants.
        stream: The multiplexed method.
        requests: Each with the field of a frame that it goes into.
        organization: Whom the grants are for.
    """
    key = ServiceKey.load(platform.keys.service)
    message: Any = stream.request()
    for number, (name, request) in enumerate(requests, start=1):
        grant = grant_pb2.Grant(
            audience=stream.process,
            security_context=grant_pb2.SecurityContext(
                organization_id=organization, user_id=USER, permissions=["*"]
            ),
            expires_at_unix_ms=int((time.time() + 60) * 1000),
        )
        if "tool_call_id" in request.DESCRIPTOR.fields_by_name:
            grant.tool_call_id, grant.tool_name = request.tool_call_id, request.tool_name
            grant.arguments_digest = hashlib.sha256(request.arguments_json.encode()).digest()
        frame = message.frames.add()
        frame.header.CopyFrom(
            call_pb2.CallHeader(id=number, timeout_ms=60_000, grant=key.sign_grant(grant))
        )
        getattr(frame, name).CopyFrom(request)
    frames = frames_of(platform, stream, message, len(requests))
    return [_frame_outcome(frames[number]) for number in range(1, len(requests) + 1)]


def _frame_outcome(frame: Any) -> Outcome:
    name = frame.WhichOneof("outcome")
    if name == "error":
        return refused(code_pb2.Code.Name(frame.error.code), frame.error)
    return answered([getattr(frame, name)])
