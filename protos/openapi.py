"""The REST API as an OpenAPI 3.1 document, from the routes, rules and comments of the contracts.

Whatever is wrong in the document is wrong in the contracts, and put right there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from protos.contracts import HTTP_STATUS_OF_CODE, Contracts
from protos.openapi_rules import Schema
from protos.openapi_schemas import Schemas

_ERROR_BODY = "agent_executor.api.error.v1.ErrorBody"
# What the gateway passes on as it is, with its own content type.
_FILE: Final = "google.api.HttpBody"
_FILE_ANSWER: Final[dict[str, Any]] = {
    "description": "A file, as `content-disposition` names it.",
    "headers": {
        "content-disposition": {
            "description": "The name to keep it under.",
            "schema": {"type": "string"},
        }
    },
    "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
}
_INTRODUCTION = """\
Runs LLM agents: it calls the model, runs the tools that the model asks for, and accounts for \
every token and cent.

Get a token with `agent-executor token` and send it as `Authorization: Bearer <token>`. Every \
error has the shape of ErrorBody. A field that is not known is ignored in a body and refused in \
a query. 64-bit integers are strings. An event stream is complete only if its last event says \
so, since HTTP cannot change its status half-way."""


def build_document(contracts: Contracts, version: str) -> dict[str, Any]:
    """Returns the document, ready to be written as JSON.

    Args:
        contracts: The contracts; RPCs without a REST route are left out.
        version: The platform's version, for ``info.version``.
    """
    routed = [method for method in contracts.methods if contracts.bindings(method)]
    schemas = Schemas(contracts, [method.input_type for method in routed])
    error = schemas.reference(contracts.message(_ERROR_BODY))
    paths: dict[str, dict[str, Any]] = {}
    for method in routed:
        for index, binding in enumerate(contracts.bindings(method)):
            verb = binding.WhichOneof("pattern")
            path = re.sub(r"{([\w.]+)=[^}]*}", r"{\1}", getattr(binding, verb))
            operation = _Operation(contracts, schemas, method, path, binding.body)
            paths.setdefault(path, {})[verb] = operation.build(index)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Agent Executor",
            "version": version,
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [
            {"name": _tag(service.name), "description": contracts.comment(service.full_name)}
            for service in contracts.services
            if any(method in routed for method in service.methods)
        ],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.components,
            "responses": {
                "Error": {"description": "Any other error.", "content": _json(error)},
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


class _Operation:
    """One route of one RPC.

    Args:
        contracts: The contracts.
        schemas: Where the schemas of bodies are kept.
        method: The RPC.
        path: The route's path, with plain names in its braces.
        body: The route's body: a field's name, ``*`` for the whole request, empty for none.
    """

    def __init__(
        self, contracts: Contracts, schemas: Schemas, method: MethodDescriptor, path: str, body: str
    ) -> None:
        self._contracts = contracts
        self._schemas = schemas
        self._method = method
        self._body = body
        self._in_path = re.findall(r"{([\w.]+)}", path)

    def build(self, index: int) -> dict[str, Any]:
        """Returns the operation; ``index`` counts the RPC's routes from 0."""
        name = self._method.name
        description = self._contracts.description(self._method)
        operation: dict[str, Any] = {
            "operationId": name[0].lower() + name[1:] + (f"_{index}" if index else ""),
            "tags": [_tag(self._method.containing_service.name)],
            "summary": re.split(r"(?<=\.)\s", description)[0].rstrip("."),
            "description": description,
        }
        if parameters := [*self._path_parameters(), *self._query_parameters()]:
            operation["parameters"] = parameters
        if self._body:
            operation["requestBody"] = self._request_body()
        operation["responses"] = {"200": self._answer(), **self._errors()}
        return operation

    def _path_parameters(self) -> Iterator[dict[str, Any]]:
        for path in self._in_path:
            field = _field(self._method.input_type, path)
            yield {"name": path, "in": "path", "required": True, **self._parameter(field)}

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
        return {"required": required, "content": _json(schema)}

    def _answer(self) -> dict[str, Any]:
        message = self._method.output_type
        if message.full_name == _FILE:
            return _FILE_ANSWER
        content = _json(self._schemas.reference(message))
        if self._method.server_streaming:
            content = {"text/event-stream": content["application/json"]}
        description = self._contracts.comment(message.full_name)
        if self._method.server_streaming:
            description = f"Server-sent events; the `data:` of each is this: {description}"
        return {"description": description, "content": content}

    def _errors(self) -> dict[str, Any]:
        texts: dict[int, list[str]] = {}
        for error in self._contracts.errors(self._method):
            texts.setdefault(HTTP_STATUS_OF_CODE[error.code], []).append(error.text)
        schema = self._schemas.reference(self._contracts.message(_ERROR_BODY))
        responses: dict[str, Any] = {
            str(status): {"description": "; ".join(texts[status]) + ".", "content": _json(schema)}
            for status in sorted(texts)
        }
        return {**responses, "default": {"$ref": "#/components/responses/Error"}}


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


def _tag(service_name: str) -> str:
    """Returns a service's name in words: ``ToolCallService`` is "Tool call"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", service_name.removesuffix("Service"))
    return words.capitalize()


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
