"""The contracts as descriptors, with what descriptors alone do not give: comments and options.

The OpenAPI document and the tests of the house rules both read the contracts through this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)

OUR_PACKAGE = "agent_executor.api."

# The HTTP status that Envoy answers for each canonical gRPC code.
HTTP_STATUS_OF_CODE = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}

_Element: TypeAlias = Any  # Any *DescriptorProto: they share `name` and no base class that says so.


@dataclass(frozen=True, slots=True)
class DocumentedError:
    """One clause of an RPC's ``Errors:`` comment.

    Attributes:
        code: The canonical gRPC code.
        reasons: The names of ErrorReason that the clause gives in brackets.
        text: The clause as it was written.
    """

    code: str
    reasons: tuple[str, ...]
    text: str


class Contracts:
    """Our contracts, compiled with their imports and comments.

    Args:
        image: What ``compiler.compile_image`` returns.
    """

    def __init__(self, image: descriptor_pb2.FileDescriptorSet) -> None:
        self._image = image
        self._pool = descriptor_pool.DescriptorPool()
        for file in image.file:
            self._pool.Add(file)

    @property
    def files(self) -> list[FileDescriptor]:
        """Our own files, in the order of their names."""
        names = [file.name for file in self._image.file if file.package.startswith(OUR_PACKAGE)]
        return [self._pool.FindFileByName(name) for name in sorted(names)]

    @property
    def services(self) -> list[ServiceDescriptor]:
        """Our own services, file by file."""
        return [service for file in self.files for service in file.services_by_name.values()]

    @property
    def methods(self) -> list[MethodDescriptor]:
        """The RPCs of our own services, in the order in which they are declared."""
        return [method for service in self.services for method in service.methods]

    def message(self, full_name: str) -> Descriptor:
        """Returns any message, imported ones too.

        Raises:
            KeyError: There is none of that name.
        """
        return self._pool.FindMessageTypeByName(full_name)

    def enum(self, full_name: str) -> EnumDescriptor:
        """Returns any enum, imported ones too.

        Raises:
            KeyError: There is none of that name.
        """
        return self._pool.FindEnumTypeByName(full_name)

    def bindings(self, method: MethodDescriptor) -> list[Any]:
        """Returns the ``google.api.HttpRule`` of each of the RPC's REST routes, if it has any."""
        rule = self._option(method, "google.protobuf.MethodOptions", "google.api.http")
        return [] if rule is None else [rule, *rule.additional_bindings]

    def rules(self, field: FieldDescriptor) -> Any | None:
        """Returns the field's ``buf.validate.FieldRules``, or None if it has none."""
        return self._option(field, "google.protobuf.FieldOptions", "buf.validate.field")

    def comment(self, name: str) -> str:
        """Returns an element's comment, paragraph by paragraph, or the empty string.

        Args:
            name: Full name; an enum's value is named below its enum, a file by its path.
        """
        return self.comments.get(name, "")

    @cached_property
    def comments(self) -> dict[str, str]:
        """The comment of every element of our files, empty where there is none."""
        return {
            name: comment
            for file in self._image.file
            if file.package.startswith(OUR_PACKAGE)
            for name, comment in _file_comments(file)
        }

    def description(self, method: MethodDescriptor) -> str:
        """Returns the RPC's comment without its errors."""
        return re.split(r"\s*\bErrors:", self.comment(method.full_name))[0]

    def errors(self, method: MethodDescriptor) -> list[DocumentedError]:
        """Returns the errors that the RPC's comment names.

        The comment ends with ``Errors:`` and clauses between semicolons, each with a canonical
        code and, in brackets, its reasons. ``those of OtherRpc, without CODE`` stands for the
        errors of another RPC of the same service.
        """
        _, _, text = self.comment(method.full_name).partition("Errors:")
        errors: list[DocumentedError] = []
        for clause in (part.strip().rstrip(".") for part in text.split(";")):
            errors.extend(self._errors_of_clause(method, clause))
        return errors

    def _errors_of_clause(self, method: MethodDescriptor, clause: str) -> list[DocumentedError]:
        words = re.findall(r"\b[A-Z][A-Z_]+\b", clause)
        codes = [word for word in words if word in HTTP_STATUS_OF_CODE]
        borrowed = re.match(r"those of ([A-Z]\w+)", clause)
        if borrowed:
            lender = method.containing_service.methods_by_name[borrowed[1]]
            return [error for error in self.errors(lender) if error.code not in codes]
        if not codes:
            return []
        reasons = tuple(
            reason
            for bracket in re.findall(r"\(([^)]*)\)", clause)
            for reason in re.findall(r"\b[A-Z][A-Z_]+\b", bracket)
        )
        return [DocumentedError(codes[0], reasons, clause)]

    def _option(
        self, element: MethodDescriptor | FieldDescriptor, options_type: str, extension_name: str
    ) -> Any | None:
        # Read through this pool's own classes, so that no generated code of the extension is
        # needed: the first generation has none yet.
        extension: Any = self._pool.FindExtensionByName(extension_name)
        options_class = message_factory.GetMessageClass(self.message(options_type))
        options = options_class.FromString(element.GetOptions().SerializeToString())
        return options.Extensions[extension] if options.HasExtension(extension) else None


def messages_inside(messages: Iterable[Descriptor]) -> list[Descriptor]:
    """Returns our own among some messages and all that they can hold, without map entries."""
    found: dict[str, Descriptor] = {}
    waiting = list(messages)
    while waiting:
        message = waiting.pop()
        if message.full_name not in found and message.full_name.startswith(OUR_PACKAGE):
            found[message.full_name] = message
            waiting.extend(field.message_type for field in message.fields if field.message_type)
    return [message for message in found.values() if not message.GetOptions().map_entry]


def _file_comments(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    comments = {
        tuple(location.path): _paragraphs(location.leading_comments)
        for location in file.source_code_info.location
        if location.leading_comments
    }
    yield file.name, comments.get((descriptor_pb2.FileDescriptorProto.SYNTAX_FIELD_NUMBER,), "")
    for name, path in _elements(file):
        yield name, comments.get(path, "")


def _elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the full name and source path of everything that a file declares.

    The numbers in a path are the field numbers of the ``*DescriptorProto`` messages.
    """
    yield from _messages(file.package, (4,), file.message_type)
    yield from _enums(file.package, (5,), file.enum_type)
    for name, path, service in _named(file.package, (6,), file.service):
        yield name, path
        yield from ((method, at) for method, at, _ in _named(name, (*path, 2), service.method))


def _messages(
    scope: str, path: tuple[int, ...], messages: Iterable[descriptor_pb2.DescriptorProto]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, at, message in _named(scope, path, messages):
        if message.options.map_entry:
            continue
        yield name, at
        yield from ((field, place) for field, place, _ in _named(name, (*at, 2), message.field))
        optional = {field.oneof_index for field in message.field if field.proto3_optional}
        for index, oneof in enumerate(message.oneof_decl):
            if index not in optional:
                yield f"{name}.{oneof.name}", (*at, 8, index)
        yield from _messages(name, (*at, 3), message.nested_type)
        yield from _enums(name, (*at, 4), message.enum_type)


def _enums(
    scope: str, path: tuple[int, ...], enums: Iterable[descriptor_pb2.EnumDescriptorProto]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, at, enum in _named(scope, path, enums):
        yield name, at
        yield from ((value, place) for value, place, _ in _named(name, (*at, 2), enum.value))


def _named(
    scope: str, path: tuple[int, ...], elements: Iterable[_Element]
) -> Sequence[tuple[str, tuple[int, ...], _Element]]:
    return [
        (f"{scope}.{element.name}", (*path, index), element)
        for index, element in enumerate(elements)
    ]


def _paragraphs(comment: str) -> str:
    """Joins the lines of each paragraph of a comment."""
    blocks = re.split(r"\n\s*\n", comment.strip())
    return "\n\n".join(" ".join(line.strip() for line in block.splitlines()) for block in blocks)
