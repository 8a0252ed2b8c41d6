"""What callers see when a service dies, hangs or comes back."""

from __future__ import annotations

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from agent_executor.api.executor.v1 import agent_service_pb2, agent_service_pb2_grpc
from agent_executor.cli.probes import drain_gateway
from tests.integration.gateway.running_gateway import RunningGateway, running_gateway, until
from tests.integration.gateway.test_error_shape import assert_is_error


def healthy_executors(gateway: RunningGateway) -> int:
    return gateway.stat("cluster.executor.membership_healthy")


EXECUTE = "/api/v1/agents/a/execute"
# Far less than any time-out on the way.
AT_ONCE_SECONDS = 15
SERVES_AGAIN_SECONDS = 60


def requests_under_way(gateway: RunningGateway) -> int:
    return gateway.stat("cluster.executor.upstream_rq_active")


def test_callers_of_a_killed_service_get_503_at_once_and_it_serves_again(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gateway.call, "POST", EXECUTE, {"input": "wait"})
        until(lambda: requests_under_way(gateway) == 1)
        gateway.kill_upstream()
        killed_at = time.monotonic()
        answer = waiting.result(timeout=60)
        assert time.monotonic() - killed_at < AT_ONCE_SECONDS
        assert_is_error(answer, 503, "UNAVAILABLE", "does not answer")
        assert answer.headers["retry-after"] == "1"

        # Nobody is there: refused at once too, by REST and by gRPC.
        started = time.monotonic()
        assert_is_error(gateway.call("GET", "/api/v1/agents/a"), 503, "UNAVAILABLE", "")
        with gateway.channel() as channel, pytest.raises(grpc.RpcError) as caught:
            agent_service_pb2_grpc.AgentServiceStub(channel).GetAgent(
                agent_service_pb2.GetAgentRequest(agent_id="a"),
                metadata=gateway.credentials(),
                timeout=60,
            )
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - started < AT_ONCE_SECONDS
        until(lambda: not gateway.is_healthy())
        assert_is_error(gateway.call("GET", "/healthz", token=""), 503, "UNAVAILABLE", "")

        gateway.start_upstream()
        serves_again = lambda: gateway.call("GET", "/api/v1/agents/a").status == 200  # noqa: E731 -- a name for the wait
        assert until(serves_again) < SERVES_AGAIN_SECONDS


def test_a_service_that_hangs_is_given_up_by_the_gateway(tmp_path: Path) -> None:
    with running_gateway(tmp_path, request_timeout_seconds=0.2) as gateway:
        assert gateway.call("GET", "/api/v1/agents/a").status == 200
        gateway.upstreams[0].send_signal(signal.SIGSTOP)
        answer = gateway.call("GET", "/api/v1/agents/a")
    assert_is_error(answer, 504, "DEADLINE_EXCEEDED", "in time")


def test_an_execution_is_never_sent_twice(tmp_path: Path) -> None:
    with running_gateway(tmp_path, executors=2) as gateway:
        until(lambda: healthy_executors(gateway) == 2)
        answer = gateway.call("POST", EXECUTE, {"input": "die"})
        assert_is_error(answer, 503, "UNAVAILABLE", "")
        until(lambda: any(upstream.poll() is not None for upstream in gateway.upstreams))
        # A second executor that got the call would have died of it too.
        assert sum(upstream.poll() is None for upstream in gateway.upstreams) == 1
        assert gateway.call("GET", "/api/v1/agents/a").status == 200


def test_every_executor_is_used(tmp_path: Path) -> None:
    with running_gateway(tmp_path, executors=2) as gateway:
        until(lambda: healthy_executors(gateway) == 2)
        for _ in range(20):
            gateway.call("GET", "/api/v1/agents/a")
        clusters = json.loads(gateway.admin("/clusters?format=json").content)["cluster_statuses"]
        (executor,) = (cluster for cluster in clusters if cluster["name"] == "executor")
        for host in executor["host_statuses"]:
            stats = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
            assert stats["rq_total"] > 0


def test_one_dead_executor_of_two_is_not_noticed(tmp_path: Path) -> None:
    with running_gateway(tmp_path, executors=2) as gateway:
        until(lambda: healthy_executors(gateway) == 2)
        gateway.kill_upstream(1)
        answers = [gateway.call("GET", "/api/v1/agents/a") for _ in range(20)]
        # What the gateway held of the executors says why, if one was not answered.
        counts = {
            name: gateway.stat(f"cluster.executor.{name}")
            for name in ("membership_healthy", "health_check.failure", "upstream_rq_retry")
        }
    assert {answer.status for answer in answers} == {200}, (counts, answers)


def test_a_caller_that_leaves_ends_its_call(gateway: RunningGateway) -> None:
    with gateway.channel() as channel:
        call = agent_service_pb2_grpc.AgentServiceStub(channel).GetAgent.future(
            agent_service_pb2.GetAgentRequest(agent_id="slow"), metadata=gateway.credentials()
        )
        done = threading.Event()
        call.add_done_callback(lambda _: done.set())
        until(lambda: requests_under_way(gateway) == 1)
        call.cancel()
        until(lambda: requests_under_way(gateway) == 0)
        assert done.wait(20)


async def test_draining_lets_calls_end_and_takes_no_new_ones(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gateway.call, "POST", EXECUTE, {"input": "nap"})
        until(lambda: requests_under_way(gateway) == 1)
        await drain_gateway(gateway.admin_port, timeout_seconds=20)
        answer = waiting.result(timeout=0)
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        with pytest.raises(ConnectionError):
            gateway.call("GET", "/api/v1/agents/a")


async def test_draining_has_an_end(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gateway.call, "POST", EXECUTE, {"input": "wait"})
        until(lambda: requests_under_way(gateway) == 1)
        await drain_gateway(gateway.admin_port, timeout_seconds=0.1)
        assert not waiting.done()
        gateway.kill_upstreams()
        assert waiting.result(timeout=60).status == 503
