"""Conversations in memory, for the library and for tests."""

from __future__ import annotations

import msgspec

from agent_executor.executor.conversations.conversation import (
    Conversation,
    ConversationPart,
    RunEnd,
    busy_error,
)
from agent_executor.executor.conversations.store import ConversationPlace
from agent_executor.executor.journal.journal import RunRecord

_ENCODER = msgspec.json.Encoder()


class MemoryConversationStore:
    """A ``ConversationStore`` that lives as long as its process; the journal in memory writes it."""

    def __init__(self) -> None:
        self._conversations: dict[tuple[str, str], Conversation] = {}
        self._parts: dict[tuple[str, str], list[ConversationPart]] = {}

    def begin_run(self, run: RunRecord, after: RunRecord | None, after_run_id: str) -> None:
        """Makes a run the last one of its conversation, which begins with it if it is the first.

        Raises:
            ConflictError: The last run is another one than ``after_run_id``, or has not ended.
        """
        key = (run.organization_id, run.conversation_id)
        stored = self._conversations.get(key)
        if stored is None and not after_run_id:
            self._conversations[key] = Conversation(
                *key,
                run.agent_id,
                run.user_id,
                run.run_id,
                created_at_ms=run.created_at_ms,
                updated_at_ms=run.created_at_ms,
            )
            return
        is_free = after is not None and after.ended_at_ms > 0
        if stored is None or stored.last_run_id != after_run_id or not is_free:
            raise busy_error(run.conversation_id, stored.last_run_id if stored else after_run_id)
        self._conversations[key] = msgspec.structs.replace(
            stored,
            agent_id=run.agent_id,
            last_run_id=run.run_id,
            run_count=stored.run_count + 1,
            updated_at_ms=max(stored.updated_at_ms, run.created_at_ms),
        )

    def end_run(self, end: RunEnd) -> None:
        """Adds what a run that ended has said."""
        key, part = (end.organization_id, end.conversation_id), end.part
        stored = self._conversations.get(key)
        if stored is None or stored.last_run_id != part.run_id:
            return
        size_bytes = 0
        if part.messages:
            self._parts.setdefault(key, []).append(part)
            size_bytes = len(_ENCODER.encode(part.messages))
        self._conversations[key] = msgspec.structs.replace(
            stored,
            part_count=stored.part_count + bool(part.messages),
            message_count=part.end_index,
            size_bytes=stored.size_bytes + size_bytes,
            updated_at_ms=max(stored.updated_at_ms, end.ended_at_ms),
            applied_trim=end.applied_trim or stored.applied_trim,
        )

    async def get(self, organization_id: str, conversation_id: str) -> Conversation | None:
        """See ``ConversationStore``."""
        return self._conversations.get((organization_id, conversation_id))

    async def list_conversations(
        self,
        organization_id: str,
        limit: int,
        *,
        before: ConversationPlace | None = None,
        agent_id: str = "",
        user_id: str = "",
    ) -> list[Conversation]:
        """See ``ConversationStore``."""
        found = [
            conversation
            for (organization, _), conversation in self._conversations.items()
            if organization == organization_id
            and (before is None or _place(conversation) < before)
            and agent_id in ("", conversation.agent_id)
            and user_id in ("", conversation.user_id)
        ]
        return sorted(found, key=_place, reverse=True)[:limit]

    async def parts(
        self,
        organization_id: str,
        conversation_id: str,
        *,
        first_index: int,
        end_index: int,
        max_bytes: int,
    ) -> list[ConversationPart]:
        """See ``ConversationStore``."""
        found: list[ConversationPart] = []
        total_bytes = 0
        for part in reversed(self._parts.get((organization_id, conversation_id), [])):
            if part.first_index >= end_index:
                continue
            total_bytes += len(_ENCODER.encode(part.messages))
            is_wanted = part.end_index > first_index and total_bytes <= max_bytes
            if is_wanted or part.number == 1:
                found.append(part)
        return found[::-1]

    async def delete(self, organization_id: str, conversation_id: str, last_run_id: str) -> bool:
        """See ``ConversationStore``."""
        key = (organization_id, conversation_id)
        stored = self._conversations.get(key)
        if stored is None or stored.last_run_id != last_run_id:
            return False
        del self._conversations[key]
        self._parts.pop(key, None)
        return True


def _place(conversation: Conversation) -> ConversationPlace:
    return ConversationPlace(conversation.updated_at_ms, conversation.conversation_id)
