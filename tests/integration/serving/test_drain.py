"""A service's process from the outside: signals, exit codes, and what it prints."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.serving.sample_service import (
    BROKEN_FILE,
    READY_FILE,
    SECRET,
    SERVICE,
    asking,
)
from tests.unit.serving.tokens import Issuer

ROOT = Path(__file__).resolve().parents[3]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Process:
    """The sample as a process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, data_dir: Path) -> None:
        self.process = process
        self.port = port
        self.data_dir = data_dir

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> tuple[int, str, str]:
        """Waits for the end; returns the exit code and what was printed."""
        out, err = await asyncio.wait_for(self.process.communicate(), 30)
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()

    async def waits(self) -> None:
        """Waits until the sample's handler waits."""
        async with asyncio.timeout(60):
            while not (self.data_dir / READY_FILE).exists():  # noqa: ASYNC110 -- nothing tells of it
                await asyncio.sleep(0.01)


async def launch(data_dir: Path, port: int, *settings: str) -> Process:
    """Starts the sample."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.serving.sample_service"),
        *(f"data_dir={data_dir}", f"grpc_port={port}", *settings),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return Process(process, port, data_dir)


def free_port() -> int:
    """Returns a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(data_dir: Path, *settings: str) -> AsyncIterator[tuple[Process, Any]]:
    """Starts the sample and yields it with a channel once it serves."""
    sample = await launch(data_dir, free_port(), *settings)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{sample.port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=60, wait_for_ready=True
            )
            assert answer.status == SERVING
            yield sample, channel
    finally:
        if sample.process.returncode is None:
            sample.process.kill()
            await sample.process.wait()


def unary(channel: Any, issuer: Issuer, model: str) -> Any:
    """Begins a call of the sample's unary RPC."""
    call = channel.unary_unary(f"/{SERVICE}/Unary", response_deserializer=StringValue.FromString)
    metadata = (("authorization", issuer.bearer()),)
    return call(asking(model).SerializeToString(), metadata=metadata, timeout=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_told_service_finishes_its_calls_and_exits_with_zero(
    data_dir: Path, issuer: Issuer, number: signal.Signals
) -> None:
    async with serving(data_dir, "drain_seconds=0.1") as (sample, channel):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=60)
        assert (await watch.read()).status == SERVING
        answer = unary(channel, issuer, "wait")
        await sample.waits()
        sample.tell(number)
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
        assert (await answer).value == "organization-1/user-1"
        code, out, err = await sample.ended()
    assert code == 0
    assert out == ""
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events[-2:] == ["stopping", "stopped"]


async def test_a_second_signal_ends_it_at_once(data_dir: Path, issuer: Issuer) -> None:
    async with serving(data_dir, "shutdown_grace_seconds=60") as (sample, channel):
        answer = unary(channel, issuer, "wait long")
        await sample.waits()
        sample.tell(signal.SIGTERM)
        assert sample.process.stderr is not None
        async with asyncio.timeout(60):
            while b"stopping" not in await sample.process.stderr.readline():
                pass
        sample.tell(signal.SIGTERM)
        code, _, _ = await sample.ended()
        with pytest.raises(grpc.aio.AioRpcError):
            await answer
    assert code == 128 + signal.SIGTERM


async def test_a_taken_port_is_one_sentence_and_exit_code_one(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sample = await launch(data_dir, port)
        code, out, err = await sample.ended()
    assert code == 1
    assert out == ""
    assert err == f"sample: gRPC cannot be served on 127.0.0.1:{port}: Address already in use.\n"


async def test_a_missing_key_is_one_sentence_and_exit_code_one(data_dir: Path) -> None:
    key = data_dir / "keys" / "service.key"
    key.unlink()
    sample = await launch(data_dir, 0)
    code, _, err = await sample.ended()
    assert code == 1
    assert err == f"sample: The service key {key} cannot be read: No such file or directory.\n"


async def test_a_service_that_breaks_while_starting_says_why_in_its_log(data_dir: Path) -> None:
    (data_dir / BROKEN_FILE).touch()
    sample = await launch(data_dir, 0)
    code, out, err = await sample.ended()
    assert code == 1
    assert out == ""
    event = json.loads(err.splitlines()[-1])
    assert event["event"] == "the service broke"
    assert "cannot log in with [redacted]" in event["exception"]
    assert SECRET not in err


async def test_what_a_call_breaks_is_in_the_log_and_not_in_the_answer(
    data_dir: Path, issuer: Issuer
) -> None:
    async with serving(data_dir) as (sample, channel):
        with pytest.raises(grpc.aio.AioRpcError) as broken:
            await unary(channel, issuer, "fail")
        sample.tell(signal.SIGTERM)
        code, _, err = await sample.ended()
    assert code == 0
    assert "RuntimeError" not in str(broken.value)
    (event,) = (event for event in map(json.loads, err.splitlines()) if event["level"] == "error")
    assert event["event"] == f"unexpected error in /{SERVICE}/Unary"
    assert event["organization_id"] == "organization-1"
    assert event["service"] == "sample"
    assert "RuntimeError" in event["exception"]
