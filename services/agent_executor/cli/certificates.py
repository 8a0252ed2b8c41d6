"""`agent-executor certificates`: issues the certificates of the platform's processes."""

from __future__ import annotations

from typing import Annotated

import typer

from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir

_DEFAULT_DAYS = 365


def certificates(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    host: Annotated[
        list[str] | None,
        typer.Option(help="A name or address that services are called by; repeatable."),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=825, help="How long they are valid, in days.")
    ] = _DEFAULT_DAYS,
) -> None:
    """Issue certificates for mutual TLS between the processes, and print the folder they are in.

    The authority, `ca.pem` and `ca.key`, is made at the first time and kept; every process gets a
    new key and certificate, which running services take up by themselves.

    For example:

        agent-executor certificates --host '*.agents.svc.cluster.local' --days 90
    """
    # Imported here so that the other commands start quickly.
    from agent_executor.cli.certificate_authority import issue_certificates

    try:
        folder = issue_certificates(data_dir, hosts=host or (), days=days)
    except (OSError, ValueError) as error:
        typer.echo(f"agent-executor: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(folder)
