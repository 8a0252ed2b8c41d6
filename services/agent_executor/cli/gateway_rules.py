"""The REST rules of the contracts, one for each verb and path template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto


@dataclass(frozen=True, slots=True)
class RestRule:
    """One way to call a method by REST.

    Attributes:
        verb: The HTTP method, for example `POST`.
        template: The path template, for example `/api/v1/agents/{agent_id}`.
        body: The field that the body fills, `*` for the whole request, empty if none is taken.
        service: The full name of the method's service.
        method: The gRPC method.
    """

    verb: str
    template: str
    body: str
    service: str
    method: MethodDescriptorProto


def methods(descriptor: FileDescriptorSet) -> Iterator[tuple[str, MethodDescriptorProto]]:
    """Yields each method of the contracts with its service's full name."""
    for file in descriptor.file:
        for service in file.service:
            for method in service.method:
                yield f"{file.package}.{service.name}", method


def rest_rules(descriptor: FileDescriptorSet) -> Iterator[RestRule]:
    """Yields the REST rules, in the order of the contracts.

    Raises:
        ValueError: If a rule has no path.
    """
    # Its stubs declare a plain field descriptor, which the typed extension API refuses.
    extension: Any = annotations_pb2.http
    for service, method in methods(descriptor):
        if method.options.HasExtension(extension):
            rule: http_pb2.HttpRule = method.options.Extensions[extension]
            for each in (rule, *rule.additional_bindings):
                verb, template = _verb_and_template(each)
                yield RestRule(verb, template, each.body, service, method)


def rest_services(descriptor: FileDescriptorSet) -> list[str]:
    """Lists the services that have a REST route, sorted by their full names."""
    return sorted({rule.service for rule in rest_rules(descriptor)})


def _verb_and_template(rule: http_pb2.HttpRule) -> tuple[str, str]:
    kind = rule.WhichOneof("pattern")
    if kind is None:
        msg = "a google.api.http rule has no path"
        raise ValueError(msg)
    if kind == "custom":
        return rule.custom.kind, rule.custom.path
    return kind.upper(), getattr(rule, kind)
