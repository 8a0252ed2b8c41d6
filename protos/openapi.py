"""The REST API as an OpenAPI 3.1 document, from the routes, rules and comments of the contracts.

Whatever is wrong in the document is wrong in the contracts, and put right there.
"""

from __future__ import annotations

import re
from typing import Any, Final

from protos.contracts import Contracts
from protos.openapi_answers import HEADERS, Answers, success_headers
from protos.openapi_operations import DocumentParts, Operation, tag_name
from protos.openapi_schemas import Schemas

_ERROR_BODY: Final = "agent_executor.api.error.v1.ErrorBody"
_GATEWAY_TAG: Final = {
    "name": "Gateway",
    "description": "What the gateway answers by itself.",
}
_INTRODUCTION: Final = """\
Runs LLM agents: it calls the model, runs the tools that the model asks for, and accounts for \
every token and cent.

**Credentials.** Get a token with `agent-executor token`, or make an API key, and send either as \
`Authorization: Bearer …`. A browser that has signed in is known by its cookie.

**Errors** have the shape of ErrorBody, whoever makes them. `code` says why; `retry-after` says \
when a repeat can succeed.

**JSON.** A field that is not known is refused, in a body and in a query; `null` is as if the \
field was not there. 64-bit integers are strings. Timestamps are UTC.

**Streams** are server-sent events. One is complete only if its last event says so, since HTTP \
cannot change its status half-way.

**Headers.** Every answer has an `x-request-id`: the caller's own, or a new one. A `traceparent` \
is followed. `grpc-timeout` (as `1500m`) is the deadline of a call."""

_SECURITY_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of `agent-executor token` or of an issuer that is trusted.",
    },
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "aek_…",
        "description": "An API key, in the place of a token.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "agent_executor_session",
        "description": "The cookie of a browser that has signed in with `POST /api/v1/session`.",
    },
}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        "Names the request: a repeat by the same user under the same key is answered as the first "
        "one was, and does nothing again, for 24 hours."
    ),
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}


def build_document(contracts: Contracts, version: str) -> dict[str, Any]:
    """Returns the document, ready to be written as JSON.

    Args:
        contracts: The contracts; RPCs without a REST route are left out.
        version: The platform's version, for ``info.version``.
    """
    routed = [method for method in contracts.methods if contracts.bindings(method)]
    schemas = Schemas(contracts, [method.input_type for method in routed])
    answers = Answers(contracts, schemas.reference(contracts.message(_ERROR_BODY)))
    parts = DocumentParts(contracts, schemas, answers)
    paths = _gateway_paths()
    for method in routed:
        for index, binding in enumerate(contracts.bindings(method)):
            verb = binding.WhichOneof("pattern")
            path = re.sub(r"{([\w.]+)=[^}]*}", r"{\1}", getattr(binding, verb))
            operation = Operation(parts, method, path, binding.body)
            paths.setdefault(path, {})[verb] = operation.build(index)
    tags = [
        {"name": tag_name(service.name), "description": contracts.comment(service.full_name)}
        for service in contracts.services
        if any(method in routed for method in service.methods)
    ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Agent Executor",
            "version": version,
            "summary": "Runs LLM agents.",
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that this document comes from."}],
        "security": [{name: []} for name in _SECURITY_SCHEMES],
        "tags": [*tags, _GATEWAY_TAG],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.components,
            "responses": answers.components(),
            "examples": answers.examples(),
            "parameters": {"IdempotencyKey": _IDEMPOTENCY_KEY},
            "headers": HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _gateway_paths() -> dict[str, dict[str, Any]]:
    """Returns the paths that the gateway answers by itself, and for which nobody has to sign in."""
    error = {
        "405": {"$ref": "#/components/responses/WrongMethod"},
        "default": {"$ref": "#/components/responses/Error"},
    }
    unavailable = {"503": {"description": "A service has no healthy process."}}
    document = {"application/json": {"schema": {"type": "object"}}}
    return {
        "/healthz": {
            "get": {
                "operationId": "getHealth",
                "tags": [_GATEWAY_TAG["name"]],
                "summary": "Tells whether the platform is healthy",
                "description": "Healthy means that each service has a healthy process.",
                "security": [],
                "responses": {"200": {"description": "It is."}, **unavailable, **error},
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "getOpenApi",
                "tags": [_GATEWAY_TAG["name"]],
                "summary": "Returns this document",
                "description": "Returns this document.",
                "security": [],
                "responses": {
                    "200": {
                        "description": "The document.",
                        "headers": success_headers(),
                        "content": document,
                    },
                    **error,
                },
            }
        },
    }
