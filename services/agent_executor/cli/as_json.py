"""Answers of a platform as the gateway prints them over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message


def as_json(message: Message) -> dict[str, Any]:
    """Returns a message as REST answers it: int64 as texts, times as texts, nothing left out."""
    # Imported here so that commands which call no platform start quickly.
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
