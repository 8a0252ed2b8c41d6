"""Between conversations and their contract. Pure; decides nothing."""

from __future__ import annotations

from agent_executor.api.executor.v1 import conversation_service_pb2
from agent_executor.executor.conversations.conversation import Conversation
from agent_executor.executor.conversations.conversations import (
    SHOWN_MESSAGES_MAX,
    ConversationView,
)
from agent_executor.executor.convert import message_to_proto
from agent_executor.executor.paging import fitting_page
from agent_executor.serving.timestamp_convert import timestamp


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
