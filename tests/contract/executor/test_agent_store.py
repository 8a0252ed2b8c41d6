"""What every agent store must do, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_executor.errors import IdempotencyConflictError
from agent_executor.executor.agents.agent import AgentVersion, CustomTool
from agent_executor.executor.agents.store import AgentStore
from agent_executor.executor.agents.store_memory import MemoryAgentStore
from agent_executor.executor.agents.store_sql import SqlAgentStore
from agent_executor.executor.agents.store_sqlite import SqliteAgentStore
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from tests.postgres import PostgresServer
from tests.sqlite import migrated_file


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AgentStore]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryAgentStore()
        return
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        postgres = PostgresDatabase(server.url(name))
        yield SqlAgentStore(PostgresStatementRunner(postgres))
        await postgres.close()
        await server.drop_database(name)
        return
    path = tmp_path / "journal.sqlite3"
    migrated_file(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield SqliteAgentStore(database)
    await database.close()


def new_agent(organization_id: str = "acme") -> AgentVersion:
    """Returns the first version of an agent that uses every kind of field."""
    return AgentVersion(
        agent_id=new_id(),
        organization_id=organization_id,
        version=1,
        name="Grüße",
        created_at_ms=1,
        updated_at_ms=1,
        tools={"calculator": True, "slack": False},
        custom_tools={"mine": CustomTool("Mine"), "old": CustomTool("Old", False, "ab12")},
        api_key_ciphertext=b"\x00\xff",
        on_budget_exceeded="pause",
        max_cost_nano_usd=9_000_000_000_000_000,
        min_output_tokens=7,
    )


async def test_a_version_is_read_as_it_was_written(store: AgentStore) -> None:
    agent = new_agent()
    assert await store.add_version(agent)
    assert await store.get("acme", agent.agent_id) == agent
    assert await store.get("acme", agent.agent_id, 1) == agent


async def test_a_change_is_a_new_version_and_the_old_one_stays(store: AgentStore) -> None:
    agent = new_agent()
    await store.add_version(agent)
    changed = agent.changed({"name": "second"}, now_ms=2)
    assert await store.add_version(changed)
    assert await store.get("acme", agent.agent_id) == changed
    assert await store.get("acme", agent.agent_id, 1) == agent
    assert await store.get("acme", agent.agent_id, 3) is None


async def test_of_two_changes_of_one_version_the_second_is_refused(store: AgentStore) -> None:
    agent = new_agent()
    await store.add_version(agent)
    assert await store.add_version(agent.changed({"name": "one"}, now_ms=2))
    assert not await store.add_version(agent.changed({"name": "two"}, now_ms=2))
    current = await store.get("acme", agent.agent_id)
    assert current is not None
    assert current.name == "one"


async def test_another_organization_sees_and_deletes_nothing(store: AgentStore) -> None:
    agent = new_agent()
    await store.add_version(agent)
    assert await store.get("other", agent.agent_id) is None
    assert await store.get("other", agent.agent_id, 1) is None
    assert await store.list_agents("other", 10) == []
    assert not await store.delete("other", agent.agent_id)
    assert await store.get("acme", agent.agent_id) == agent


async def test_a_deleted_agent_is_gone_except_for_its_numbered_versions(
    store: AgentStore,
) -> None:
    agent = new_agent()
    await store.add_version(agent)
    assert await store.delete("acme", agent.agent_id)
    assert not await store.delete("acme", agent.agent_id)
    assert await store.get("acme", agent.agent_id) is None
    assert await store.list_agents("acme", 10) == []
    assert await store.get("acme", agent.agent_id, 1) == agent


async def test_list_is_newest_agent_first_and_paged(store: AgentStore) -> None:
    agents = [new_agent() for _ in range(5)]
    for agent in agents:
        await store.add_version(agent)
    newest_first = sorted((agent.agent_id for agent in agents), reverse=True)
    assert [agent.agent_id for agent in await store.list_agents("acme", 10)] == newest_first
    page = await store.list_agents("acme", 2, before_agent_id=newest_first[1])
    assert [agent.agent_id for agent in page] == newest_first[2:4]


KEY = IdempotencyKey("key - ada", "digest")


async def test_of_repeats_under_a_key_the_first_creates_and_all_get_it(store: AgentStore) -> None:
    agents = [new_agent() for _ in range(20)]
    created = await asyncio.gather(*(store.create(agent, KEY) for agent in agents))
    assert len({agent.agent_id for agent in created}) == 1
    assert created[0] in agents
    assert await store.list_agents("acme", 100) == [created[0]]
    assert await store.create(new_agent(), KEY) == created[0]


async def test_a_key_names_an_agent_as_it_was_created(store: AgentStore) -> None:
    agent = await store.create(new_agent(), KEY)
    await store.add_version(agent.changed({"name": "second"}, now_ms=2))
    assert await store.create(new_agent(), KEY) == agent
    await store.delete("acme", agent.agent_id)
    assert await store.create(new_agent(), KEY) == agent
    assert await store.list_agents("acme", 100) == []


async def test_a_key_with_another_request_is_a_conflict(store: AgentStore) -> None:
    agent = await store.create(new_agent(), KEY)
    with pytest.raises(IdempotencyConflictError) as raised:
        await store.create(new_agent(), IdempotencyKey(KEY.key, "another"))
    assert raised.value.metadata == {"agentId": agent.agent_id}
    assert await store.list_agents("acme", 100) == [agent]


async def test_keys_are_their_organizations_own(store: AgentStore) -> None:
    ours, theirs = new_agent(), new_agent("other")
    assert await store.create(ours, KEY) == ours
    assert await store.create(theirs, KEY) == theirs
    eves = new_agent()
    assert await store.create(eves, IdempotencyKey("key - eve", "digest")) == eves


async def test_only_old_keys_are_forgotten(store: AgentStore) -> None:
    agent = await store.create(new_agent(), KEY)
    await store.forget_keys(agent.created_at_ms)
    assert await store.create(new_agent(), KEY) == agent
    await store.forget_keys(agent.created_at_ms + 1)
    second = new_agent()
    assert await store.create(second, KEY) == second
    assert await store.get("acme", agent.agent_id) == agent
