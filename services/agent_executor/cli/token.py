"""`agent-executor token`: prints a bearer token of the local issuer."""

from __future__ import annotations

from typing import Annotated

import typer

from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir
from agent_executor.cli.issuer import TokenClaims, issue_token
from agent_executor.cli.keys import ensure_keys

DEFAULT_CLAIMS = TokenClaims()


def token(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Annotated[
        str, typer.Option(help="The organization whose resources it opens.")
    ] = DEFAULT_CLAIMS.organization,
    user: Annotated[str, typer.Option(help="The user it speaks for.")] = DEFAULT_CLAIMS.user,
    permission: Annotated[
        list[str] | None,
        typer.Option(help="What it permits, for example run:execute; repeatable. Default: all."),
    ] = None,
    ttl: Annotated[
        int, typer.Option(min=1, help="How long it is valid, in seconds.")
    ] = DEFAULT_CLAIMS.ttl_seconds,
) -> None:
    """Print a bearer token, and nothing else.

    The keys are made if this is the first use of the data folder.

    For example:

        curl -H "authorization: Bearer $(agent-executor token)" http://127.0.0.1:8080/api/v1/agents

        agent-executor token --organization acme --user ada --permission run:execute --ttl 600
    """
    claims = TokenClaims(
        organization=organization,
        user=user,
        permissions=tuple(permission or DEFAULT_CLAIMS.permissions),
        ttl_seconds=ttl,
    )
    typer.echo(issue_token(ensure_keys(data_dir).issuer.read_bytes(), claims))
