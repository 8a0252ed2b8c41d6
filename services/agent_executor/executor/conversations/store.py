"""The port to where conversations are kept.

Runs begin in a conversation, and add to it, by the journal: in the transaction in which they are
created, and in that of their last event. Whether a conversation has a run under way follows from the
state of its last run, so that no executor can die and leave it closed.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from agent_executor.executor.conversations.conversation import Conversation, ConversationPart


class ConversationPlace(NamedTuple):
    """A place in the list of conversations: that after which a page begins."""

    updated_at_ms: int
    conversation_id: str


class ConversationStore(Protocol):
    """Reads and deletes conversations."""

    async def get(self, organization_id: str, conversation_id: str) -> Conversation | None:
        """Returns a conversation, or None if the organization has none of this id."""
        ...

    async def list_conversations(
        self,
        organization_id: str,
        limit: int,
        *,
        before: ConversationPlace | None = None,
        agent_id: str = "",
        user_id: str = "",
    ) -> list[Conversation]:
        """Returns conversations, the one last changed first; of the same instant by falling id."""
        ...

    async def parts(
        self,
        organization_id: str,
        conversation_id: str,
        *,
        first_index: int,
        end_index: int,
        max_bytes: int,
    ) -> list[ConversationPart]:
        """Returns the parts that hold messages from one index on and before another, in order.

        Of them the newest that have ``max_bytes`` together; and, before them, the first part of the
        conversation in any case.
        """
        ...

    async def delete(self, organization_id: str, conversation_id: str, last_run_id: str) -> bool:
        """Deletes a conversation and its parts, if its last run still is this one.

        Returns:
            Whether it was deleted.
        """
        ...
