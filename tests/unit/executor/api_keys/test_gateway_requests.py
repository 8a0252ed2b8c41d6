"""Which requests the gateway lets in under a key, and which under a browser's session."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_executor.errors import UnauthenticatedError
from agent_executor.executor.api_keys.api_keys import KeyRequest
from agent_executor.executor.api_keys.browser_session import (
    ShownRequest,
    session_cookie,
    why_not_of_origin,
)
from agent_executor.executor.api_keys.gateway_requests import GatewayRequests
from tests.unit.executor.api_keys.key_world import KeyWorld, caller

HOST = "platform.example:8080"
OWN = "http://platform.example:8080"


def request(method: str = "GET", host: str = HOST, **headers: str) -> ShownRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ShownRequest(method=method, host=host, headers=named)


ADMITTED = {
    "reading without an origin": request(),
    "reading by the address bar": request(sec_fetch_site="none"),
    "reading from the same origin": request(origin=OWN, sec_fetch_site="same-origin"),
    "writing from the same origin": request("POST", origin=OWN),
    "writing from one that is listed": request("POST", origin="https://console.example"),
    "TLS that ended before the gateway": request(
        "POST", host="platform.example", origin="https://platform.example"
    ),
    "a default port that is written": request(
        "POST", host="platform.example:443", origin="https://platform.example"
    ),
    "a host in other letters": request("POST", host="Platform.Example:8080", origin=OWN),
    "an address of IPv6": request("DELETE", host="[::1]:8080", origin="http://[::1]:8080"),
    "a WebSocket of the same origin": request(upgrade="websocket", origin=OWN),
}
REFUSED = {
    "writing without an origin": request("POST"),
    "deleting without an origin": request("DELETE"),
    "a method that nobody knows": request("PROPFIND"),
    "another host": request("POST", origin="http://evil.example:8080"),
    "another port": request("POST", origin="http://platform.example:8081"),
    "a host that begins so": request("POST", origin="http://platform.example.evil:8080"),
    "a user part": request("POST", origin="http://platform.example:8080@evil.example"),
    "an opaque origin": request("POST", origin="null"),
    "an empty origin": request("POST", origin=""),
    "no URL": request("POST", origin="http://[::1"),
    "a port that is none": request("POST", origin="http://platform.example:x"),
    "another scheme": request("POST", origin="file://platform.example:8080"),
    "reading from another origin": request(origin="http://evil.example"),
    "reading from another site": request(sec_fetch_site="cross-site"),
    "writing from another site": request("POST", origin=OWN, sec_fetch_site="cross-site"),
    "a WebSocket without an origin": request(upgrade="websocket"),
    "a WebSocket of another origin": request(upgrade="websocket", origin="http://evil.example"),
    "gRPC without an origin": request("GET", content_type="application/grpc-web+proto"),
}
LISTED = ("https://console.example",)


@pytest.mark.parametrize("case", ADMITTED)
def test_of_the_same_origin(case: str) -> None:
    assert why_not_of_origin(ADMITTED[case], LISTED) == ""


@pytest.mark.parametrize("case", REFUSED)
def test_of_another_origin(case: str) -> None:
    assert why_not_of_origin(REFUSED[case], LISTED)


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites() -> None:
    cookie = session_cookie("aes_x", 60, is_secure=False)
    assert cookie == ("agent_executor_session=aes_x; Max-Age=60; Path=/; HttpOnly; SameSite=Strict")
    assert session_cookie("aes_x", 60, is_secure=True) == f"{cookie}; Secure"


class TestRequests:
    @pytest.fixture
    def world(self, tmp_path: Path) -> KeyWorld:
        return KeyWorld(tmp_path)

    async def user_of(self, world: KeyWorld, shown: ShownRequest) -> str:
        gateway = GatewayRequests(world.exchange, LISTED)
        token = await gateway.token_for(shown, "192.0.2.1")
        return (await world.service.verify(f"Bearer {token}")).user_id

    async def test_the_header_wins_over_the_cookie(self, world: KeyWorld) -> None:
        key = await world.api_keys.create(KeyRequest(name="key"), caller("*", user="program"))
        session = await world.api_keys.begin_session(caller("*", user="person"))
        cookie = f"a=b; agent_executor_session={session.secret.get_secret_value()}; c=d"
        for scheme in ("Bearer", "bearer"):
            header = f"{scheme} {key.secret.get_secret_value()}"
            # No origin is needed: no browser sends the header by itself.
            both = request("POST", authorization=header, cookie=cookie)
            assert await self.user_of(world, both) == "program"
        assert await self.user_of(world, request(cookie=cookie)) == "person"
        for header in ("Bearer aek_wrong", "session", ""):
            with pytest.raises(UnauthenticatedError):
                await self.user_of(world, request(authorization=header, cookie=cookie))

    @pytest.mark.parametrize("scheme", ["Basic ", "", "Bearer", "Bearer  x "])
    async def test_only_bearer_headers_count(self, world: KeyWorld, scheme: str) -> None:
        key = await world.api_keys.create(KeyRequest(name="key"), caller("*"))
        header = scheme + key.secret.get_secret_value()
        with pytest.raises(UnauthenticatedError):
            await self.user_of(world, request(authorization=header))

    async def test_a_session_is_in_one_cookie(self, world: KeyWorld) -> None:
        session = await world.api_keys.begin_session(caller("*"))
        cookie = f"agent_executor_session={session.secret.get_secret_value()}"
        for shown in (f"{cookie}; {cookie}", f"{cookie}; agent_executor_session=", "a=b", ""):
            with pytest.raises(UnauthenticatedError):
                await self.user_of(world, request(cookie=shown))

    async def test_a_key_in_the_cookie_and_a_session_in_the_header_open_nothing(
        self, world: KeyWorld
    ) -> None:
        key = await world.api_keys.create(KeyRequest(name="key"), caller("*"))
        session = await world.api_keys.begin_session(caller("*"))
        cookie = f"agent_executor_session={key.secret.get_secret_value()}"
        header = f"Bearer {session.secret.get_secret_value()}"
        for shown in (request(cookie=cookie), request(authorization=header)):
            with pytest.raises(UnauthenticatedError):
                await self.user_of(world, shown)
