"""Unary calls and lists: what goes with them, how they fail, and when they are made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from agent_executor import errors
from agent_executor.api.executor.v1 import (
    agent_pb2,
    agent_service_pb2,
    run_service_pb2,
    token_service_pb2,
)
from agent_executor.client import AgentExecutorClient
from tests.unit.client.fake_platform import CUT, FakePlatform

Call = Callable[..., Any]
AGENT = agent_pb2.Agent(id="a1", name="Ada")
EXECUTED = run_service_pb2.ExecuteAgentResponse(task_id="r1", state="completed")


def keys(platform: FakePlatform) -> list[str]:
    return [asked.metadata.get("idempotency-key", "") for asked in platform.asked]


def test_fields_go_out_by_name_and_a_message_comes_back(call: Call, platform: FakePlatform) -> None:
    platform.will_answer("AgentService/CreateAgent", AGENT)
    created = call(lambda client: client.agents.create(name="Ada", tools={"calculator": True}))
    assert created == AGENT
    (request,) = platform.requests(agent_service_pb2.CreateAgentRequest)
    assert request == agent_service_pb2.CreateAgentRequest(name="Ada", tools={"calculator": True})
    (asked,) = platform.asked
    assert asked.metadata["authorization"] == "Bearer a-token"
    assert asked.timeout_seconds is not None
    assert 29 < asked.timeout_seconds < 32


def test_a_list_is_read_page_by_page(call: Call, platform: FakePlatform) -> None:
    pages = [
        agent_service_pb2.ListAgentsResponse(agents=[AGENT, AGENT], next_page_token="next"),
        agent_service_pb2.ListAgentsResponse(next_page_token="last"),
        agent_service_pb2.ListAgentsResponse(agents=[AGENT]),
    ]
    platform.will_answer("AgentService/ListAgents", *pages)
    assert call(lambda client: client.agents.list(page_size=2)) == [AGENT] * 3
    asked = platform.requests(agent_service_pb2.ListAgentsRequest)
    assert [(each.page_size, each.page_token) for each in asked] == [
        (2, ""),
        (2, "next"),
        (2, "last"),
    ]


def test_pages_can_be_read_themselves(call: Call, platform: FakePlatform) -> None:
    page = agent_service_pb2.ListAgentsResponse(agents=[AGENT])
    platform.will_answer("AgentService/ListAgents", page)
    assert call(lambda client: client.agents.list().pages()) == [page]


def test_a_list_that_nobody_reads_asks_nothing(platform: FakePlatform) -> None:
    with AgentExecutorClient(platform.url) as client:
        client.agents.list()
    assert platform.asked == []


@pytest.mark.parametrize(
    "refused",
    [
        errors.AgentNotFoundError("There is no agent.", metadata={"agent_id": "a1"}),
        errors.InvalidArgumentError("Wrong.", field_violations=(("agent_id", "too long"),)),
        errors.BudgetExceededError("Spent."),
        errors.UnauthenticatedError("No."),
        errors.PermissionDeniedError("No."),
        errors.ModelError("The model is away."),
    ],
)
def test_an_error_comes_back_as_itself(
    call: Call, platform: FakePlatform, refused: errors.AgentExecutorError
) -> None:
    platform.will_answer("AgentService/GetAgent", refused)
    platform.headers = (("x-request-id", "request-1"), ("x-trace-id", "trace-1"))
    with pytest.raises(type(refused)) as caught:
        call(lambda client: client.agents.get(agent_id="a1"))
    assert type(caught.value) is type(refused)
    assert caught.value.message == refused.message
    names = {"request_id": "request-1", "trace_id": "trace-1"}
    assert caught.value.metadata == {**refused.metadata, **names}
    if isinstance(refused, errors.InvalidArgumentError):
        assert isinstance(caught.value, errors.InvalidArgumentError)
        assert caught.value.field_violations == refused.field_violations
    assert len(platform.asked) == 1


def test_a_foreign_error_tells_nothing_of_what_is_inside(
    call: Call, platform: FakePlatform
) -> None:
    with pytest.raises(errors.AgentExecutorError, match="does not have this method"):
        call(lambda client: client.agents.get(agent_id="a1"))
    platform.will_answer("AgentService/GetAgent", grpc.StatusCode.INTERNAL)
    with pytest.raises(errors.AgentExecutorError, match=r"^A service that is needed failed\.$"):
        call(lambda client: client.agents.get(agent_id="a1"))


def test_what_reads_is_repeated(call: Call, platform: FakePlatform) -> None:
    platform.will_answer("AgentService/GetAgent", CUT, grpc.StatusCode.UNAVAILABLE, AGENT)
    assert call(lambda client: client.agents.get(agent_id="a1")) == AGENT
    assert keys(platform) == ["", "", ""]


@pytest.mark.parametrize(
    ("use", "method", "answer"),
    [
        (lambda client: client.agents.create(name="A"), "AgentService/CreateAgent", AGENT),
        (
            lambda client: client.runs.execute(agent_id="a1", input="x"),
            "RunService/ExecuteAgent",
            EXECUTED,
        ),
    ],
)
def test_what_begins_something_is_repeated_under_one_key(
    call: Call, platform: FakePlatform, use: Call, method: str, answer: Any
) -> None:
    platform.will_answer(method, CUT, CUT, answer)
    assert call(use) == answer
    assert len(set(keys(platform))) == 1
    assert len(platform.asked) == 3
    assert keys(platform)[0]
    call(use)
    assert keys(platform)[-1] != keys(platform)[0], "another call is no repeat"


def test_the_callers_own_key_is_sent(call: Call, platform: FakePlatform) -> None:
    platform.will_answer("AgentService/CreateAgent", CUT, AGENT)
    call(lambda client: client.with_options(idempotency_key="mine").agents.create(name="A"))
    assert keys(platform) == ["mine", "mine"]


def test_what_changes_something_is_not_repeated(call: Call, platform: FakePlatform) -> None:
    platform.will_answer("AgentService/DeleteAgent", CUT)
    with pytest.raises(errors.UnavailableError):
        call(lambda client: client.agents.delete(agent_id="a1"))
    assert len(platform.asked) == 1


def test_repeats_are_counted(call: Call, platform: FakePlatform) -> None:
    platform.will_answer("AgentService/GetAgent", CUT)
    with pytest.raises(errors.UnavailableError):
        call(lambda client: client.agents.get(agent_id="a1"), max_attempts=3)
    assert len(platform.asked) == 3


def test_a_limit_is_waited_for_if_there_is_time(call: Call, platform: FakePlatform) -> None:
    soon = errors.RateLimitExceededError("Slow down.", retry_after_seconds=0.01)
    platform.will_answer("AgentService/GetAgent", soon, AGENT)
    assert call(lambda client: client.agents.get(agent_id="a1")) == AGENT
    late = errors.RateLimitExceededError("Slow down.", retry_after_seconds=60)
    platform.will_answer("AgentService/GetAgent", late)
    with pytest.raises(errors.RateLimitExceededError) as caught:
        call(lambda client: client.agents.get(agent_id="a1"))
    assert caught.value.retry_after_seconds == 60


def test_a_call_has_a_deadline(call: Call, platform: FakePlatform) -> None:
    platform.will_answer("AgentService/GetAgent", CUT)
    with pytest.raises(errors.DeadlineExceededError):
        call(lambda client: client.agents.get(agent_id="a1"), timeout_seconds=0.0)
    assert platform.asked == []


def test_executions_wait_as_long_as_the_gateway_does(call: Call, platform: FakePlatform) -> None:
    platform.will_answer("RunService/ExecuteAgent", EXECUTED)
    call(lambda client: client.runs.execute(agent_id="a1", input="x"))
    client_wide = {"timeout_seconds": 1_000.0}
    call(lambda client: client.runs.execute(agent_id="a1", input="x"), **client_wide)
    first, second = (asked.timeout_seconds or 0 for asked in platform.asked)
    assert 290 < first < 310
    assert 990 < second < 1_030


def test_metadata_goes_with_each_attempt(call: Call, platform: FakePlatform) -> None:
    spans = iter(["span-1", "span-2"])
    platform.will_answer("AgentService/GetAgent", CUT, AGENT)
    call(
        lambda client: client.agents.get(agent_id="a1"),
        metadata={"x-caller": "billing"},
        metadata_hook=lambda: {"traceparent": next(spans)},
    )
    assert [asked.metadata["traceparent"] for asked in platform.asked] == ["span-1", "span-2"]
    assert platform.asked[0].metadata["x-caller"] == "billing"


def test_a_function_gives_a_token_for_each_call(call: Call, platform: FakePlatform) -> None:
    tokens = iter(["one", "two"])
    platform.will_answer("AgentService/GetAgent", CUT, AGENT)
    call(lambda client: client.agents.get(agent_id="a1"), credential=lambda: next(tokens))
    sent = [asked.metadata["authorization"] for asked in platform.asked]
    assert sent == ["Bearer one", "Bearer two"]


def test_a_token_that_no_header_can_carry_is_told(call: Call, platform: FakePlatform) -> None:
    with pytest.raises(errors.UnauthenticatedError, match="line break") as refused:
        call(lambda client: client.agents.get(agent_id="a"), credential="s3cret\n")
    assert "s3cret" not in str(refused.value)


def test_an_api_key_is_exchanged_once(call: Call, platform: FakePlatform) -> None:
    platform.will_answer(
        "TokenService/ExchangeApiKey",
        CUT,
        token_service_pb2.ExchangeApiKeyResponse(access_token="jwt", expires_in_seconds=30),
    )
    platform.will_answer(
        "AgentService/ListAgents",
        agent_service_pb2.ListAgentsResponse(next_page_token="2"),
        agent_service_pb2.ListAgentsResponse(),
    )
    call(lambda client: client.agents.list(), credential="aek_secret")
    methods = [asked.method.partition("/")[2] for asked in platform.asked]
    assert methods == ["ExchangeApiKey", "ExchangeApiKey", "ListAgents", "ListAgents"]
    assert [asked.metadata.get("authorization") for asked in platform.asked] == [
        *(None, None),
        *("Bearer jwt", "Bearer jwt"),
    ]
    assert platform.asked[0].request == (
        token_service_pb2.ExchangeApiKeyRequest(api_key="aek_secret").SerializeToString()
    )


def test_a_token_is_replaced_before_it_ends(call: Call, platform: FakePlatform) -> None:
    platform.will_answer(
        "TokenService/ExchangeApiKey",
        token_service_pb2.ExchangeApiKeyResponse(access_token="first", expires_in_seconds=0),
        token_service_pb2.ExchangeApiKeyResponse(access_token="second", expires_in_seconds=30),
    )
    platform.will_answer("AgentService/GetAgent", CUT, AGENT)
    call(lambda client: client.agents.get(agent_id="a1"), credential="aek_secret")
    sent = [asked.metadata.get("authorization") for asked in platform.asked]
    assert sent == [None, "Bearer first", None, "Bearer second"]


def test_a_revoked_key_is_told(call: Call, platform: FakePlatform) -> None:
    revoked = errors.UnauthenticatedError("The API key does not hold.")
    platform.will_answer("TokenService/ExchangeApiKey", revoked)
    with pytest.raises(errors.UnauthenticatedError):
        call(lambda client: client.agents.get(agent_id="a1"), credential="aek_secret")
    assert len(platform.asked) == 1


def test_nobody_listening_is_told_after_some_attempts(call: Call, platform: FakePlatform) -> None:
    platform.url = "http://127.0.0.1:1"
    with pytest.raises(errors.UnavailableError, match=r"cannot be reached: Connection refused\.$"):
        call(lambda client: client.agents.get(agent_id="a1"), max_attempts=2)
