"""Tool calls over gRPC: what is refused is a result, and who may ask at all."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from agent_executor.api.call.v1 import call_pb2, grant_pb2
from agent_executor.serving.grants import SERVICE_KEY_BYTES, ServiceKey
from tests.e2e.bad_credentials import BAD_CREDENTIALS
from tests.e2e.rpc import (
    METHODS,
    Refusal,
    assert_refused,
    call,
    channel_to,
    frames_of,
    refusal,
)
from tests.platforms import Client, RunningPlatform

EXECUTE_TOOL_CALL = METHODS["ToolCallService/ExecuteToolCall"]
STREAM_TOOL_CALLS = METHODS["ToolCallService/StreamToolCalls"]


def tool_call(**fields: Any) -> Any:
    """Makes the request of a sum, under an id of its own."""
    return EXECUTE_TOOL_CALL.request(
        **{
            "tool_call_id": str(uuid.uuid4()),
            "tool_name": "calculator",
            "arguments_json": '{"operation":"add","a":1,"b":2}',
            **fields,
        }
    )


def signed_grant(
    key: ServiceKey, request: Any | None = None, **changes: Any
) -> grant_pb2.SignedGrant:
    """Makes a grant for a tool call that holds, but for the changes."""
    bound = (
        {
            "tool_call_id": request.tool_call_id,
            "tool_name": request.tool_name,
            "arguments_digest": hashlib.sha256(request.arguments_json.encode()).digest(),
        }
        if request is not None
        else {}
    )
    return key.sign_grant(
        grant_pb2.Grant(
            **{
                "audience": "tool-runner",
                "security_context": grant_pb2.SecurityContext(
                    organization_id="o", user_id="u", permissions=["*"]
                ),
                "expires_at_unix_ms": int((time.time() + 60) * 1000),
                **bound,
                **changes,
            }
        )
    )


def bad_grants(key: ServiceKey, request: Any) -> dict[str, grant_pb2.SignedGrant]:
    """Makes every kind of grant that must not admit a tool call."""
    good = signed_grant(key, request)
    altered = grant_pb2.SignedGrant(grant=good.grant + b"\x32\x01x", signature=good.signature)
    return {
        "of another key": signed_grant(ServiceKey(secrets.token_bytes(SERVICE_KEY_BYTES)), request),
        "altered": altered,
        "not signed": grant_pb2.SignedGrant(grant=good.grant),
        "expired": signed_grant(key, request, expires_at_unix_ms=int(time.time() * 1000) - 1),
        "for another service": signed_grant(key, request, audience="ledger"),
        "for no call": signed_grant(key),
        "for another call": signed_grant(key, request, tool_call_id="another"),
        "for another tool": signed_grant(key, request, tool_name="http_request"),
        "for other arguments": signed_grant(key, request, arguments_digest=b"x" * 32),
        "of nobody": signed_grant(key, request, security_context=grant_pb2.SecurityContext()),
    }


class TestToolCalls:
    """What a tool call is refused for is its result, not an error of the RPC."""

    @pytest.mark.parametrize(
        ("fields", "permissions", "code"),
        [
            ({}, (), "PERMISSION_DENIED"),
            ({}, ("tool:http_request", "tool:read"), "PERMISSION_DENIED"),
            ({"tool_name": "telescope"}, ("*",), "TOOL_NOT_FOUND"),
            ({"arguments_json": "{"}, ("*",), "INVALID_ARGUMENT"),
            ({"arguments_json": "[]"}, ("*",), "INVALID_ARGUMENT"),
            ({"arguments_json": '{"operation":"add"}'}, ("*",), "INVALID_ARGUMENT"),
            ({"arguments_json": '{"operation":"dance","a":1}'}, ("*",), "INVALID_ARGUMENT"),
            ({"arguments_json": '{"a":' * 5000}, ("*",), "LIMIT_EXCEEDED"),
            ({"rate_limits": {"calculator": 0}}, ("*",), "RATE_LIMIT_EXCEEDED"),
        ],
    )
    def test_a_refused_call_is_a_result(
        self,
        platform: RunningPlatform,
        organization: str,
        client: Client,
        connect: Callable[[str], grpc.Channel],
        fields: dict[str, Any],
        permissions: tuple[str, ...],
        code: str,
    ) -> None:
        token = platform.token(organization, permissions=permissions)
        request = tool_call(**fields)
        (result,) = call(connect("tool-runner"), EXECUTE_TOOL_CALL, request, token)
        assert (result.success, result.code, result.result_json) == (False, code, "null")
        assert result.error
        assert result.tool_name == request.tool_name
        (event,) = client.get("/api/v1/audit-events").body["audit_events"]
        assert (event["decision"], event["outcome"], event["code"]) == ("refused", "none", code)

    def test_a_users_token_with_the_permission_is_enough(
        self,
        platform: RunningPlatform,
        organization: str,
        connect: Callable[[str], grpc.Channel],
    ) -> None:
        token = platform.token(organization, permissions=("tool:calculator",))
        (result,) = call(connect("tool-runner"), EXECUTE_TOOL_CALL, tool_call(), token)
        assert (result.success, result.error, result.code) == (True, "", "")
        assert result.result_json == '{"operation":"add","result":3}'

    def test_a_repeated_call_is_answered_from_its_record(
        self, client: Client, connect: Callable[[str], grpc.Channel]
    ) -> None:
        channel, request = connect("tool-runner"), tool_call()
        first, second = (call(channel, EXECUTE_TOOL_CALL, request, client.token) for _ in range(2))
        assert first == second
        other = tool_call(arguments_json='{"operation":"add","a":1,"b":3}')
        other.tool_call_id = request.tool_call_id
        refused = refusal(channel, EXECUTE_TOOL_CALL, other, client.token)
        assert_refused(refused, "ALREADY_EXISTS", "TOOL_CALL_CONFLICT")
        events = client.get("/api/v1/audit-events").body["audit_events"]
        assert [event["decision"] for event in events] == ["refused", "replayed", "allowed"]


@pytest.mark.parametrize("kind", BAD_CREDENTIALS)
def test_without_a_grant_a_token_has_to_hold(
    platform: RunningPlatform, connect: Callable[[str], grpc.Channel], way: str, kind: str
) -> None:
    bad = BAD_CREDENTIALS[kind]
    shown = bad.make(platform)
    refused = refusal(connect("tool-runner"), EXECUTE_TOOL_CALL, tool_call(), metadata=shown)
    assert refused.code == (bad.code if way == "gateway" else "UNAUTHENTICATED")


class TestGrants:
    """What only services show each other, at the tool-runner's own port."""

    @pytest.fixture
    def key(self, platform: RunningPlatform) -> ServiceKey:
        return ServiceKey.load(platform.keys.service)

    def test_a_unary_call_with_a_bad_one_is_refused(
        self, platform: RunningPlatform, key: ServiceKey
    ) -> None:
        request = tool_call()
        with channel_to(platform, "tool-runner") as channel:
            for kind, grant in bad_grants(key, request).items():
                refused = refusal(
                    channel, EXECUTE_TOOL_CALL, request, grant=grant.SerializeToString()
                )
                assert (refused.code, refused.reason) == ("UNAUTHENTICATED",) * 2, kind
            good = signed_grant(key, request).SerializeToString()
            (result,) = call(channel, EXECUTE_TOOL_CALL, request, grant=good)
            assert result.success

    def test_the_same_one_with_the_same_call_is_answered_from_the_record(
        self, platform: RunningPlatform, key: ServiceKey, organization: str
    ) -> None:
        request = tool_call()
        caller = grant_pb2.SecurityContext(
            organization_id=organization, user_id="u", permissions=["tool:calculator"]
        )
        shown = signed_grant(key, request, security_context=caller).SerializeToString()
        with channel_to(platform, "tool-runner") as channel:
            first, again = (
                call(channel, EXECUTE_TOOL_CALL, request, grant=shown) for _ in range(2)
            )
        assert first == again
        events = platform.client(platform.token(organization)).get("/api/v1/audit-events").body
        decisions = [event["decision"] for event in events["audit_events"]]
        assert decisions == ["replayed", "allowed"]

    def test_one_of_another_organization_is_not_answered_from_the_record(
        self, platform: RunningPlatform, key: ServiceKey, organization: str
    ) -> None:
        request, outcomes = tool_call(), []
        with channel_to(platform, "tool-runner") as channel:
            for owner, permission in ((organization, "tool:*"), (f"{organization}-other", "none")):
                caller = grant_pb2.SecurityContext(
                    organization_id=owner, user_id="u", permissions=[permission]
                )
                shown = signed_grant(key, request, security_context=caller).SerializeToString()
                outcomes += call(channel, EXECUTE_TOOL_CALL, request, grant=shown)
        assert [outcome.code for outcome in outcomes] == ["", "PERMISSION_DENIED"]
        assert outcomes[1].result_json == "null"

    def test_a_frame_with_a_bad_one_is_refused_alike(
        self, platform: RunningPlatform, key: ServiceKey
    ) -> None:
        request = tool_call()
        bad = bad_grants(key, request)
        grants = [grant_pb2.SignedGrant(), *bad.values(), signed_grant(key, request)]
        message: Any = STREAM_TOOL_CALLS.request()
        for number, grant in enumerate(grants, start=1):
            frame = message.frames.add(execute=request)
            frame.header.CopyFrom(call_pb2.CallHeader(id=number, timeout_ms=60_000, grant=grant))
        outcomes = frames_of(platform, STREAM_TOOL_CALLS, message, len(grants))
        for number in range(1, len(grants)):
            refused = Refusal("UNAUTHENTICATED", outcomes[number].error)
            assert_refused(refused, "UNAUTHENTICATED", "UNAUTHENTICATED")
        assert outcomes[len(grants)].execute.success

    def test_a_frame_that_breaks_a_rule_is_refused_alike(
        self, platform: RunningPlatform, key: ServiceKey
    ) -> None:
        request = tool_call(rate_limits={"calculator": -1})
        header = call_pb2.CallHeader(id=1, timeout_ms=60_000, grant=signed_grant(key, request))
        message: Any = STREAM_TOOL_CALLS.request()
        message.frames.add(execute=request).header.CopyFrom(header)
        outcomes = frames_of(platform, STREAM_TOOL_CALLS, message, 1)
        refused = Refusal("INVALID_ARGUMENT", outcomes[1].error)
        assert_refused(refused, "INVALID_ARGUMENT", "INVALID_ARGUMENT")

    def test_the_executor_takes_none_of_them(
        self, platform: RunningPlatform, key: ServiceKey
    ) -> None:
        method = METHODS["AgentService/ListAgents"]
        with channel_to(platform, "executor") as channel:
            for audience in ("tool-runner", "ledger"):
                grant = signed_grant(key, audience=audience).SerializeToString()
                refused = refusal(channel, method, method.request(), grant=grant)
                assert_refused(refused, "UNAUTHENTICATED", "UNAUTHENTICATED")
