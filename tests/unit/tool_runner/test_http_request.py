from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from agent_executor import HTTPRequestTool, ToolSandbox
from agent_executor.egress.exchange import REDIRECTS_MAX
from agent_executor.errors import (
    CredentialNotFoundError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
    ToolExecutionError,
)
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.tool_runner.builtin.http_request import BODY_BYTES_MAX
from agent_executor.tool_runner.calls.context import CallContext, current_call
from agent_executor.tool_runner.calls.dispatch import DEFAULT_RESULT_BYTES_MAX, Dispatcher
from agent_executor.tool_runner.credentials.credential import Credential
from agent_executor.tool_runner.credentials.secret import Secret
from agent_executor.tool_runner.policy.call_policy import Admitted
from agent_executor.tool_runner.registry import ToolRegistry
from tests.security.egress.world import Host, Tls, World, answer, redirect

HEADER_SECRET = "s3cr3t/with+odd=characters"


class Vault:
    """Credentials of one organization; it counts how often they were opened."""

    def __init__(self, *credentials: Credential) -> None:
        self._credentials = {credential.name: credential for credential in credentials}
        self.opened = 0

    async def open(self, organization_id: str, name: str) -> Credential:
        self.opened += 1
        if organization_id != "acme" or name not in self._credentials:
            raise CredentialNotFoundError("There is no such credential.")
        return self._credentials[name]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(Tls(tmp_path)) as world:
        world.name("a.test")
        world.name("b.test")
        yield world


@pytest.fixture
async def host(world: World) -> Host:
    return await world.host()


@pytest.fixture
def tool(world: World) -> HTTPRequestTool:
    return HTTPRequestTool(allowed_networks=(IPv4Network("127.0.0.1/32"),), client=world.client)


def context(tool_call_id: str = "call-1", **more: Any) -> CallContext:
    return CallContext(
        **{
            "organization_id": "acme",
            "tool_name": "http_request",
            "tool_call_id": tool_call_id,
            "allowed_domains": frozenset({"a.test", "b.test"}),
            **more,
        }
    )


def arguments(host: Host, path: str = "/", method: str = "GET", **more: Any) -> dict[str, Any]:
    return {"method": method, "url": f"http://a.test:{host.port}{path}", **more}


def credential(*hosts: Host, secret: str = HEADER_SECRET, **more: Any) -> Credential:
    origins = frozenset(f"http://a.test:{host.port}" for host in hosts)
    fields = {"allowed_origins": origins, "tools": frozenset({"http_request"}), **more}
    return Credential("github", Secret(secret), **fields)


async def test_a_response_is_told(tool: HTTPRequestTool, host: Host) -> None:
    host.default = answer(
        b'{"a": [1, "\xc3\xa9"]}', "404 Not Found", Content_Type="application/json"
    )
    result = await tool.perform(arguments(host, "/x"), context())
    note = result.pop("note")
    assert "not instructions" in note
    assert result == {
        "status_code": 404,
        "headers": {"content-type": "application/json"},
        "url": f"http://a.test:{host.port}/x",
        "redirects": [],
        "body": '{"a": [1, "é"]}',
        "json": {"a": [1, "é"]},
        "truncated": False,
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_all_methods_are_sent(tool: HTTPRequestTool, host: Host, method: str) -> None:
    result = await tool.perform(arguments(host, method=method), context())
    assert result["status_code"] == 200
    assert result["body"] == ("" if method == "HEAD" else "hello")
    assert host.received[0].line == f"{method} / HTTP/1.1"


@pytest.mark.parametrize(
    ("method", "effect"),
    [
        ("GET", "read_only"),
        ("get", "read_only"),
        ("HEAD", "read_only"),
        ("OPTIONS", "read_only"),
        ("PUT", "idempotent"),
        ("DELETE", "idempotent"),
        ("POST", "unsafe"),
        ("PATCH", "unsafe"),
        ("TRACE", "unsafe"),
        (None, "unsafe"),
    ],
)
def test_the_effect_follows_the_method(method: str | None, effect: str) -> None:
    assert HTTPRequestTool().effect_of({"method": method}) == effect


@pytest.mark.parametrize(
    ("given", "body", "content_type"),
    [
        ({"json": {"a": 1, "b": "é"}}, '{"a":1,"b":"é"}'.encode(), "application/json"),
        ({"json": [1]}, b"[1]", "application/json"),
        ({"json": 0}, b"0", "application/json"),
        ({"json": False}, b"false", "application/json"),
        ({"data": "text é"}, "text é".encode(), "text/plain; charset=utf-8"),
        (
            {"data": {"a": "x y&", "b": [1, True, None]}},
            b"a=x+y%26&b=1&b=true&b=",
            "application/x-www-form-urlencoded",
        ),
        ({"data": "a", "headers": {"Content-Type": "text/csv"}}, b"a", "text/csv"),
        ({"data": "", "json": None}, b"", "text/plain; charset=utf-8"),
        ({}, b"", None),
    ],
)
async def test_a_body_is_sent_with_its_type(
    tool: HTTPRequestTool,
    host: Host,
    given: dict[str, Any],
    body: bytes,
    content_type: str | None,
) -> None:
    await tool.perform(arguments(host, method="POST", **given), context())
    received = host.received[0]
    assert received.body == body
    assert received.header("content-type") == content_type


async def test_headers_and_parameters_are_sent(tool: HTTPRequestTool, host: Host) -> None:
    given: dict[str, Any] = {"params": {"q": ["x y", 1], "t": True}, "headers": {"X-A": "1"}}
    await tool.perform(arguments(host, "/?z=0", **given), context())
    assert host.received[0].line == "GET /?z=0&q=x+y&q=1&t=true HTTP/1.1"
    assert host.received[0].header("x-a") == "1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "TRACE"},
        {"method": "CONNECT"},
        {"method": "GET / HTTP/1.1"},
        {"method": None},
        {"url": 1},
        {"url": ""},
        {"headers": []},
        {"headers": {"a": 1}},
        {"params": "a=b"},
        {"params": {"a": {"b": 1}}},
        {"data": 1},
        {"data": {"a": [[]]}},
        {"data": "a", "json": {}},
        {"json": float("nan")},
        {"json": {1, 2}},
        {"data": "\ud800"},
        {"timeout": 0},
        {"timeout": 301},
        {"timeout": 1.5},
        {"timeout": float("nan")},
        {"timeout": True},
        {"timeout": "30"},
        {"max_redirects": REDIRECTS_MAX + 1},
        {"max_redirects": -1},
        {"verify_ssl": 0},
        {"follow_redirects": "no"},
        {"credential": 1},
        {"proxies": {}},
        {"cookies": {}},
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_sent(
    tool: HTTPRequestTool, host: Host, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError):
        await tool.perform({**arguments(host), **wrong}, context())
    assert host.connections == 0


def test_the_schema_takes_the_seeds_example_and_all_parameters() -> None:
    schema = ArgumentSchema(HTTPRequestTool().input_schema)
    schema.check(
        {
            "method": "GET",
            "url": "https://api.example.com/data",
            "headers": {"Authorization": "Bearer token"},
            "timeout": 10,
        }
    )
    schema.check(
        {
            "method": "POST",
            "url": "https://api.example.com",
            "params": {"a": 1, "b": ["x", None]},
            "data": {"a": "b"},
            "json": [1],
            "max_redirects": 0,
            "verify_ssl": False,
            "follow_redirects": False,
            "credential": "github",
        }
    )
    for wrong in ({"method": "TRACE"}, {"timeout": 0}, {"headers": {"a": 1}}, {"more": 1}):
        with pytest.raises(InvalidArgumentError):
            schema.check({"method": "GET", "url": "https://a.test", **wrong})


# Redirects, limits.
async def test_redirects_are_followed_as_far_as_asked(tool: HTTPRequestTool, host: Host) -> None:
    host.answers["/"] = redirect("/x")
    result = await tool.perform(arguments(host), context())
    assert (result["status_code"], result["redirects"]) == (200, [f"http://a.test:{host.port}/"])
    result = await tool.perform(arguments(host, follow_redirects=False), context())
    assert (result["status_code"], result["headers"]["location"]) == (302, "/x")
    with pytest.raises(LimitExceededError):
        await tool.perform(arguments(host, max_redirects=0), context())


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'"' * 1_000_000, "text/plain"),
        (b"\\" * 1_000_000, "text/plain"),
        (b"\x01" * 1_000_000, "text/plain"),
        (b"\xff" * 1_000_000, "text/plain"),
        (b"\xe9" * 1_000_000, "text/plain; charset=latin-1"),
        (b"[" + b"1e15," * 52_000 + b"1]", "application/json"),
        (b"[" * 200_000 + b"]" * 60_000, "application/json"),
    ],
)
async def test_no_body_makes_a_result_that_is_too_large(
    tool: HTTPRequestTool, host: Host, body: bytes, content_type: str
) -> None:
    host.default = answer(body, Content_Type=content_type)
    registry = ToolRegistry([tool])
    registered = registry.find("http_request")
    assert registered is not None
    admitted = Admitted(registered, arguments(host), "read_only", context())
    text = await Dispatcher().run(admitted, 20)
    assert len(text.encode()) < DEFAULT_RESULT_BYTES_MAX
    result = json.loads(text)
    assert result["truncated"] is (len(body) > BODY_BYTES_MAX)
    assert "json" not in result


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"\x89PNG\r\n\x1a\n\x00", "image/png", None),
        (b"\xff\xfe", "text/plain", None),
        ("é".encode("latin-1"), "text/html; charset=ISO-8859-1", "é"),
        ("日本".encode("shift_jis"), 'text/html; charset="Shift_JIS"', "日本"),
        ("é".encode("utf-16"), "text/plain; charset=utf-16", "é"),
        (b"abc", "text/plain; charset=rot13", None),
        (b"abc", "text/plain; charset=unicode_escape", None),
        (b"abc", "text/plain; charset=none-such", None),
        (b"abc", "", "abc"),
        (b"", "", ""),
    ],
)
async def test_text_is_told_as_text_and_all_else_in_base64(
    tool: HTTPRequestTool, host: Host, body: bytes, content_type: str, text: str | None
) -> None:
    host.default = answer(body, Content_Type=content_type)
    result = await tool.perform(arguments(host), context())
    if text is None:
        assert result["encoding"] == "base64"
        assert base64.b64decode(result["body"]) == body
    else:
        assert "encoding" not in result
        assert result["body"] == text


async def test_a_character_that_the_limit_cuts_is_left_out(
    tool: HTTPRequestTool, host: Host
) -> None:
    host.default = answer(b"x" + "é".encode() * BODY_BYTES_MAX, Content_Type="text/plain")
    result = await tool.perform(arguments(host), context())
    assert result["truncated"]
    assert result["body"] == "x" + "é" * (BODY_BYTES_MAX // 2 - 1)


@pytest.mark.parametrize(
    "body", [b"{", b"NaN", b"1e999", b'"\\ud800"', b"[" * 65 + b"]" * 65, b"1" * 5_000]
)
async def test_what_cannot_be_passed_on_as_json_is_text(
    tool: HTTPRequestTool, host: Host, body: bytes
) -> None:
    host.default = answer(body, Content_Type="application/problem+json")
    result = await tool.perform(arguments(host), context())
    assert result["body"] == body.decode()
    assert "json" not in result


# Whose policy.
def test_without_an_allowed_domain_the_error_says_how_to_add_one() -> None:
    for tool in (HTTPRequestTool(), HTTPRequestTool(ToolSandbox())):
        result = tool.execute({"method": "GET", "url": "https://api.example.com/"})
        assert (result["success"], result["code"]) == (False, "PERMISSION_DENIED")
        assert "ToolSandbox.add_allowed_domain" in result["error"]
        assert "/api/v1/allowed-domains" in result["error"]


async def test_a_program_allows_domains_by_its_sandbox(world: World, host: Host) -> None:
    sandbox = ToolSandbox()
    tool = HTTPRequestTool(
        sandbox, allowed_networks=(IPv4Network("127.0.0.0/8"),), client=world.client
    )
    with pytest.raises(PermissionDeniedError):
        await tool._execute_impl(arguments(host))
    sandbox.add_allowed_domain("a.test")
    result = await tool._execute_impl(arguments(host, method="POST"))
    assert result["status_code"] == 200
    assert host.received[0].header("idempotency-key") is None


async def test_the_calls_own_policy_holds_on_the_platform(world: World, host: Host) -> None:
    sandbox = ToolSandbox()
    sandbox.add_allowed_domain("a.test")
    tool = HTTPRequestTool(
        sandbox, allowed_networks=(IPv4Network("127.0.0.0/8"),), client=world.client
    )
    token = current_call.set(context(allowed_domains=frozenset({"b.test"})))
    try:
        with pytest.raises(PermissionDeniedError):
            await tool._execute_impl(arguments(host))
    finally:
        current_call.reset(token)
    origins = frozenset({f"http://a.test:{host.port + 1}"})
    with pytest.raises(PermissionDeniedError):
        await tool.perform(arguments(host), context(allowed_origins=origins))
    assert host.connections == 0


async def test_unverified_hosts_are_the_operators_to_admit(world: World) -> None:
    host = await world.host(tls=True)
    given = {**arguments(host, verify_ssl=False), "url": f"https://a.test:{host.port}/"}
    networks = (IPv4Network("127.0.0.0/8"),)
    strict = HTTPRequestTool(allowed_networks=networks, client=world.client)
    with pytest.raises(PermissionDeniedError):
        await strict.perform(given, context())
    assert host.connections == 0
    lax = HTTPRequestTool(allowed_networks=networks, allow_unverified_tls=True, client=world.client)
    assert (await lax.perform(given, context()))["body"] == "hello"


# Idempotency keys.
async def test_a_key_goes_with_what_can_have_an_effect(tool: HTTPRequestTool, host: Host) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "GET", "HEAD", "OPTIONS"):
        await tool.perform(arguments(host, method=method), context("call-1"))
    keys = [received.header("idempotency-key") for received in host.received]
    assert keys[4:] == [None, None, None]
    assert keys[0] is not None
    assert keys[:4] == keys[:1] * 4
    assert len(keys[0]) == 64
    assert "call-1" not in keys[0]


async def test_each_request_of_each_call_has_a_key_of_its_own(
    tool: HTTPRequestTool, host: Host
) -> None:
    post = arguments(host, method="POST")
    await tool.perform(post, context("call-1"))
    await tool.perform(post, context("call-1"))
    await tool.perform(post, context("call-2"))
    await tool.perform(post, context("call-1", organization_id="other"))
    await tool.perform(post, context("call-1"), sequence=1)
    await tool.perform({**post, "headers": {"Idempotency-Key": "mine"}}, context("call-1"))
    keys = [received.header("idempotency-key") for received in host.received]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5
    assert keys[5] == "mine"


# Credentials.
async def test_a_credential_is_attached_and_nowhere_told(
    tool: HTTPRequestTool, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    vault = Vault(credential(host))
    result = await tool.perform(arguments(host, credential="github"), context(credentials=vault))
    assert host.received[0].header("authorization") == f"Bearer {HEADER_SECRET}"
    assert HEADER_SECRET not in f"{result}{caplog.text}"


async def test_a_credential_may_have_a_header_of_its_own(tool: HTTPRequestTool, host: Host) -> None:
    vault = Vault(credential(host, header_name="X-Api-Key", header_prefix=""))
    given = arguments(host, credential="github", headers={"x-api-key": "mine"})
    await tool.perform(given, context(credentials=vault))
    assert host.received[0].header("x-api-key") == HEADER_SECRET


async def test_a_credential_is_only_for_its_tools_and_origins(
    tool: HTTPRequestTool, world: World, host: Host
) -> None:
    other = await world.host()
    vault = Vault(credential(host))
    given = arguments(host, credential="github")
    for wrong_context, wrong_arguments in (
        (context(credentials=vault, tool_name="mine"), given),
        (context(credentials=vault), arguments(other, credential="github")),
        (context(credentials=vault), {**given, "url": f"http://b.test:{host.port}/"}),
    ):
        with pytest.raises(PermissionDeniedError):
            await tool.perform(wrong_arguments, wrong_context)
    for wrong in (
        context(credentials=vault, organization_id="other"),
        context(credentials=None),
    ):
        with pytest.raises(CredentialNotFoundError):
            await tool.perform(given, wrong)
    assert (host.connections, other.connections) == (0, 0)


async def test_a_credential_is_not_opened_for_what_is_refused_anyway(
    tool: HTTPRequestTool, host: Host
) -> None:
    vault = Vault(credential(host))
    given = {**arguments(host, credential="github"), "url": "https://other.test/"}
    with pytest.raises(PermissionDeniedError):
        await tool.perform(given, context(credentials=vault))
    assert vault.opened == 0


async def test_a_tool_of_its_own_uses_the_credential_that_names_it(
    tool: HTTPRequestTool, host: Host
) -> None:
    vault = Vault(credential(host, tools=frozenset({"mine"})))
    await tool.perform(
        arguments(host, credential="github"),
        context(
            credentials=vault,
            tool_name="mine",
            allowed_origins=frozenset({f"http://a.test:{host.port}"}),
        ),
    )
    assert host.received[0].header("authorization") == f"Bearer {HEADER_SECRET}"


def echoes(secret: str) -> Mapping[str, bytes]:
    raw = secret.encode()
    return {
        "text/plain": b"you sent " + raw,
        "text/html": b"<b>" + base64.b64encode(raw) + b"</b>",
        "text/csv": b"a,"
        + "".join(f"%{byte:02X}" if byte in b"/+=" else chr(byte) for byte in raw).encode(),
        "application/json": json.dumps({secret: [secret]}).encode(),
        "application/vnd.api+json": b'{"a": "'
        + "".join(f"\\u{byte:04x}" for byte in raw).encode()
        + b'"}',
        "application/octet-stream": b"\x00" + raw,
        "text/plain; charset=utf-16": secret.encode("utf-16"),
    }


@pytest.mark.parametrize("content_type", list(echoes(HEADER_SECRET)))
async def test_a_response_that_echoes_the_secret_is_scrubbed(
    tool: HTTPRequestTool, host: Host, content_type: str
) -> None:
    body = echoes(HEADER_SECRET)[content_type]
    host.default = answer(body, Content_Type=content_type, X_Echo=f"Bearer {HEADER_SECRET}")
    vault = Vault(credential(host))
    result = await tool.perform(arguments(host, credential="github"), context(credentials=vault))
    texts = [json.dumps(result)]
    if "json" in result:
        texts += [str(result["json"]), str(json.loads(result["body"]))]
    if result.get("encoding") == "base64":
        texts.append(base64.b64decode(result["body"]).decode("latin-1"))
    for text in texts:
        assert HEADER_SECRET not in text
        assert base64.b64encode(HEADER_SECRET.encode()).decode() not in text


@pytest.mark.parametrize("filler", [BODY_BYTES_MAX - 10, BODY_BYTES_MAX + 100])
@pytest.mark.parametrize("echoed", [1, 10_000])
async def test_a_secret_that_the_limit_cuts_in_two_is_not_told_in_part(
    tool: HTTPRequestTool, host: Host, filler: int, echoed: int
) -> None:
    part = HEADER_SECRET.encode() * echoed
    host.default = answer((part + b"x" * filler)[:filler] + part, Content_Type="text/plain")
    vault = Vault(credential(host))
    result = await tool.perform(arguments(host, credential="github"), context(credentials=vault))
    assert HEADER_SECRET[:5] not in result["body"]
    assert len(result["body"]) <= BODY_BYTES_MAX


async def test_a_redirect_to_a_host_named_for_the_secret_tells_nothing(
    tool: HTTPRequestTool, host: Host
) -> None:
    vault = Vault(credential(host, secret="MixedCaseSecret"))
    host.default = redirect("https://MixedCaseSecret.evil.test/")
    with pytest.raises(PermissionDeniedError) as refused:
        await tool.perform(arguments(host, credential="github"), context(credentials=vault))
    told = f"{refused.value!r}{refused.value.metadata}".lower()
    assert "mixedcasesecret" not in told
    assert refused.value.__cause__ is None


async def test_a_refusal_of_the_host_itself_is_told_with_a_credential_too(
    tool: HTTPRequestTool, world: World, host: Host
) -> None:
    world.name("a.test", "10.0.0.1")
    vault = Vault(credential(host))
    with pytest.raises(PermissionDeniedError) as refused:
        await tool.perform(arguments(host, credential="github"), context(credentials=vault))
    assert refused.value.metadata == {"rule": "address", "host": "a.test"}


async def test_a_secret_that_is_no_header_is_sent_and_told_nowhere(
    tool: HTTPRequestTool, host: Host
) -> None:
    vault = Vault(credential(host, secret="line\r\nbreak"))
    with pytest.raises(ToolExecutionError) as failed:
        await tool.perform(arguments(host, credential="github"), context(credentials=vault))
    assert "break" not in f"{failed.value!r}"
    assert failed.value.__cause__ is None
    assert host.received == []


def test_whoever_lists_the_tool_loads_no_http_library() -> None:
    program = (
        "import sys; before = set(sys.modules); from agent_executor import HTTPRequestTool; "
        "HTTPRequestTool(); print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "agent_executor.tool_runner.builtin.http_request" in loaded
    assert not loaded & {"httpx2", "httpcore2", "asyncio", "ssl", "socket", "ctypes", "grpc"}
