"""What a key is exchanged for, and how soon one that was revoked is dead."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import time_machine
from pydantic import SecretStr

from agent_executor.errors import LimitExceededError, UnauthenticatedError, UnavailableError
from agent_executor.executor.api_keys.api_key import KEY, SESSION, ApiKey
from agent_executor.executor.api_keys.api_keys import KeyRequest, NewKey
from agent_executor.executor.api_keys.exchange import REUSED_SECONDS, TOKEN_SECONDS, KeyExchange
from agent_executor.executor.api_keys.secret import new_secret
from agent_executor.executor.api_keys.wrong_keys import SECONDS_PER_WRONG_KEY, WRONG_KEYS_MAX
from agent_executor.serving.authentication import API_KEY_CLOCK_SKEW_SECONDS, TokenVerifier
from tests.unit.executor.api_keys.key_world import KeyWorld, caller, now_ms

DEAD_AFTER_SECONDS = 30
START = 1_800_000_000.25


@pytest.fixture
def world(tmp_path: Path) -> KeyWorld:
    return KeyWorld(tmp_path)


async def made(world: KeyWorld, ttl_seconds: int = 0) -> NewKey:
    return await world.api_keys.create(KeyRequest(name="key", ttl_seconds=ttl_seconds), caller("*"))


async def holds(service: TokenVerifier, token: str) -> bool:
    try:
        await service.verify(f"Bearer {token}")
    except UnauthenticatedError:
        return False
    return True


async def test_the_token_says_what_the_key_says(world: KeyWorld) -> None:
    request = KeyRequest(name="key", permissions=("tool:*", "run:execute"), user_id="bea")
    new = await world.api_keys.create(request, caller("*"))
    token = await world.exchange.exchange(new.secret, KEY, "a")
    security = await world.service.verify(f"Bearer {token.token}")
    assert security == caller("run:execute", "tool:*", user="bea")
    assert security.api_key_id == new.key.key_id
    assert security.expires_at == token.expires_at
    assert 0 < token.expires_at - time.time() <= TOKEN_SECONDS


async def test_a_key_is_looked_up_now_and_then(world: KeyWorld) -> None:
    with time_machine.travel(START, tick=False) as traveller:
        new = await made(world)
        first = await world.exchange.exchange(new.secret, KEY, "a")
        traveller.shift(REUSED_SECONDS - 0.01)
        assert await world.exchange.exchange(new.secret, KEY, "a") == first
        assert world.store.looked_up == 1
        traveller.shift(0.02)
        assert await world.exchange.exchange(new.secret, KEY, "a") != first
        assert world.store.looked_up == 2


async def test_a_key_holds_where_its_use_cannot_be_noted(
    world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot(key_id: str, now_ms: int, unless_since_ms: int) -> None:
        raise UnavailableError("The database cannot be written at the moment.")

    monkeypatch.setattr(world.store, "note_use", cannot)
    new = await made(world)
    assert await holds(world.service, (await world.exchange.exchange(new.secret, KEY, "a")).token)


@pytest.mark.parametrize("slow_seconds", [0, API_KEY_CLOCK_SKEW_SECONDS])
@pytest.mark.parametrize("revoked_after", [0.0, REUSED_SECONDS - 0.01])
async def test_a_revoked_key_is_dead_in_time_on_every_replica(
    world: KeyWorld, revoked_after: float, slow_seconds: float
) -> None:
    """The other executor goes on with what it knows; the worst moments, and a service's slow clock."""
    other, _ = world.executor()
    with time_machine.travel(START, tick=False) as traveller:
        new = await made(world)
        token = await other.exchange(new.secret, KEY, "a")
        traveller.shift(revoked_after)
        await world.api_keys.revoke(new.key.key_id, caller("*"))
        revoked_at = time.time()
        with pytest.raises(UnauthenticatedError, match="revoked"):
            await world.exchange.exchange(new.secret, KEY, "a")
        # Whoever holds the key asks all the time for the newest token there is.
        last_accepted = revoked_at
        for _ in range(DEAD_AFTER_SECONDS * 4):
            try:
                token = await other.exchange(new.secret, KEY, "a")
            except UnauthenticatedError:
                assert time.time() - revoked_at <= REUSED_SECONDS
                break
            traveller.shift(0.25)
        for _ in range(DEAD_AFTER_SECONDS * 4):
            now = time.time()
            traveller.move_to(now - slow_seconds)
            if await holds(world.new_service(), token.token):
                last_accepted = now
            traveller.move_to(now + 0.25)
        assert last_accepted - revoked_at < DEAD_AFTER_SECONDS - 4
        assert not await holds(world.service, token.token)


async def test_what_a_service_remembers_of_a_token_ends_with_it(world: KeyWorld) -> None:
    with time_machine.travel(START, tick=False) as traveller:
        token = await world.exchange.exchange((await made(world)).secret, KEY, "a")
        assert await holds(world.service, token.token)
        traveller.move_to(token.expires_at + API_KEY_CLOCK_SKEW_SECONDS - 0.1)
        assert await holds(world.service, token.token)
        traveller.shift(0.2)
        assert not await holds(world.service, token.token)


async def test_a_token_from_the_future_is_not_taken(world: KeyWorld) -> None:
    with time_machine.travel(START, tick=False) as traveller:
        token = await world.exchange.exchange((await made(world)).secret, KEY, "a")
        traveller.move_to(START - API_KEY_CLOCK_SKEW_SECONDS - 1)
        assert not await holds(world.service, token.token)


async def test_a_key_ends_when_it_said(world: KeyWorld) -> None:
    with time_machine.travel(START, tick=False) as traveller:
        new = await made(world, ttl_seconds=3)
        token = await world.exchange.exchange(new.secret, KEY, "a")
        assert token.expires_at <= new.key.expires_at_ms / 1000
        traveller.shift(3)
        with pytest.raises(UnauthenticatedError, match="has expired"):
            await world.exchange.exchange(new.secret, KEY, "a")


async def test_a_key_revoked_while_it_is_looked_up_is_not_remembered(tmp_path: Path) -> None:
    world = KeyWorld(tmp_path)
    new = await made(world)

    class RevokedMeanwhile(type(world.store)):  # type: ignore[misc]  # made in the test
        async def find(self, digest: bytes) -> ApiKey | None:
            found: ApiKey | None = await world.store.find(digest)
            await world.store.revoke("acme", new.key.key_id, now_ms())
            exchange.forget(new.key)
            return found

    store = RevokedMeanwhile()
    exchange = KeyExchange(store, world.exchange._signer, now_ms)
    await exchange.exchange(new.secret, KEY, "a")
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await exchange.exchange(new.secret, KEY, "a")


async def test_a_session_is_no_key_and_a_key_is_no_session(world: KeyWorld) -> None:
    key, session = await made(world), await world.api_keys.begin_session(caller("*"))
    await world.exchange.exchange(session.secret, SESSION, "a")
    with pytest.raises(UnauthenticatedError):
        await world.exchange.exchange(session.secret, KEY, "a")
    with pytest.raises(UnauthenticatedError):
        await world.exchange.exchange(key.secret, SESSION, "a")
    # Nor is one that only looks like the other.
    disguised = SecretStr(key.secret.get_secret_value().replace("aek_", "aes_"))
    with pytest.raises(UnauthenticatedError):
        await world.exchange.exchange(disguised, SESSION, "a")


@pytest.mark.parametrize("text", ["", "aek_", "aek_short", "aek_" + "0" * 48, "x" * 256, "aek_é"])
async def test_what_has_not_the_form_of_a_key_is_not_looked_up(world: KeyWorld, text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await world.exchange.exchange(SecretStr(text), KEY, "a")
    assert world.store.looked_up == 0


async def test_without_a_signing_key_keys_are_not_accepted(world: KeyWorld) -> None:
    exchange = KeyExchange(world.store, None, now_ms)
    with pytest.raises(UnavailableError, match="EXECUTOR_TOKEN_KEY_FILE"):
        await exchange.exchange((await made(world)).secret, KEY, "a")


async def test_use_is_noted(world: KeyWorld) -> None:
    with time_machine.travel(START, tick=False) as traveller:
        new = await made(world)
        await world.exchange.exchange(new.secret, KEY, "a")
        used_at_ms = now_ms()
        traveller.shift(200)
        await world.exchange.exchange(new.secret, KEY, "a")
        assert (await world.api_keys.get(new.key.key_id, caller("*"))).last_used_at_ms == used_at_ms
        traveller.shift(200)
        await world.exchange.exchange(new.secret, KEY, "a")
        assert (await world.api_keys.get(new.key.key_id, caller("*"))).last_used_at_ms == now_ms()


class TestWrongKeys:
    async def wrong(self, world: KeyWorld, client: str, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(UnauthenticatedError):
                await world.exchange.exchange(new_secret(KEY), KEY, client)

    async def test_too_many_are_refused_for_a_while(self, world: KeyWorld) -> None:
        with time_machine.travel(START, tick=False) as traveller:
            await self.wrong(world, "192.0.2.1", WRONG_KEYS_MAX)
            looked_up = world.store.looked_up
            with pytest.raises(LimitExceededError) as caught:
                await world.exchange.exchange(new_secret(KEY), KEY, "192.0.2.1")
            assert world.store.looked_up == looked_up
            retry_after = caught.value.retry_after_seconds
            assert retry_after == SECONDS_PER_WRONG_KEY
            traveller.shift(retry_after)
            await self.wrong(world, "192.0.2.1")

    async def test_nobody_else_is_locked_out(self, world: KeyWorld) -> None:
        with time_machine.travel(START, tick=False) as traveller:
            known, fresh = await made(world), await made(world)
            await world.exchange.exchange(known.secret, KEY, "192.0.2.1")
            traveller.shift(REUSED_SECONDS)
            await self.wrong(world, "192.0.2.1", WRONG_KEYS_MAX)
            # From the same address whoever was let in before, from another one everybody.
            await world.exchange.exchange(known.secret, KEY, "192.0.2.1")
            await world.exchange.exchange(fresh.secret, KEY, "192.0.2.2")

    async def test_one_that_is_shown_again_counts_once(self, world: KeyWorld) -> None:
        revoked = await made(world)
        await world.api_keys.revoke(revoked.key.key_id, caller("*"))
        for _ in range(2 * WRONG_KEYS_MAX):
            with pytest.raises(UnauthenticatedError, match="revoked"):
                await world.exchange.exchange(revoked.secret, KEY, "192.0.2.1")
        assert world.store.looked_up == 1
        await world.exchange.exchange((await made(world)).secret, KEY, "192.0.2.1")

    async def test_addresses_of_one_network_are_one_client(self, world: KeyWorld) -> None:
        with time_machine.travel(START, tick=False):
            for number in range(WRONG_KEYS_MAX):
                await self.wrong(world, f"2001:db8::{number:x}")
            with pytest.raises(LimitExceededError):
                await self.wrong(world, "2001:db8::ffff")
            await self.wrong(world, "2001:db8:0:1::1")
