"""Who may make, see and revoke which keys."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from agent_executor.errors import (
    ApiKeyNotFoundError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from agent_executor.executor.api_keys.api_key import ACTIVE_KEYS_MAX
from agent_executor.executor.api_keys.api_keys import DEFAULT_TTL_SECONDS, KeyRequest, NewKey
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.api_keys.key_world import KeyWorld, caller, now_ms

WRITER = caller("api_key:write", "run:execute", "tool:calculator")
ADMIN = caller("*", user="root")
SLACK_MS = 60_000


@pytest.fixture
def world(tmp_path: Path) -> KeyWorld:
    return KeyWorld(tmp_path)


async def make(world: KeyWorld, security: SecurityContext, **fields: Any) -> NewKey:
    return await world.api_keys.create(KeyRequest(name="key", **fields), security)


def ends_in(new: NewKey, seconds: float) -> bool:
    return abs(new.key.expires_at_ms - now_ms() - seconds * 1000) < SLACK_MS


async def test_a_key_is_for_its_maker_and_may_what_he_may(world: KeyWorld) -> None:
    new = await make(world, WRITER)
    assert (new.key.user_id, new.key.created_by) == ("ada", "ada")
    assert new.key.permissions == ("api_key:write", "run:execute", "tool:calculator")
    assert ends_in(new, DEFAULT_TTL_SECONDS)


async def test_the_secret_is_nowhere(world: KeyWorld) -> None:
    new = await make(world, WRITER)
    secret = new.secret.get_secret_value()
    token = await world.exchange.exchange(new.secret, "key", "a")
    assert new.key.hint == secret[:8]
    for shown in (world.shown(), repr(new), str(new), f"{new.secret}", repr(token), str(token)):
        assert secret[8:] not in shown
        assert token.token not in shown


@pytest.mark.parametrize("permission", ["tool:*", "*", "run:read", "tool:email"])
async def test_nobody_gives_what_he_does_not_hold(world: KeyWorld, permission: str) -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        await make(world, WRITER, permissions=("run:execute", permission))
    assert caught.value.metadata == {"permission": permission}


@pytest.mark.parametrize(
    "fields",
    [
        {"permissions": (" ",)},
        {"permissions": tuple(f"tool:{number}" for number in range(257))},
        {"permissions": tuple(f"tool:{number:0120}" for number in range(100))},
        {"user_id": " "},
        {"user_id": "a\0b"},
        {"name": "a\0b"},
    ],
)
async def test_what_no_token_could_hold_is_refused(world: KeyWorld, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        await world.api_keys.create(KeyRequest(**{"name": "key", **fields}), ADMIN)


async def test_only_an_administrator_makes_keys_for_others(world: KeyWorld) -> None:
    with pytest.raises(PermissionDeniedError, match="api_key:admin"):
        await make(world, WRITER, user_id="bea")
    new = await make(world, ADMIN, user_id="bea")
    assert (new.key.user_id, new.key.created_by) == ("bea", "root")


async def test_a_key_does_not_outlive_its_makers_credential(world: KeyWorld) -> None:
    shortly = caller("api_key:write", expires_at=time.time() + 600)
    assert ends_in(await make(world, shortly), 600)
    assert ends_in(await make(world, shortly, ttl_seconds=300), 300)
    with pytest.raises(PermissionDeniedError, match="outlive"):
        await make(world, shortly, ttl_seconds=900)
    administrator = caller("*", expires_at=time.time() + 600)
    assert ends_in(await make(world, administrator, ttl_seconds=900), 900)


async def test_behind_a_key_it_is_the_keys_end_that_counts(world: KeyWorld) -> None:
    key = (await make(world, WRITER, ttl_seconds=1_000)).key
    behind = caller("api_key:write", api_key_id=key.key_id, expires_at=time.time() + 15)
    assert ends_in(await make(world, behind, ttl_seconds=900), 900)
    with pytest.raises(PermissionDeniedError, match="outlive"):
        await make(world, behind, ttl_seconds=1_100)
    session = await world.api_keys.begin_session(behind)
    assert session.key.expires_at_ms == key.expires_at_ms


async def test_a_key_that_was_just_revoked_makes_no_more(world: KeyWorld) -> None:
    key = (await make(world, WRITER)).key
    behind = caller("*", api_key_id=key.key_id, expires_at=time.time() + 15)
    await world.api_keys.revoke(key.key_id, ADMIN)
    with pytest.raises(UnauthenticatedError):
        await make(world, behind)
    with pytest.raises(UnauthenticatedError):
        await world.api_keys.begin_session(behind)


async def test_others_keys_are_not_there(world: KeyWorld) -> None:
    own, others = (await make(world, WRITER)).key, (await make(world, ADMIN)).key
    security = caller("api_key:read", "api_key:write")
    listed = await world.api_keys.list_keys(security, 10, before="", user_id="", state="")
    assert [key.key_id for key in listed] == [own.key_id]
    assert await world.api_keys.list_keys(security, 9, before="", user_id="root", state="") == []
    for use in (world.api_keys.get, world.api_keys.revoke):
        for key_id in (others.key_id, "unknown"):
            with pytest.raises(ApiKeyNotFoundError):
                await use(key_id, security)
    elsewhere = SecurityContext("other", "ada", frozenset({"*"}))
    with pytest.raises(ApiKeyNotFoundError):
        await world.api_keys.revoke(own.key_id, elsewhere)
    every = await world.api_keys.list_keys(ADMIN, 10, before="", user_id="", state="active")
    assert {key.key_id for key in every} == {own.key_id, others.key_id}


async def test_a_user_has_only_so_many(world: KeyWorld) -> None:
    for _ in range(ACTIVE_KEYS_MAX):
        await make(world, WRITER)
    with pytest.raises(LimitExceededError):
        await world.api_keys.begin_session(WRITER)


async def test_signing_out_ends_the_session_that_is_shown_and_no_key(world: KeyWorld) -> None:
    key = (await make(world, WRITER)).key
    session = (await world.api_keys.begin_session(WRITER)).key
    for shown in ("", key.key_id, session.key_id):
        await world.api_keys.end_session(caller("*", api_key_id=shown))
    assert (await world.api_keys.get(key.key_id, ADMIN)).state(now_ms()) == "active"
    assert (await world.api_keys.get(session.key_id, ADMIN)).state(now_ms()) == "revoked"
