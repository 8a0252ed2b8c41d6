"""ConversationService over gRPC: proto in, proto out."""

from __future__ import annotations

from agent_executor.api.executor.v1 import (
    conversation_service_pb2,
    conversation_service_pb2_grpc,
)
from agent_executor.executor.conversations.conversations import Conversations
from agent_executor.executor.conversations.convert import conversation_to_proto
from agent_executor.executor.conversations.store import ConversationPlace
from agent_executor.executor.paging import decode_place, encode_place, page_size_of
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context


class ConversationServicer(conversation_service_pb2_grpc.ConversationServiceServicer):
    """See ``protos/agent_executor/api/executor/v1/conversation_service.proto``."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    async def GetConversation(  # noqa: N802 -- the contract's name
        self, request: conversation_service_pb2.GetConversationRequest, context: Context
    ) -> conversation_service_pb2.Conversation:
        """Returns a conversation with its messages."""
        del context
        view = await self._conversations.get(
            request.conversation_id, current_security_context.get()
        )
        return conversation_to_proto(view.conversation, view)

    async def ListConversations(  # noqa: N802 -- the contract's name
        self, request: conversation_service_pb2.ListConversationsRequest, context: Context
    ) -> conversation_service_pb2.ListConversationsResponse:
        """Lists conversations, without their messages."""
        del context
        size = page_size_of(request.page_size)
        place = decode_place(request.page_token)
        found = await self._conversations.list_conversations(
            current_security_context.get(),
            size + 1,
            before=place and ConversationPlace(*place),
            agent_id=request.agent_id,
            user_id=request.user_id,
        )
        page = found[:size]
        return conversation_service_pb2.ListConversationsResponse(
            conversations=[conversation_to_proto(conversation) for conversation in page],
            next_page_token=(
                encode_place(page[-1].updated_at_ms, page[-1].conversation_id)
                if len(found) > size
                else ""
            ),
        )

    async def DeleteConversation(  # noqa: N802 -- the contract's name
        self, request: conversation_service_pb2.DeleteConversationRequest, context: Context
    ) -> conversation_service_pb2.DeleteConversationResponse:
        """Deletes a conversation's messages."""
        del context
        await self._conversations.delete(request.conversation_id, current_security_context.get())
        return conversation_service_pb2.DeleteConversationResponse()
