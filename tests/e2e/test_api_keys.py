"""API keys and browsers' sessions on a platform that runs: over REST, gRPC and straight at services."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.e2e.agents_and_runs import create_agent, execute
from tests.e2e.api_keys import COOKIE, create_api_key, sign_in
from tests.e2e.error_shape import assert_is_error
from tests.e2e.rpc import METHODS, TIMEOUT_SECONDS, assert_refused, call, channel_to, refusal
from tests.platforms import (
    COMMAND,
    Answer,
    Client,
    RunningPlatform,
    command_environment,
    running_platform,
    until,
)

LIST_AGENTS = METHODS["AgentService/ListAgents"]
LIST_TOOLS = METHODS["ToolService/ListTools"]
EXCHANGE = METHODS["TokenService/ExchangeApiKey"]
GET_CALLER = METHODS["TokenService/GetCaller"]
CREATE_SESSION = METHODS["TokenService/CreateSession"]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform that logs all it can, so that a secret in a log would be found."""
    access_log = tmp_path_factory.mktemp("logs") / "access.log"
    with running_platform(
        GATEWAY_ACCESS_LOG=str(access_log),
        EXECUTOR_LOG_LEVEL="debug",
        TOOL_RUNNER_LOG_LEVEL="debug",
    ) as running:
        yield running
        assert access_log.stat().st_size
        for text in (access_log.read_text(), running.log):
            assert "aek_" not in text
            assert "aes_" not in text
            assert COOKIE not in text


def own_origin(platform: RunningPlatform) -> str:
    return f"http://127.0.0.1:{platform.http_port}"


class TestKeys:
    def test_a_key_is_a_caller_like_any(self, platform: RunningPlatform, organization: str) -> None:
        maker = platform.client(platform.token(organization, user="ada"))
        key = create_api_key(maker, permissions=["agent:*", "run:execute", "tool:calculator"])
        program = platform.client(key.secret)
        caller = program.get("/api/v1/caller").body
        assert caller == {
            "organization_id": organization,
            "user_id": "ada",
            "permissions": ["agent:*", "run:execute", "tool:calculator"],
            "api_key_id": key.key_id,
        }
        run = execute(program, create_agent(program))
        assert (run["state"], run["output"]["tool_results"][0]["success"]) == ("completed", True)
        assert_is_error(program.get("/api/v1/usage"), 403, "PERMISSION_DENIED")
        assert program.get("/api/v1/agents").body["agents"][0]["name"] == "Math Assistant"

    def test_it_is_shown_once(self, client: Client) -> None:
        key = create_api_key(client, name="Ada's", ttl_seconds=600)
        assert key.shown["hint"] == key.secret[:8]
        path = f"/api/v1/api-keys/{key.key_id}"
        for content in (
            client.get(path).content,
            client.get("/api/v1/api-keys").content,
            client.delete(path).content,
        ):
            assert key.secret[8:].encode() not in content
            assert b"Ada's" in content

    def test_it_opens_native_calls_and_services_themselves(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        key = create_api_key(client, permissions=["tool:read"])
        with channel_to(platform) as gateway:
            (caller,) = call(gateway, GET_CALLER, GET_CALLER.request(), key.secret)
            assert caller.api_key_id == key.key_id
        with channel_to(platform, "executor") as executor:
            (exchanged,) = call(executor, EXCHANGE, EXCHANGE.request(api_key=key.secret))
            assert (exchanged.token_type, exchanged.expires_in_seconds > 0) == ("Bearer", True)
        with channel_to(platform, "tool-runner") as tool_runner:
            # A service knows tokens only.
            refused = refusal(tool_runner, LIST_TOOLS, LIST_TOOLS.request(), key.secret)
            assert_refused(refused, "UNAUTHENTICATED", "UNAUTHENTICATED")
            assert call(tool_runner, LIST_TOOLS, LIST_TOOLS.request(), exchanged.access_token)

    def test_rest_gives_the_token_too(self, platform: RunningPlatform, client: Client) -> None:
        key = create_api_key(client)
        answer = platform.client("").post("/api/v1/token", {"api_key": key.secret})
        assert answer.headers["cache-control"] == "no-store"
        token = answer.body["access_token"]
        assert platform.client(token).get("/api/v1/caller").body["api_key_id"] == key.key_id

    def test_one_that_is_revoked_opens_nothing(
        self, platform: RunningPlatform, client: Client, organization: str
    ) -> None:
        key = create_api_key(client)
        program = platform.client(key.secret)
        assert program.get("/api/v1/agents").status == 200
        assert client.delete(f"/api/v1/api-keys/{key.key_id}").body["state"] == "revoked"
        assert_is_error(program.get("/api/v1/agents"), 401, "UNAUTHENTICATED")
        open_to_all = platform.client("").post("/api/v1/token", {"api_key": key.secret})
        assert_is_error(open_to_all, 401, "UNAUTHENTICATED")
        with channel_to(platform) as gateway:
            refused = refusal(gateway, LIST_AGENTS, LIST_AGENTS.request(), key.secret)
            assert refused.code == "UNAUTHENTICATED"
        with channel_to(platform, "executor") as executor:
            refused = refusal(executor, EXCHANGE, EXCHANGE.request(api_key=key.secret))
            assert_refused(refused, "UNAUTHENTICATED", "UNAUTHENTICATED")

    def test_one_whose_time_is_over_opens_nothing(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        key = create_api_key(client, ttl_seconds=1)
        program = platform.client(key.secret)
        until(lambda: program.get("/api/v1/caller").status == 401)
        answer = program.get("/api/v1/caller")
        assert_is_error(answer, 401, "UNAUTHENTICATED")
        assert answer.body["error"] == "The API key has expired."
        assert client.get(f"/api/v1/api-keys/{key.key_id}").body["state"] == "expired"

    def test_a_key_that_there_is_not_opens_nothing(self, platform: RunningPlatform) -> None:
        for wrong in ("aek_", "aek_wrong", "aek_" + "7" * 48, "aek_" + "x" * 5_000):
            answer = platform.client(wrong).get("/api/v1/agents")
            assert_is_error(answer, 401, "UNAUTHENTICATED")

    def test_a_key_gives_no_more_than_it_holds(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        key = create_api_key(client, permissions=["api_key:write", "tool:calculator"])
        program = platform.client(key.secret)
        assert create_api_key(program, permissions=["tool:calculator"], ttl_seconds=60).secret
        for permission in ("tool:*", "*", "run:execute"):
            body = {"name": "more", "permissions": [permission]}
            answer = program.post("/api/v1/api-keys", body)
            assert_is_error(answer, 403, "PERMISSION_DENIED")
        longer = program.post("/api/v1/api-keys", {"name": "longer", "ttl_seconds": 31_536_000})
        assert_is_error(longer, 403, "PERMISSION_DENIED")

    def test_lists_have_pages(self, client: Client) -> None:
        made = [create_api_key(client).key_id for _ in range(3)]
        first = client.get("/api/v1/api-keys?page_size=2").body
        token = first["next_page_token"]
        second = client.get(f"/api/v1/api-keys?page_size=2&page_token={token}").body
        assert second["next_page_token"] == ""
        listed = [key["id"] for page in (first, second) for key in page["api_keys"]]
        assert sorted(listed) == sorted(made)


class TestSessions:
    @pytest.fixture
    def browse(self, platform: RunningPlatform, client: Client) -> Callable[..., Answer]:
        """Calls the gateway under the cookie of a session, with further headers."""
        cookie, nobody = sign_in(client), platform.client("")

        def browse(method: str, path: str, body: Any = None, **headers: str) -> Answer:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return nobody.call(method, path, body, headers={"cookie": cookie, **named})

        return browse

    def test_a_browser_reads_and_writes_from_its_own_origin(
        self, platform: RunningPlatform, browse: Callable[..., Answer], organization: str
    ) -> None:
        caller = browse("GET", "/api/v1/caller").body
        assert (caller["organization_id"], caller["user_id"]) == (organization, "admin")
        origin = own_origin(platform)
        agent = browse("POST", "/api/v1/agents", {"name": "Ada"}, origin=origin)
        assert agent.status == 200, agent.content
        assert browse("DELETE", f"/api/v1/agents/{agent.body['id']}", origin=origin).status == 200

    @pytest.mark.parametrize(
        ("method", "headers"),
        [
            ("POST", {}),
            ("POST", {"origin": "http://evil.example"}),
            ("POST", {"origin": "null"}),
            ("GET", {"origin": "http://evil.example"}),
            ("GET", {"sec_fetch_site": "cross-site"}),
            ("GET", {"upgrade": "websocket", "connection": "upgrade"}),
        ],
    )
    def test_another_site_can_do_nothing_in_its_name(
        self, browse: Callable[..., Answer], method: str, headers: dict[str, str]
    ) -> None:
        body = {"name": "Mallory"} if method == "POST" else None
        # An upgrade is refused to everyone.
        refusals = {400} if "upgrade" in headers else {401, 403}
        assert browse(method, "/api/v1/agents", body, **headers).status in refusals
        assert browse("GET", "/api/v1/agents").body["agents"] == []

    def test_native_calls_under_a_cookie_need_the_origin(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        cookie = sign_in(client)
        with channel_to(platform) as gateway:
            unary: Any = gateway.unary_unary(LIST_AGENTS.path)
            own = (("cookie", cookie), ("origin", own_origin(platform)))
            assert isinstance(unary(b"", metadata=own, timeout=TIMEOUT_SECONDS), bytes)
            for shown in (own[:1], (own[0], ("origin", "http://evil.example"))):
                with pytest.raises(grpc.RpcError) as caught:
                    unary(b"", metadata=shown, timeout=TIMEOUT_SECONDS)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED

    def test_the_cookie_is_kept_from_scripts_and_other_sites(self, client: Client) -> None:
        answer = client.post("/api/v1/session", {})
        attributes = set(answer.headers["set-cookie"].split("; ")[1:])
        assert attributes >= {"Path=/", "HttpOnly", "SameSite=Strict"}
        assert "Secure" not in attributes
        assert b"aes_" not in answer.content

    def test_signing_out_ends_it(
        self, platform: RunningPlatform, browse: Callable[..., Answer]
    ) -> None:
        answer = browse("DELETE", "/api/v1/session", origin=own_origin(platform))
        assert answer.status == 200
        assert answer.headers["set-cookie"].startswith(f"{COOKIE}=; Max-Age=0; ")
        assert_is_error(browse("GET", "/api/v1/caller"), 401, "UNAUTHENTICATED")
        # What is open to all is so still.
        assert browse("GET", "/openapi.json").status == 200

    def test_it_is_listed_and_revoked_like_a_key(
        self, client: Client, browse: Callable[..., Answer]
    ) -> None:
        (session,) = client.get("/api/v1/api-keys").body["api_keys"]
        assert (session["kind"], session["state"]) == ("session", "active")
        assert client.delete(f"/api/v1/api-keys/{session['id']}").status == 200
        assert_is_error(browse("GET", "/api/v1/caller"), 401, "UNAUTHENTICATED")

    def test_it_holds_no_longer_than_what_was_shown(
        self, platform: RunningPlatform, organization: str
    ) -> None:
        token = platform.token(organization, permissions=(), ttl_seconds=120)
        answer = platform.client(token).post("/api/v1/session", {})
        attributes = dict(
            pair.partition("=")[::2] for pair in answer.headers["set-cookie"].split("; ")
        )
        assert 100 < int(attributes["Max-Age"]) <= 120

    def test_a_header_wins_over_the_cookie(
        self, platform: RunningPlatform, client: Client, browse: Callable[..., Answer]
    ) -> None:
        key = create_api_key(client)
        for secret in (key.secret, platform.token(permissions=())):
            caller = browse("GET", "/api/v1/caller", authorization=f"Bearer {secret}").body
            assert caller["api_key_id"] in {key.key_id, ""}
        wrong = browse("GET", "/api/v1/caller", authorization="Bearer aek_wrong")
        assert_is_error(wrong, 401, "UNAUTHENTICATED")


def test_the_command_makes_lists_and_revokes(
    platform: RunningPlatform, organization: str, tmp_path: Path
) -> None:
    def keys(*arguments: str) -> str:
        where = ("--url", own_origin(platform), "--data-dir", str(platform.data_dir))
        done = subprocess.run(
            [*COMMAND, "keys", *arguments, *where, "--organization", organization],
            cwd=tmp_path,
            env=command_environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_SECONDS,
        )
        return done.stdout

    secret = keys("create", "deployment", "--permission", "agent:read", "--days", "7").strip()
    program = platform.client(secret)
    assert program.get("/api/v1/agents").status == 200
    (listed,) = json.loads(keys("list", "--json"))
    assert (listed["name"], listed["permissions"]) == ("deployment", ["agent:read"])
    assert "revoked" in keys("revoke", listed["id"])
    assert_is_error(program.get("/api/v1/agents"), 401, "UNAUTHENTICATED")
    assert listed["hint"] in keys("list")
