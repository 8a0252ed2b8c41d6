"""What every store of credentials must do, on every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_executor.tool_runner.credentials.store import (
    CredentialStore,
    StoredCredential,
)
from agent_executor.tool_runner.credentials.store_memory import MemoryCredentialStore
from agent_executor.tool_runner.credentials.store_sql import SqlCredentialStore
from tests.contract.tool_runner.statement_runners import DATABASES, statement_runner


@pytest.fixture(params=["memory", *DATABASES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CredentialStore]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryCredentialStore()
        return
    async with statement_runner(request, tmp_path) as runner:
        yield SqlCredentialStore(runner)


def new_credential(name: str = "api", **changes: Any) -> StoredCredential:
    """Returns a credential that uses every kind of field."""
    fields: dict[str, Any] = {
        "name": name,
        "ciphertext": b"\x00\xff\x80",
        "header_name": "x-api-key",
        "header_prefix": "Key ",
        "allowed_origins": ("https://a.example", "https://b.example:8443"),
        "tools": ("http_request",),
        "updated_at_ms": 1_700_000_000_123,
    }
    return StoredCredential(**fields | changes)


async def put(
    store: CredentialStore, credential: StoredCredential, credentials_max: int = 10
) -> bool:
    """Stores a credential of the organization."""
    return await store.put("acme", credential, credentials_max=credentials_max)


async def test_a_credential_is_read_as_it_was_stored(store: CredentialStore) -> None:
    assert await store.find("acme", "api") is None
    credential = new_credential()
    assert await put(store, credential)
    assert await store.find("acme", "api") == credential


async def test_it_is_replaced_whole(store: CredentialStore) -> None:
    await put(store, new_credential())
    replaced = new_credential(
        ciphertext=b"\x01",
        header_name="authorization",
        header_prefix="",
        allowed_origins=(),
        tools=(),
        updated_at_ms=2,
    )
    await put(store, replaced)
    assert await store.find("acme", "api") == replaced
    assert await store.list_credentials("acme", 10) == [replaced]


async def test_they_are_listed_by_name_in_pages(store: CredentialStore) -> None:
    names = ["-", "1", "_", "a", "a-b", "a1", "a_b", "aa"]
    for name in reversed(names):
        await put(store, new_credential(name))
    assert await store.list_credentials("acme", 10) == [new_credential(name) for name in names]
    page = await store.list_credentials("acme", 2, after="a-b")
    assert [each.name for each in page] == ["a1", "a_b"]


async def test_a_deleted_one_is_gone(store: CredentialStore) -> None:
    await put(store, new_credential())
    assert await store.delete("acme", "api")
    assert not await store.delete("acme", "api")
    assert await store.find("acme", "api") is None
    assert await store.list_credentials("acme", 10) == []


async def test_organizations_are_apart(store: CredentialStore) -> None:
    await put(store, new_credential(), credentials_max=1)
    assert await store.find("other", "api") is None
    assert await store.list_credentials("other", 10) == []
    assert not await store.delete("other", "api")
    theirs = new_credential(ciphertext=b"theirs")
    assert await store.put("other", theirs, credentials_max=1)
    assert await store.find("acme", "api") == new_credential()
    assert await store.find("other", "api") == theirs


async def test_a_full_list_takes_only_what_it_has(store: CredentialStore) -> None:
    assert await put(store, new_credential(), credentials_max=1)
    assert not await put(store, new_credential("other"), credentials_max=1)
    assert await store.find("acme", "other") is None
    assert await put(store, new_credential(updated_at_ms=5), credentials_max=1)
    assert await store.find("acme", "api") == new_credential(updated_at_ms=5)
