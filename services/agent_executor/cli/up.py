"""`agent-executor up`: runs the platform in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir
from agent_executor.cli.ports import PlatformPorts

DEFAULT_PORTS = PlatformPorts()
MAX_REPLICAS = 64


def up(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    http_port: Annotated[
        int, typer.Option(help="The port for callers: REST and gRPC.")
    ] = DEFAULT_PORTS.http,
    grpc_port_base: Annotated[
        int, typer.Option(help="The executor's gRPC port; the others follow it.")
    ] = DEFAULT_PORTS.grpc_base,
    metrics_port_base: Annotated[
        int, typer.Option(help="The executor's metrics port; the others follow it.")
    ] = DEFAULT_PORTS.metrics_base,
    workers: Annotated[
        int, typer.Option(min=1, max=MAX_REPLICAS, help="How many executors there are.")
    ] = 1,
    tool_runners: Annotated[
        int,
        typer.Option(
            min=1, max=MAX_REPLICAS, help="How many tool-runners; several need PostgreSQL."
        ),
    ] = 1,
    ledgers: Annotated[
        int,
        typer.Option(min=1, max=MAX_REPLICAS, help="How many ledgers; several need PostgreSQL."),
    ] = 1,
    tls: Annotated[
        bool, typer.Option("--tls", help="Have the processes talk to each other over mutual TLS.")
    ] = False,
) -> None:
    """Run the gateway and the three services on this machine, in the foreground.

    It prints one line, `ready http://127.0.0.1:8080`, when a request would succeed; everything else
    goes to standard error. A process that dies is started again. SIGINT and SIGTERM stop it cleanly,
    and a second one kills it. Further settings are read from the environment and from `.env`.

    For example:

        agent-executor up

        agent-executor up --data-dir /var/lib/agent-executor --http-port 9000 --workers 4

        agent-executor up --tls

        DATABASE_URL=postgresql://... agent-executor up --workers 2 --tool-runners 2 --ledgers 2
    """
    ports = PlatformPorts(
        http=http_port,
        grpc_base=grpc_port_base,
        metrics_base=metrics_port_base,
        executors=workers,
        tool_runners=tool_runners,
        ledgers=ledgers,
    )
    # Imported here so that the other commands start quickly.
    from agent_executor.cli.foreground import run_in_foreground

    raise typer.Exit(run_in_foreground(data_dir, ports, tls=tls))
