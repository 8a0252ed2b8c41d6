from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from agent_executor.errors import (
    CredentialNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.storage.encryption import KEY_BYTES, Encryption
from agent_executor.tool_runner.credentials import credentials as credentials_module
from agent_executor.tool_runner.credentials.credential import Credential, CredentialVault
from agent_executor.tool_runner.credentials.credentials import Credentials
from agent_executor.tool_runner.credentials.secret import Secret
from agent_executor.tool_runner.credentials.store import StoredCredential
from agent_executor.tool_runner.credentials.store_memory import MemoryCredentialStore
from agent_executor.tool_runner.paging import encode_page_token

ADMIN = SecurityContext("acme", "ada", frozenset({"credential:admin"}))
STRANGER = SecurityContext("other", "eve", frozenset({"*"}))
VALUE = "sk-very-secret"


class World:
    """The credentials of a tool-runner."""

    def __init__(self) -> None:
        self.store = MemoryCredentialStore()
        self.credentials = self.with_key(bytes(KEY_BYTES))

    def with_key(self, key: bytes) -> Credentials:
        return Credentials(self.store, Encryption(key), lambda: 1_000)

    async def put(self, security: SecurityContext = ADMIN, **changes: Any) -> StoredCredential:
        fields: dict[str, Any] = {"name": "api", "secret": Secret(VALUE)}
        return await self.credentials.put(security=security, **fields | changes)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_credential_is_opened_as_it_was_stored(world: World) -> None:
    await world.put(
        header_name="X-Api-Key",
        header_prefix="",
        allowed_origins=["https://B.example:443", "https://a.example:8443"],
        tools=["weather", "http_request"],
    )
    vault: CredentialVault = world.credentials
    assert await vault.open("acme", "api") == Credential(
        name="api",
        secret=Secret(VALUE),
        header_name="x-api-key",
        header_prefix="",
        allowed_origins=frozenset({"https://b.example", "https://a.example:8443"}),
        tools=frozenset({"weather", "http_request"}),
    )


async def test_defaults_are_a_bearer_token_that_goes_nowhere(world: World) -> None:
    stored = await world.put()
    assert (stored.header_name, stored.header_prefix) == ("authorization", "Bearer ")
    assert (stored.allowed_origins, stored.tools, stored.updated_at_ms) == ((), (), 1_000)


async def test_it_is_replaced_whole_and_at_once(world: World) -> None:
    await world.put(tools=["weather"])
    await world.put(secret=Secret("another"))
    opened = await world.credentials.open("acme", "api")
    assert (opened.secret.reveal(), opened.tools) == ("another", frozenset())


async def test_the_secret_is_nowhere_but_in_the_opened_one(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stored = await world.put()
    page = await world.credentials.list_credentials(ADMIN)
    opened = await world.credentials.open("acme", "api")
    assert VALUE.encode() not in stored.ciphertext
    for shown in (repr(stored), repr(page), repr(opened), str(opened.secret), caplog.text):
        assert VALUE not in shown
    with pytest.raises(InvalidArgumentError) as caught:
        await world.put(secret=Secret(VALUE + "\n"))
    assert VALUE not in repr(caught.value)
    assert VALUE not in str(caught.value.field_violations)


@pytest.mark.parametrize(
    "changes",
    [
        {"header_name": "x-other"},
        {"header_prefix": "Token "},
        {"allowed_origins": ("https://evil.example",)},
        {"allowed_origins": ()},
        {"tools": ("evil",)},
    ],
    ids=str,
)
async def test_a_changed_row_opens_nothing(world: World, changes: dict[str, Any]) -> None:
    stored = await world.put(allowed_origins=["https://a.example"], tools=["weather"])
    changed = msgspec.structs.replace(stored, **changes)
    await world.store.put("acme", changed, credentials_max=9)
    with pytest.raises(FailedPreconditionError) as caught:
        await world.credentials.open("acme", "api")
    assert VALUE not in str(caught.value)


async def test_a_moved_row_opens_nothing(world: World) -> None:
    stored = await world.put()
    await world.store.put("other", stored, credentials_max=9)
    renamed = msgspec.structs.replace(stored, name="renamed")
    await world.store.put("acme", renamed, credentials_max=9)
    for organization_id, name in (("other", "api"), ("acme", "renamed")):
        with pytest.raises(FailedPreconditionError):
            await world.credentials.open(organization_id, name)


async def test_another_key_opens_nothing(world: World) -> None:
    await world.put()
    with pytest.raises(FailedPreconditionError, match="store it again"):
        await world.with_key(b"x" * KEY_BYTES).open("acme", "api")


async def test_organizations_never_meet(world: World) -> None:
    await world.put()
    with pytest.raises(CredentialNotFoundError) as theirs:
        await world.credentials.open("other", "api")
    with pytest.raises(CredentialNotFoundError) as unknown:
        await world.credentials.open("nobody", "api")
    assert theirs.value.message == unknown.value.message
    with pytest.raises(CredentialNotFoundError):
        await world.credentials.delete("api", STRANGER)
    assert (await world.credentials.list_credentials(STRANGER)).entries == []
    assert (await world.credentials.open("acme", "api")).secret.reveal() == VALUE


async def test_a_deleted_one_is_gone_at_once(world: World) -> None:
    await world.put()
    await world.credentials.delete("api", ADMIN)
    with pytest.raises(CredentialNotFoundError):
        await world.credentials.open("acme", "api")
    for name in ("api", "", "a\0b", "Ü"):
        with pytest.raises(CredentialNotFoundError):
            await world.credentials.delete(name, ADMIN)
        with pytest.raises(CredentialNotFoundError):
            await world.credentials.open("acme", name)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "Api"},
        {"name": "x" * 65},
        {"name": "api\n"},
        {"secret": Secret("")},
        {"secret": Secret("x" * 16_385)},
        {"secret": Secret("a\r\nx-admin: yes")},
        {"secret": Secret("a\0")},
        {"secret": Secret("\ud800")},
        {"header_name": "x api"},
        {"header_name": "x-api\n"},
        {"header_name": "x_api"},
        {"header_name": "Host"},
        {"header_name": "Content-Length"},
        {"header_name": "Transfer-Encoding"},
        {"header_name": "Connection"},
        {"header_name": "Proxy-Authorization"},
        {"header_name": "X-Forwarded-For"},
        {"header_name": "Metadata-Flavor"},
        {"header_prefix": "Bearer\n"},
        {"header_prefix": "x" * 65},
        {"allowed_origins": ["a.example"]},
        {"allowed_origins": ["https://a.example/path"]},
        {"allowed_origins": ["https://a.example"] * 33},
        {"tools": ["a b"]},
        {"tools": ["weather"] * 33},
    ],
    ids=str,
)
async def test_what_is_wrong_is_refused(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        await world.put(**changes)
    assert (await world.credentials.list_credentials(ADMIN)).entries == []


async def test_they_are_listed_in_pages(world: World) -> None:
    for number in range(5):
        await world.put(name=f"api_{number}")
    seen, token = [], ""
    while True:
        page = await world.credentials.list_credentials(ADMIN, page_size=2, page_token=token)
        seen += [each.name for each in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"api_{number}" for number in range(5)]
    for wrong in ("x", "\0", "AAAA", encode_page_token("Ä"), encode_page_token("x" * 65)):
        with pytest.raises(InvalidArgumentError, match="page_token"):
            await world.credentials.list_credentials(ADMIN, page_token=wrong)
    for size in (-1, 1_001):
        with pytest.raises(InvalidArgumentError, match="page_size"):
            await world.credentials.list_credentials(ADMIN, page_size=size)


async def test_their_number_is_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_module, "CREDENTIALS_MAX", 1)
    await world.put()
    await world.put()
    with pytest.raises(LimitExceededError):
        await world.put(name="another")


async def test_the_permission_is_needed(world: World) -> None:
    others = SecurityContext("acme", "ada", frozenset({"policy:admin", "tool:*"}))
    for refused in (
        world.put(others),
        world.credentials.list_credentials(others),
        world.credentials.delete("api", others),
    ):
        with pytest.raises(PermissionDeniedError, match="credential:admin"):
            await refused
