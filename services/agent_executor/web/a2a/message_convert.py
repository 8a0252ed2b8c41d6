"""Messages of other agents as the input of runs."""

from __future__ import annotations

import json
from typing import Final

from a2a.types import Message, Part
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError
from google.protobuf.json_format import MessageToDict

_KINDS: Final = {"raw": "files", "url": "links to files"}


def message_to_input(message: Message) -> str:
    """Returns what a message asks: its texts, and its data as JSON, part by part.

    Raises:
        InvalidParamsError: It says nothing.
        ContentTypeNotSupportedError: A part is a file.
    """
    text = "\n".join(_part_to_text(part) for part in message.parts)
    if not text:
        raise InvalidParamsError("The message holds no text.")
    return text


def _part_to_text(part: Part) -> str:
    kind = part.WhichOneof("content")
    if kind == "text":
        return part.text
    if kind == "data":
        return json.dumps(MessageToDict(part.data), ensure_ascii=False)
    if kind is None:
        raise InvalidParamsError("A part of the message is empty.")
    raise ContentTypeNotSupportedError(f"Agents take text and data, no {_KINDS.get(kind, kind)}.")
