"""Activities as JSON, in the style of the REST API: every field, under its name in the contract."""

from __future__ import annotations

import json
from typing import Any, Final

from cachetools import LRUCache
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from agent_executor.api.executor.v1 import monitor_service_pb2

# Those who watch the same organization are told the same events at about the same time.
MAX_KEPT_EVENTS: Final = 64
MAX_KEPT_CHARACTERS: Final = 64 * 1024


class ActivityTexts:
    """Makes the messages of all monitors, and the part that is an event once for all."""

    def __init__(self) -> None:
        self._events: LRUCache[tuple[str, int, bool], str] = LRUCache(MAX_KEPT_EVENTS)

    def text_of(self, activity: monitor_service_pb2.Activity, *, without_content: bool) -> str:
        """Returns an activity as a message of the WebSocket.

        Args:
            activity: It, as the executor has told it to whoever is sent the message.
            without_content: Whether it was told without what people and models wrote.
        """
        event = "null"
        if activity.HasField("event"):
            event = self._event(activity, without_content)
        rest = json.dumps(
            {
                "told_at": activity.told_at.ToJsonString(),
                "agent_id": activity.agent_id,
                "agent_version": activity.agent_version,
                "model": activity.model,
                "user_id": activity.user_id,
                # As all numbers of 64 bits in JSON.
                "tokens_used": str(activity.tokens_used),
                "cost_nano_usd": str(activity.cost_nano_usd),
            },
            separators=(",", ":"),
        )
        return f'{rest[:-1]},"event":{event}}}'

    def _event(self, activity: monitor_service_pb2.Activity, without_content: bool) -> str:
        key = (activity.event.run_id, activity.event.sequence, without_content)
        text: str | None = self._events.get(key)
        if text is None:
            text = json.dumps(_shown(activity.event), separators=(",", ":"))
            if len(text) <= MAX_KEPT_CHARACTERS:
                self._events[key] = text
        return text


def _shown(message: Message) -> dict[str, Any]:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
