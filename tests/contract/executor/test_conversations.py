"""What every store of conversations must do, with its journal, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from agent_executor.errors import ConflictError, IdempotencyConflictError, LeaseLostError
from agent_executor.executor.conversations.conversation import (
    AppliedTrim,
    Conversation,
    ConversationPart,
    RunEnd,
)
from agent_executor.executor.conversations.store import ConversationPlace, ConversationStore
from agent_executor.executor.conversations.store_memory import MemoryConversationStore
from agent_executor.executor.conversations.store_sql import SqlConversationStore
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import IdempotencyKey, Journal, RunRecord
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.journal.journal_postgres import PostgresJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.log.run_event import HistoryTrimmed, RunEvent, RunFinished, RunStarted
from agent_executor.executor.models.model import Message, TextBlock
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer
from tests.sqlite import migrated_file

STARTED = RunEvent(1, 1_000, RunStarted("agent", 1, "model", "input"))
FINISHED = RunEvent(2, 2_000, RunFinished("completed", "yes"))
# Not one of its characters is what a database might take it for.
ODD_ID = "ünï/%_'\"\\✓ " + "é" * 50
ANY_BYTES = 2**40


@dataclass
class Stores:
    """A journal and the conversations that it writes."""

    journal: Journal
    conversations: ConversationStore

    async def begin(self, after_run_id: str = "", **changes: object) -> RunRecord:
        run = new_run(**changes)
        await self.journal.create(run, [STARTED], after_run_id=after_run_id)
        return run

    async def end(self, run: RunRecord, end: RunEnd | None) -> None:
        ended = msgspec.structs.replace(
            run, state="completed", ended_at_ms=2_000, last_sequence=2, response="yes"
        )
        await self.journal.append(ended, [FINISHED], end)

    async def say(self, number: int, after_run_id: str = "", **changes: object) -> RunRecord:
        """Has a run that says one exchange of messages."""
        run = await self.begin(after_run_id, **changes)
        await self.end(run, said(run, number))
        return run

    async def get(self, conversation_id: str = "c", organization_id: str = "acme") -> Conversation:
        found = await self.conversations.get(organization_id, conversation_id)
        assert found is not None
        return found

    async def part_numbers(
        self, first_index: int = 0, end_index: int = 1_000, max_bytes: int = ANY_BYTES
    ) -> list[int]:
        parts = await self.conversations.parts(
            "acme", "c", first_index=first_index, end_index=end_index, max_bytes=max_bytes
        )
        return [part.number for part in parts]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        memory = MemoryConversationStore()
        yield Stores(MemoryJournal(memory), memory)
        return
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        shared = PostgresDatabase(server.url(name))
        yield Stores(PostgresJournal(shared), SqlConversationStore(PostgresStatementRunner(shared)))
        await shared.close()
        await server.drop_database(name)
        return
    path = tmp_path / "journal.sqlite3"
    migrated_file(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield Stores(SqliteJournal(database), SqlConversationStore(SqliteStatementRunner(database)))
    await database.close()


def new_run(**changes: object) -> RunRecord:
    """Returns a run of a conversation, with one event."""
    run = RunRecord(
        run_id=new_id(),
        organization_id="acme",
        user_id="ada",
        permissions=("run:execute",),
        agent_id="agent",
        agent_version=1,
        model="model",
        input="input",
        is_test=False,
        traceparent="",
        created_at_ms=1_000,
        owner="a/1",
        state="running",
        last_sequence=1,
        conversation_id="c",
    )
    return msgspec.structs.replace(run, **changes)


def messages(number: int) -> tuple[Message, ...]:
    return (
        Message("user", (TextBlock(f"question {number} é\0"),)),
        Message("assistant", (TextBlock(f"answer {number}"),)),
    )


def said(run: RunRecord, number: int, trim: AppliedTrim | None = None) -> RunEnd:
    """Returns the end of the run whose messages are the ``number``-th exchange, from 1."""
    part = ConversationPart(number, run.run_id, "model", 2 * (number - 1), messages(number))
    return RunEnd(run.organization_id, run.conversation_id, part, trim, 2_000)


async def test_a_conversation_begins_with_its_first_run(stores: Stores) -> None:
    assert await stores.conversations.get("acme", "c") is None
    run = await stores.begin()
    assert await stores.get() == Conversation("acme", "c", "agent", "ada", run.run_id, 1_000, 1_000)
    assert await stores.part_numbers() == []


async def test_runs_continue_each_other_and_add_what_they_said(stores: Stores) -> None:
    first = await stores.say(1)
    second = await stores.say(2, first.run_id, agent_id="other", user_id="bob", created_at_ms=1_500)
    found = await stores.get()
    assert (found.last_run_id, found.run_count) == (second.run_id, 2)
    assert (found.agent_id, found.user_id) == ("other", "ada")
    assert (found.part_count, found.message_count) == (2, 4)
    assert found.size_bytes == sum(len(msgspec.json.encode(messages(n))) for n in (1, 2))
    assert (found.created_at_ms, found.updated_at_ms) == (1_000, 2_000)
    assert await stores.conversations.parts(
        "acme", "c", first_index=0, end_index=4, max_bytes=ANY_BYTES
    ) == [
        ConversationPart(1, first.run_id, "model", 0, messages(1)),
        ConversationPart(2, second.run_id, "model", 2, messages(2)),
    ]


async def test_there_is_one_run_at_a_time(stores: Stores) -> None:
    run = await stores.begin()
    for after_run_id in ("", run.run_id):
        with pytest.raises(ConflictError) as refused:
            await stores.begin(after_run_id)
        assert refused.value.reason == "CONFLICT"
        assert refused.value.metadata["runId"] == run.run_id
    assert (await stores.get()).run_count == 1
    runs = await stores.journal.list_runs("acme", 10)
    assert [each.run_id for each in runs] == [run.run_id], "a refused run was stored"


async def test_a_run_that_knows_another_last_run_is_refused(stores: Stores) -> None:
    """Its history would lack what was said meanwhile."""
    first = await stores.say(1)
    second = await stores.say(2, first.run_id)
    with pytest.raises(ConflictError) as refused:
        await stores.begin(first.run_id)
    assert refused.value.metadata["runId"] == second.run_id
    with pytest.raises(ConflictError):
        await stores.begin("")


async def test_of_many_that_begin_at_once_one_does(stores: Stores) -> None:
    first = await stores.say(1)
    for after_run_id, conversation_id in ((first.run_id, "c"), ("", "new")):
        outcomes = await asyncio.gather(
            *(stores.begin(after_run_id, conversation_id=conversation_id) for _ in range(20)),
            return_exceptions=True,
        )
        begun = [run for run in outcomes if isinstance(run, RunRecord)]
        refused = [error for error in outcomes if isinstance(error, ConflictError)]
        assert (len(begun), len(refused)) == (1, 19)
        assert {error.metadata["runId"] for error in refused} == {begun[0].run_id}
        assert (await stores.get(conversation_id)).last_run_id == begun[0].run_id


async def test_whoever_ends_the_run_of_a_dead_owner_frees_the_conversation(stores: Stores) -> None:
    """There is no mark that a killed executor could leave behind."""
    run = await stores.begin()
    (claimed,) = await stores.journal.claim("heir/1", 5_000, 10)
    with pytest.raises(ConflictError):
        await stores.begin(run.run_id)
    await stores.end(claimed, said(claimed, 1))
    await stores.begin(run.run_id)


async def test_a_former_owner_adds_nothing(stores: Stores) -> None:
    run = await stores.begin()
    await stores.journal.claim("heir/1", 5_000, 10)
    with pytest.raises(LeaseLostError):
        await stores.end(run, said(run, 1))
    assert (await stores.get()).message_count == 0
    assert await stores.part_numbers() == []


async def test_a_run_without_an_answer_adds_nothing_and_counts(stores: Stores) -> None:
    first = await stores.begin()
    await stores.end(
        first, RunEnd("acme", "c", ConversationPart(1, first.run_id, "m", 0, ()), None, 9)
    )
    found = await stores.get()
    assert (found.run_count, found.part_count, found.message_count) == (1, 0, 0)
    assert found.updated_at_ms == 1_000, "time went back"
    assert await stores.part_numbers() == []
    await stores.say(1, first.run_id)
    assert (await stores.get()).part_count == 1


async def test_organizations_have_conversations_of_their_own(stores: Stores) -> None:
    await stores.say(1)
    other = await stores.begin(organization_id="other")
    assert (await stores.get("c", "other")).last_run_id == other.run_id
    assert (await stores.get()).message_count == 2
    assert await stores.conversations.list_conversations("third", 10) == []
    assert (
        await stores.conversations.parts(
            "other", "c", first_index=0, end_index=9, max_bytes=ANY_BYTES
        )
        == []
    )
    assert not await stores.conversations.delete("third", "c", other.run_id)
    assert await stores.conversations.delete("other", "c", other.run_id)
    assert (await stores.get()).message_count == 2


async def test_any_text_is_an_id(stores: Stores) -> None:
    run = await stores.say(1, conversation_id=ODD_ID)
    assert (await stores.get(ODD_ID)).last_run_id == run.run_id
    listed = await stores.journal.list_runs("acme", 10)
    assert [each.conversation_id for each in listed] == [ODD_ID]


async def test_what_is_wanted_of_the_parts_is_read(stores: Stores) -> None:
    after = ""
    for number in range(1, 6):
        after = (await stores.say(number, after)).run_id
    size_bytes = len(msgspec.json.encode(messages(1)))
    assert await stores.part_numbers() == [1, 2, 3, 4, 5]
    assert await stores.part_numbers(first_index=4) == [1, 3, 4, 5]
    assert await stores.part_numbers(first_index=5) == [1, 3, 4, 5], "half of a part is wanted"
    assert await stores.part_numbers(first_index=6, end_index=8) == [1, 4]
    assert await stores.part_numbers(end_index=5) == [1, 2, 3]
    assert await stores.part_numbers(max_bytes=2 * size_bytes) == [1, 4, 5]
    assert await stores.part_numbers(max_bytes=0) == [1]
    assert await stores.part_numbers(first_index=10, end_index=10) == [1]


async def test_what_was_left_out_last_is_remembered(stores: Stores) -> None:
    first, trim = await stores.begin(), AppliedTrim("agent", 3, HistoryTrimmed(4, 99, "sum é", 5))
    await stores.end(first, said(first, 1, trim))
    assert (await stores.get()).applied_trim == trim
    await stores.say(2, first.run_id)
    assert (await stores.get()).applied_trim == trim, "a run that left out nothing changed it"


async def test_the_list_is_by_the_last_change_filtered_and_paged(stores: Stores) -> None:
    for number, name in enumerate(["a", "é", "Z", "b"]):
        await stores.begin(
            conversation_id=name,
            created_at_ms=1_000 + number // 2,
            agent_id="odd" if number % 2 else "even",
            user_id=name,
        )
    listed = await stores.conversations.list_conversations("acme", 10)
    # Of one instant by falling id, in the order of its bytes everywhere.
    assert [each.conversation_id for each in listed] == ["b", "Z", "é", "a"]
    pages: list[str] = []
    before: ConversationPlace | None = None
    while page := await stores.conversations.list_conversations("acme", 1, before=before):
        pages.append(page[0].conversation_id)
        before = ConversationPlace(page[0].updated_at_ms, page[0].conversation_id)
    assert pages == ["b", "Z", "é", "a"]
    odd = await stores.conversations.list_conversations("acme", 10, agent_id="odd")
    assert [each.conversation_id for each in odd] == ["b", "é"]
    hers = await stores.conversations.list_conversations("acme", 10, user_id="é", agent_id="odd")
    assert [each.conversation_id for each in hers] == ["é"]


async def test_a_deleted_conversation_begins_anew(stores: Stores) -> None:
    first = await stores.say(1)
    second = await stores.say(2, first.run_id)
    assert not await stores.conversations.delete("acme", "c", first.run_id)
    assert await stores.part_numbers() == [1, 2]
    assert await stores.conversations.delete("acme", "c", second.run_id)
    assert await stores.conversations.get("acme", "c") is None
    assert await stores.part_numbers() == []
    assert await stores.journal.get("acme", first.run_id) is not None, "a run was deleted too"
    # Who knew it before must not go on with what is gone.
    with pytest.raises(ConflictError):
        await stores.begin(second.run_id)
    await stores.say(1)
    assert (await stores.get()).message_count == 2


async def test_a_repeated_key_finds_its_run_though_it_is_under_way(stores: Stores) -> None:
    key = IdempotencyKey("key", "digest")
    run, repeat = new_run(), new_run()
    await stores.journal.create(run, [STARTED], key)
    assert await stores.journal.create(repeat, [STARTED], key, after_run_id=run.run_id) == (
        run.run_id
    )
    with pytest.raises(IdempotencyConflictError):
        await stores.journal.create(repeat, [STARTED], IdempotencyKey("key", "another"))
    assert (await stores.get()).run_count == 1


async def test_a_run_that_is_refused_does_not_use_its_key(stores: Stores) -> None:
    run = await stores.begin()
    key = IdempotencyKey("key", "digest")
    with pytest.raises(ConflictError):
        await stores.journal.create(new_run(), [STARTED], key, after_run_id=run.run_id)
    await stores.end(run, said(run, 1))
    later = new_run()
    assert await stores.journal.create(later, [STARTED], key, after_run_id=run.run_id) == (
        later.run_id
    )


async def test_events_are_read_by_pages(stores: Stores) -> None:
    run = await stores.say(1)
    assert await stores.journal.events(run.run_id, 0, 1) == [STARTED]
    assert await stores.journal.events(run.run_id, 1, 1) == [FINISHED]
    assert await stores.journal.events(run.run_id, 2, 1) == []
    assert await stores.journal.events(run.run_id, 0, 5) == [STARTED, FINISHED]
