from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from agent_executor.cli.ports import PlatformPorts, PortError, free_port, free_ports


def test_free_ports_can_be_had() -> None:
    ports = free_ports(executors=3)
    ports.check("127.0.0.1")
    assert ports.executor_offsets() == [0, 5, 6]


@pytest.mark.parametrize(
    ("field", "offset", "option"),
    [
        ("http", 0, "--http-port"),
        ("grpc_base", 0, "--grpc-port-base"),
        ("grpc_base", 2, "--grpc-port-base"),
        ("grpc_base", 4, "--grpc-port-base"),
        ("grpc_base", 5, "--grpc-port-base"),
        ("metrics_base", 1, "--metrics-port-base"),
        ("metrics_base", 3, "--metrics-port-base"),
    ],
)
def test_a_taken_port_is_named_with_its_option(field: str, offset: int, option: str) -> None:
    ports = free_ports(executors=2)
    port = getattr(ports, field) + offset
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortError) as caught:
        ports.check("127.0.0.1")
    assert str(caught.value) == f"Port {port} is taken; choose another with {option}."


def test_a_port_that_was_just_closed_is_free() -> None:
    with socket.socket() as server:
        # As every server of the platform does.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
    replace(free_ports(), http=port).check("127.0.0.1")


def test_ports_that_do_not_exist_are_refused() -> None:
    with pytest.raises(
        PortError, match="no port 65536; choose a lower one with --metrics-port-base"
    ):
        replace(free_ports(), metrics_base=65536).check("127.0.0.1")


def test_each_replica_has_its_own_ports() -> None:
    ports = free_ports(executors=2, tool_runners=3, ledgers=2)
    ports.check("127.0.0.1")
    assert ports.executor_offsets() == [0, 5]
    assert ports.tool_runner_offsets() == [1, 6, 7]
    assert ports.ledger_offsets() == [2, 8]
    assert ports.span == 9


def test_defaults_are_the_documented_ones() -> None:
    assert PlatformPorts() == PlatformPorts(
        http=8080, grpc_base=50051, metrics_base=9464, executors=1
    )
    assert PlatformPorts().gateway_admin == 9467


def test_a_free_port_is_free() -> None:
    port = free_port()
    with socket.socket() as socket_:
        socket_.bind(("127.0.0.1", port))
