"""`agent-executor mock-claude`: mock Claude over HTTP, in the formats of two APIs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Annotated

import typer

from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.mock_http.api import MockApi
from agent_executor.executor.models.mock_http.faults import (
    Fault,
    FaultNameError,
    FaultPlan,
    fault_named,
)
from agent_executor.executor.models.mock_http.server import HttpServer

_FAULTS = ", ".join(Fault)


def mock_claude(  # noqa: PLR0913, PLR0917 -- a command's options are its parameters
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where to listen; 0 takes a free port.")
    ] = 8787,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help=f"NAME=SHARE: how many of the calls go wrong, from 0 to 1. Names: {_FAULTS}."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the faults' chance.")] = 0,
    retry_after_seconds: Annotated[
        float, typer.Option(min=0, help="What 429 and 529 tell the caller.")
    ] = 1.0,
    latency_seconds: Annotated[
        float, typer.Option(min=0, help="How long every call takes before it answers.")
    ] = 0.0,
    token_delay_seconds: Annotated[
        float, typer.Option(min=0, help="How long a stream waits before each piece.")
    ] = 0.0,
    batch_seconds: Annotated[
        float, typer.Option(min=0, help="How long a message batch takes.")
    ] = 2.0,
    api_key: Annotated[
        str, typer.Option(help="The only key that is accepted. Default: every key is.")
    ] = "",
) -> None:
    """Serve mock Claude over HTTP, for the SDK of any language and for tests.

    It speaks Anthropic's Messages API, message batches included, and OpenAI's Chat Completions API.

    A request chooses its fault by the header `x-mock-fault: NAME`; `GET /mock/calls` counts what
    would have been billed. To run the platform on it:

        agent-executor mock-claude --port 8787

        EXECUTOR_MODEL_PROVIDER=anthropic ANTHROPIC_API_KEY=any
        ANTHROPIC_BASE_URL=http://127.0.0.1:8787
        EXECUTOR_EGRESS_ALLOWED_CIDRS='["127.0.0.1/32"]' agent-executor up

    or with EXECUTOR_MODEL_PROVIDER=openai and OPENAI_BASE_URL=http://127.0.0.1:8787/v1.
    """
    plan = FaultPlan(_rates(fault or []), seed, retry_after_seconds)
    api = MockApi(
        MockClaude(latency_seconds=latency_seconds),
        plan,
        api_key=api_key,
        token_delay_seconds=token_delay_seconds,
        batch_seconds=batch_seconds,
    )
    try:
        asyncio.run(_serve(HttpServer(api.handle), host, port))
    except OSError as error:
        typer.echo(f"Cannot listen on {host}:{port}: {error.strerror}.", err=True)
        raise typer.Exit(1) from None


async def _serve(server: HttpServer, host: str, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    port = await server.start(host, port)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        typer.echo(f"ready http://{host}:{port}")
        await stopped.wait()


def _rates(options: list[str]) -> dict[Fault, float]:
    rates: dict[Fault, float] = {}
    for option in options:
        name, _, share = option.partition("=")
        try:
            rates[fault_named(name)] = float(share)
        except FaultNameError as error:
            raise typer.BadParameter(str(error), param_hint="--fault") from None
        except ValueError:
            raise typer.BadParameter(
                f'"{option}" is not NAME=SHARE.', param_hint="--fault"
            ) from None
    if not all(0 <= rate <= 1 for rate in rates.values()) or sum(rates.values()) > 1:
        raise typer.BadParameter("The shares are from 0 to 1, and at most 1 together.")
    return rates
