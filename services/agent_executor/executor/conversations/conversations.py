"""What can be done with conversations. Every method acts within the caller's organization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from agent_executor.errors import (
    ConversationNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
)
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.context.history import NO_HISTORY, History
from agent_executor.executor.conversations.conversation import (
    Conversation,
    ConversationPart,
    check_conversation_id,
    history_of,
)
from agent_executor.executor.conversations.store import ConversationPlace, ConversationStore
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run import FINAL_STATES, RunState
from agent_executor.executor.log.run_event import HistoryRange, HistoryTrimmed
from agent_executor.executor.model_calls.purpose import estimated_tokens
from agent_executor.executor.models.model import Message
from agent_executor.serving.security import SecurityContext

PERMISSION_READ: Final = "run:read"
PERMISSION_DELETE: Final = "run:execute"
# A run is given no more of a conversation than that, whatever its agent's limits are: more than any
# model's context window takes.
HISTORY_BYTES_MAX: Final = 16 * 1024 * 1024
# What one answer shows of a conversation.
SHOWN_MESSAGES_MAX: Final = 10_000
_ANY_BYTES: Final = 2**62

_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class ConversationStart:
    """What a run of a conversation begins with.

    Attributes:
        conversation_id: The conversation; empty if the run stands alone.
        range: What of it there is; None if the run stands alone.
        parts: What its runs have said, as far as the run is given it.
    """

    conversation_id: str = ""
    range: HistoryRange | None = None
    parts: tuple[ConversationPart, ...] = ()

    def history(self, model: str) -> History:
        """Returns the messages that a run on a model is given."""
        if self.range is None:
            return NO_HISTORY
        trimmed = self.range.trimmed
        first_index = trimmed.first_index if trimmed is not None else 1
        return history_of(self.parts, first_index, self.range.message_count, model)

    def size_bytes(self, model: str) -> int:
        """Returns the length of these messages as JSON."""
        history = self.history(model)
        return len(_ENCODER.encode((history.first, *history.messages))) if self.parts else 0


ALONE: Final = ConversationStart()


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation and its messages, oldest first."""

    conversation: Conversation
    messages: tuple[Message, ...]


class Conversations:
    """Reads and deletes conversations, and gives runs what was said before them."""

    def __init__(self, store: ConversationStore, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    async def begin(
        self, conversation_id: str, agent: AgentVersion, security: SecurityContext
    ) -> ConversationStart:
        """Returns what a new run of a conversation begins with.

        It may be taken only until the conversation's next run begins; the journal sees to that when
        the run is created.

        Args:
            conversation_id: The conversation; empty if the run stands alone.
            agent: Who is run.
            security: Who runs it.

        Raises:
            InvalidArgumentError: The id is no conversation's.
        """
        if not conversation_id:
            return ALONE
        check_conversation_id(conversation_id)
        found = await self._store.get(security.organization_id, conversation_id)
        if found is None:
            return ConversationStart(conversation_id, HistoryRange())
        # What was left out for the same agent before is not read again.
        applied, trimmed = found.applied_trim, None
        if applied and (applied.agent_id, applied.agent_version) == (agent.agent_id, agent.version):
            trimmed = applied.trimmed
        parts = await self._store.parts(
            security.organization_id,
            conversation_id,
            first_index=trimmed.first_index if trimmed is not None else 1,
            end_index=found.message_count,
            max_bytes=HISTORY_BYTES_MAX,
        )
        if len(parts) > 1 and parts[1].number > parts[0].number + 1:
            trimmed = _shortened(found, parts[1].first_index, trimmed)
        known = HistoryRange(found.last_run_id, found.part_count, found.message_count, trimmed)
        return ConversationStart(conversation_id, known, tuple(parts))

    async def history(self, run: RunRecord, state: RunState) -> History:
        """Returns what a run that was begun before is given, the same as at its start.

        Raises:
            UnavailableError: The storage failed.
        """
        if state.history is None or not state.history.message_count:
            return NO_HISTORY
        trimmed = state.trimmed or state.history.trimmed
        first_index = trimmed.first_index if trimmed is not None else 1
        parts = await self._store.parts(
            run.organization_id,
            run.conversation_id,
            first_index=first_index,
            end_index=state.history.message_count,
            max_bytes=_ANY_BYTES,
        )
        return history_of(parts, first_index, state.history.message_count, run.model)

    async def get(self, conversation_id: str, security: SecurityContext) -> ConversationView:
        """Returns a conversation with its messages; of more than 10,000, or 16 MiB, the newest.

        Raises:
            PermissionDeniedError: Without ``run:read``.
            ConversationNotFoundError: There is none in the organization.
        """
        security.require(PERMISSION_READ)
        found = await self._find(conversation_id, security)
        start = max(0, found.message_count - SHOWN_MESSAGES_MAX)
        parts = await self._store.parts(
            security.organization_id,
            conversation_id,
            first_index=start,
            end_index=found.message_count,
            max_bytes=HISTORY_BYTES_MAX,
        )
        messages = tuple(
            message
            for part in parts
            for message in part.messages[max(0, start - part.first_index) :]
        )
        return ConversationView(found, messages)

    async def list_conversations(
        self,
        security: SecurityContext,
        limit: int,
        *,
        before: ConversationPlace | None = None,
        agent_id: str = "",
        user_id: str = "",
    ) -> list[Conversation]:
        """Returns conversations, the one last changed first.

        Raises:
            PermissionDeniedError: Without ``run:read``.
        """
        security.require(PERMISSION_READ)
        return await self._store.list_conversations(
            security.organization_id, limit, before=before, agent_id=agent_id, user_id=user_id
        )

    async def delete(self, conversation_id: str, security: SecurityContext) -> None:
        """Deletes a conversation's messages. Its runs are kept, and its id can be used anew.

        Raises:
            PermissionDeniedError: Without ``run:execute``.
            ConversationNotFoundError: There is none in the organization.
            FailedPreconditionError: A run of it is under way.
        """
        security.require(PERMISSION_DELETE)
        found = await self._find(conversation_id, security)
        run = await self._journal.get(security.organization_id, found.last_run_id)
        is_ended = run is None or run.state in FINAL_STATES
        if not is_ended or not await self._store.delete(
            security.organization_id, conversation_id, found.last_run_id
        ):
            raise FailedPreconditionError(
                f"A run of conversation {conversation_id} is under way.",
                metadata={"conversationId": conversation_id, "runId": found.last_run_id},
            )

    async def _find(self, conversation_id: str, security: SecurityContext) -> Conversation:
        found = None
        if _is_id(conversation_id):
            found = await self._store.get(security.organization_id, conversation_id)
        if found is None:
            raise ConversationNotFoundError(
                f"Conversation {conversation_id} does not exist.",
                metadata={"conversationId": conversation_id},
            )
        return found


def _is_id(conversation_id: str) -> bool:
    try:
        check_conversation_id(conversation_id)
    except InvalidArgumentError:
        return False
    return True


def _shortened(
    found: Conversation, first_index: int, trimmed: HistoryTrimmed | None
) -> HistoryTrimmed:
    """Returns that a run is given a conversation from a message on only, for its length."""
    before = trimmed or HistoryTrimmed(0, 0)
    return msgspec.structs.replace(
        before,
        message_count=first_index - 1,
        estimated_tokens=max(
            before.estimated_tokens, estimated_tokens(found.size_bytes - HISTORY_BYTES_MAX)
        ),
        first_index=first_index,
    )
