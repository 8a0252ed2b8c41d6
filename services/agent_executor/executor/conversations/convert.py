"""Between conversations and their contract. Pure; decides nothing."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from agent_executor.api.executor.v1 import conversation_service_pb2
from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.conversations.conversation import Conversation
from agent_executor.executor.conversations.conversations import (
    SHOWN_MESSAGES_MAX,
    ConversationView,
)
from agent_executor.executor.conversations.store import ConversationPlace
from agent_executor.executor.convert import message_to_proto
from agent_executor.executor.paging import fitting_page
from agent_executor.serving.timestamp_convert import timestamp

_PLACE: Final = msgspec.json.Decoder(tuple[int, str])


def conversation_to_proto(
    conversation: Conversation, view: ConversationView | None = None
) -> conversation_service_pb2.Conversation:
    """Returns a conversation; it has messages only if ``view`` is given."""
    newest_first = reversed(view.messages if view is not None else ())
    shown = fitting_page(map(message_to_proto, newest_first), SHOWN_MESSAGES_MAX)
    return conversation_service_pb2.Conversation(
        id=conversation.conversation_id,
        agent_id=conversation.agent_id,
        user_id=conversation.user_id,
        messages=reversed(shown),
        last_run_id=conversation.last_run_id,
        run_count=conversation.run_count,
        created_at=timestamp(conversation.created_at_ms),
        updated_at=timestamp(conversation.updated_at_ms),
    )


def encode_place(conversation: Conversation) -> str:
    """Returns the token of the page after the one that ends with a conversation."""
    place = (conversation.updated_at_ms, conversation.conversation_id)
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode_place(token: str) -> ConversationPlace | None:
    """Returns the place in a token; None for the empty token.

    Raises:
        InvalidArgumentError: The token was not made by ``encode_place``.
    """
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        decoded = base64.b64decode(padded, altchars=b"-_", validate=True)
        return ConversationPlace(*_PLACE.decode(decoded))
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        message = "page_token is not one that this service gave out."
        raise InvalidArgumentError(message, field_violations=(("page_token", message),)) from error
