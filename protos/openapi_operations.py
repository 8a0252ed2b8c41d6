"""The operations of an OpenAPI document: one for each route of each RPC."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from protos.contracts import Contracts
from protos.openapi_answers import Answers, success_headers
from protos.openapi_examples import EXAMPLES, PARAMETERS, Example
from protos.openapi_rules import Schema
from protos.openapi_schemas import Schemas

# What needs no credential, since it is where one comes from.
_OPEN_RPCS: Final = frozenset({"ExchangeApiKey"})

# What the gateway passes on as it is, with its own content type.
_FILE: Final = "google.api.HttpBody"
_FILE_ANSWER: Final[dict[str, Any]] = {
    "description": "A file, as `content-disposition` names it.",
    "headers": {
        **success_headers(),
        "content-disposition": {
            "description": "The name to keep it under.",
            "schema": {"type": "string"},
        },
    },
    "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
}

_ABBREVIATIONS: Final = re.compile(r"\b(api|mcp)\b", re.IGNORECASE)
_IDEMPOTENCY_KEY: Final = {"$ref": "#/components/parameters/IdempotencyKey"}


@dataclass(frozen=True, slots=True)
class DocumentParts:
    """What operations are built of.

    Attributes:
        contracts: The contracts.
        schemas: Where the schemas of bodies are kept.
        answers: Builds their answers.
    """

    contracts: Contracts
    schemas: Schemas
    answers: Answers


class Operation:
    """One route of one RPC.

    Args:
        parts: What it is built of.
        method: The RPC.
        path: The route's path, with plain names in its braces.
        body: The route's body: a field's name, ``*`` for the whole request, empty for none.
    """

    def __init__(
        self, parts: DocumentParts, method: MethodDescriptor, path: str, body: str
    ) -> None:
        self._contracts = parts.contracts
        self._schemas = parts.schemas
        self._answers = parts.answers
        self._method = method
        self._example = EXAMPLES.get(method.name, Example())
        self._body = body
        self._in_path = re.findall(r"{([\w.]+)}", path)

    def build(self, index: int) -> dict[str, Any]:
        """Returns the operation; ``index`` counts the RPC's routes from 0."""
        name = self._method.name
        description = self._contracts.description(self._method)
        operation: dict[str, Any] = {
            "operationId": name[0].lower() + name[1:] + (f"_{index}" if index else ""),
            "tags": [tag_name(self._method.containing_service.name)],
            "summary": re.split(r"(?<=\.)\s", description)[0].rstrip("."),
            "description": description,
        }
        if name in _OPEN_RPCS:
            operation["security"] = []
        parameters = [*self._path_parameters(), *self._query_parameters()]
        if "Idempotency-Key" in description:
            parameters.append(_IDEMPOTENCY_KEY)
        if parameters:
            operation["parameters"] = parameters
        if self._body:
            operation["requestBody"] = self._request_body()
        errors = self._answers.errors(self._method, has_body=bool(self._body))
        operation["responses"] = {"200": self._answer(), **errors}
        return operation

    def _path_parameters(self) -> Iterator[dict[str, Any]]:
        for path in self._in_path:
            field = _field(self._method.input_type, path)
            parameter = {"name": path, "in": "path", "required": True, **self._parameter(field)}
            yield parameter | ({"example": PARAMETERS[path]} if path in PARAMETERS else {})

    def _query_parameters(self) -> Iterator[dict[str, Any]]:
        if self._body == "*":
            return
        taken = {*self._in_path, self._body}
        for path, field in _leaves(self._method.input_type, taken):
            parameter = {"name": path, "in": "query", **self._parameter(field)}
            if self._schemas.is_required(field):
                parameter["required"] = True
            yield parameter

    def _parameter(self, field: FieldDescriptor) -> dict[str, Any]:
        schema = self._schemas.field(field)
        return {"description": schema.pop("description", ""), "schema": schema}

    def _request_body(self) -> dict[str, Any]:
        request = self._method.input_type
        if self._body == "*":
            schema = self._schemas.reference(request, without=self._in_path)
            required = any(
                self._schemas.is_required(field)
                for field in request.fields
                if field.name not in self._in_path
            )
        else:
            field = request.fields_by_name[self._body]
            schema, required = self._schemas.field(field), self._schemas.is_required(field)
        # The example is of the first route, whose body is the whole request.
        example = self._example.request if self._body == "*" else None
        return {"required": required, "content": _json(schema, example)}

    def _answer(self) -> dict[str, Any]:
        message = self._method.output_type
        if message.full_name == _FILE:
            return _FILE_ANSWER
        content = _json(self._schemas.reference(message), self._example.answer)
        description = self._contracts.comment(message.full_name)
        if self._method.server_streaming:
            return self._stream(description, content["application/json"])
        return {"description": description, "headers": success_headers(), "content": content}

    def _stream(self, description: str, data: dict[str, Any]) -> dict[str, Any]:
        """Returns the answer that is a stream.

        Args:
            description: What a message of the stream is.
            data: The media type of a message by itself.
        """
        event: Schema = {
            "type": "object",
            "description": "One event.",
            "properties": {
                "id": {"type": "string", "description": "The message's `sequence`."},
                "event": {"type": "string", "description": "The message's `type`."},
                "data": {
                    "type": "string",
                    "description": "The message.",
                    "contentMediaType": "application/json",
                    "contentSchema": data["schema"],
                },
            },
            "required": ["data"],
        }
        media: dict[str, Any] = {"schema": event}
        if (message := data.get("example")) is not None:
            text = json.dumps(message, separators=(",", ":"))
            number = str(message["sequence"])
            media["example"] = {"id": number, "event": message["type"], "data": text}
        name = data["schema"]["$ref"].rpartition("/")[2]
        return {
            "description": (
                f"Server-sent events; the `data` of each is a {name} as JSON. {description} "
                "Comments keep a silent stream open."
            ),
            "headers": success_headers(),
            "content": {"text/event-stream": media},
        }


def _field(message: Descriptor, path: str) -> FieldDescriptor:
    """Returns the field at a dotted path inside a message."""
    *parents, name = path.split(".")
    for parent in parents:
        inner = message.fields_by_name[parent].message_type
        assert inner is not None, f"{path} is no path in {message.full_name}"  # noqa: S101 -- protoc has checked it
        message = inner
    return message.fields_by_name[name]


def _leaves(
    message: Descriptor, taken: Collection[str], prefix: str = ""
) -> Iterator[tuple[str, FieldDescriptor]]:
    """Yields what can stand in a query: a field's dotted path and the field."""
    for field in message.fields:
        path = prefix + field.name
        if path in taken:
            continue
        inner = field.message_type
        if inner is None or inner.full_name.startswith("google.protobuf."):
            yield path, field
        elif not field.is_repeated:
            yield from _leaves(inner, taken, f"{path}.")


def tag_name(service_name: str) -> str:
    """Returns a service's name in words: ``ApiKeyService`` is "API key"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", service_name.removesuffix("Service")).lower()
    return _ABBREVIATIONS.sub(lambda match: match[0].upper(), words.capitalize())


def _json(schema: Schema, example: Any = None) -> dict[str, Any]:
    media = {"schema": schema}
    return {"application/json": media if example is None else {**media, "example": example}}
