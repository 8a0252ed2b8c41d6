"""What gRPC callers get on the same port."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from agent_executor.api.error.v1 import error_pb2
from agent_executor.api.executor.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    run_service_pb2,
    run_service_pb2_grpc,
)
from tests.integration.gateway.running_gateway import RunningGateway
from tests.integration.gateway.upstream import HARD_MESSAGE


def get_agent(
    gateway: RunningGateway, agent_id: str, metadata: tuple[tuple[str, str], ...]
) -> grpc.RpcError:
    with gateway.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        agent_service_pb2_grpc.AgentServiceStub(channel).GetAgent(
            agent_service_pb2.GetAgentRequest(agent_id=agent_id), metadata=metadata, timeout=60
        )
    return caught.value


def test_calls_are_answered(gateway: RunningGateway) -> None:
    with gateway.channel() as channel:
        agent = agent_service_pb2_grpc.AgentServiceStub(channel).GetAgent(
            agent_service_pb2.GetAgentRequest(agent_id="a", version=3),
            metadata=gateway.credentials(),
            timeout=60,
        )
    assert (agent.id, agent.version) == ("a", 3)


def test_messages_may_be_larger_than_rest_bodies(gateway: RunningGateway) -> None:
    with gateway.channel() as channel:
        agent = agent_service_pb2_grpc.AgentServiceStub(channel).CreateAgent(
            agent_service_pb2.CreateAgentRequest(instructions="x" * 2_000_000),
            metadata=gateway.credentials(),
            timeout=60,
        )
    assert len(agent.instructions) == 2_000_000


def test_streams_are_answered(gateway: RunningGateway) -> None:
    with gateway.channel() as channel:
        events = run_service_pb2_grpc.RunServiceStub(channel).StreamRunEvents(
            run_service_pb2.StreamRunEventsRequest(run_id="r"),
            metadata=gateway.credentials(),
            timeout=60,
        )
        # The sample sends its heartbeat to everybody.
        told = [event.sequence for event in events if event.type != "heartbeat"]
        assert told == [1, 2]


def test_rich_errors_stay_rich(gateway: RunningGateway) -> None:
    error = get_agent(gateway, "rich", gateway.credentials())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == HARD_MESSAGE
    status = rpc_status.from_call(error)
    body = error_pb2.ErrorBody()
    assert [detail.Unpack(body) for detail in status.details] == [False, False, True]
    assert body.code == "RATE_LIMIT_EXCEEDED"


def test_the_gateways_own_errors_are_grpc_errors(gateway: RunningGateway) -> None:
    error = get_agent(gateway, "a", ())
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error.details() == "Jwt is missing"


def test_methods_without_an_implementation_are_unimplemented(gateway: RunningGateway) -> None:
    with gateway.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        agent_service_pb2_grpc.AgentServiceStub(channel).DeleteAgent(
            agent_service_pb2.DeleteAgentRequest(agent_id="a"),
            metadata=gateway.credentials(),
            timeout=60,
        )
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_health_needs_no_token(gateway: RunningGateway) -> None:
    with gateway.channel() as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=60
        )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_needs_no_token(gateway: RunningGateway) -> None:
    with gateway.channel() as channel:
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=60
        )
        services = [service.name for service in next(answers).list_services_response.service]
    assert "grpc.reflection.v1alpha.ServerReflection" in services
