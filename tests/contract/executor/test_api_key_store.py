"""What every store of API keys must do, on every adapter."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_executor.executor.api_keys.api_key import ApiKey
from agent_executor.executor.api_keys.store import ApiKeyQuery, ApiKeyStore
from agent_executor.executor.api_keys.store_memory import MemoryApiKeyStore
from agent_executor.executor.api_keys.store_sql import SqlApiKeyStore
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer

NOW = 1_000_000
NEVER = 0
# Later ids are greater, also within a millisecond.
NUMBERS = itertools.count(1)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ApiKeyStore]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryApiKeyStore()
        return
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        postgres = PostgresDatabase(server.url(name))
        yield SqlApiKeyStore(PostgresStatementRunner(postgres))
        await postgres.close()
        await server.drop_database(name)
        return
    path = tmp_path / "journal.sqlite3"
    upgrade(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield SqlApiKeyStore(SqliteStatementRunner(database))
    await database.close()


def a_key(**changes: Any) -> ApiKey:
    key_id = str(uuid.UUID(int=next(NUMBERS)))
    key = ApiKey(
        key_id=key_id,
        organization_id="acme",
        user_id="ada",
        name='Ärger\'s "key"',
        digest=key_id.encode(),
        hint="aek_7GQm",
        permissions=("run:execute", "tool:*"),
        kind="key",
        created_by="bea",
        created_at_ms=NOW,
        expires_at_ms=NOW + 1_000,
    )
    return msgspec.structs.replace(key, **changes)


async def add(store: ApiKeyStore, **changes: Any) -> ApiKey:
    key = a_key(**changes)
    assert await store.create(key, 1_000, NEVER)
    return key


async def ids(store: ApiKeyStore, **changes: Any) -> list[str]:
    query = ApiKeyQuery(**{"organization_id": "acme", "limit": 10, "now_ms": NOW, **changes})
    return [key.key_id for key in await store.list_keys(query)]


async def test_a_key_comes_back_as_it_was(store: ApiKeyStore) -> None:
    key = await add(store)
    await add(store)
    assert await store.find(key.digest) == key
    assert await store.get("acme", key.key_id) == key
    assert await store.find(b"another") is None


async def test_another_organizations_key_is_not_there(store: ApiKeyStore) -> None:
    key = await add(store)
    assert await store.get("other", key.key_id) is None
    assert await store.revoke("other", key.key_id, NOW) is None
    assert await ids(store, organization_id="other") == []
    assert await store.get("acme", "a\0b") is None
    assert await store.find(key.digest) == key


async def test_lists_are_filtered_and_have_the_newest_first(store: ApiKeyStore) -> None:
    active = await add(store)
    of_bea = await add(store, user_id="bea")
    expired = await add(store, expires_at_ms=NOW)
    revoked = await add(store)
    await store.revoke("acme", revoked.key_id, NOW)
    await add(store, organization_id="other")
    newest_first = [each.key_id for each in (revoked, expired, of_bea, active)]
    assert await ids(store) == newest_first
    assert await ids(store, limit=2) == newest_first[:2]
    assert await ids(store, before=of_bea.key_id) == newest_first[3:]
    assert await ids(store, user_id="bea") == [of_bea.key_id]
    assert await ids(store, user_id="b\0ea") == []
    assert await ids(store, state="active") == newest_first[2:]
    assert await ids(store, state="expired") == [expired.key_id]
    assert await ids(store, state="revoked") == [revoked.key_id]


async def test_a_key_is_revoked_once(store: ApiKeyStore) -> None:
    key = await add(store)
    first = await store.revoke("acme", key.key_id, NOW + 1)
    assert first == msgspec.structs.replace(key, revoked_at_ms=NOW + 1)
    assert await store.revoke("acme", key.key_id, NOW + 2) == first
    assert await store.find(key.digest) == first
    assert await store.revoke("acme", "unknown", NOW) is None


async def test_use_is_noted_now_and_then(store: ApiKeyStore) -> None:
    key = await add(store)
    await store.note_use(key.key_id, NOW + 10, NOW)
    await store.note_use(key.key_id, NOW + 20, NOW + 10)
    noted = await store.get("acme", key.key_id)
    assert noted is not None
    assert noted.last_used_at_ms == NOW + 10
    await store.note_use(key.key_id, NOW + 30, NOW + 11)
    noted = await store.get("acme", key.key_id)
    assert noted is not None
    assert noted.last_used_at_ms == NOW + 30


async def test_only_active_keys_of_the_user_count(store: ApiKeyStore) -> None:
    await add(store, organization_id="other")
    await add(store, user_id="bea")
    await add(store, expires_at_ms=NOW)
    revoked = await add(store)
    await store.revoke("acme", revoked.key_id, NOW)
    assert await store.create(a_key(), 2, NEVER)
    assert await store.create(a_key(), 2, NEVER)
    assert not await store.create(a_key(), 2, NEVER)
    assert len(await ids(store, state="active", user_id="ada")) == 2


async def test_many_at_once_do_not_pass_the_limit(store: ApiKeyStore) -> None:
    made = await asyncio.gather(*(store.create(a_key(), 3, NEVER) for _ in range(12)))
    assert sum(made) == 3


async def test_keys_that_ended_long_ago_are_deleted(store: ApiKeyStore) -> None:
    expired = await add(store, expires_at_ms=NOW - 10)
    revoked = await add(store)
    await store.revoke("acme", revoked.key_id, NOW - 10)
    lately = await add(store, expires_at_ms=NOW - 5)
    others = await add(store, user_id="bea", expires_at_ms=NOW - 10)
    key = a_key()
    await store.create(key, 1_000, NOW - 5)
    assert await ids(store) == [each.key_id for each in (key, others, lately)]
    assert await store.find(expired.digest) is None
