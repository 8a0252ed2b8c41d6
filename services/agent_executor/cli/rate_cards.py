"""`agent-executor rate-cards`: what models and tools cost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from agent_executor.cli.as_json import as_json as to_json
from agent_executor.cli.connection import (
    DEFAULT_URL,
    AsJson,
    Organization,
    Target,
    Url,
    connect,
    failures_told,
)
from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir
from agent_executor.cli.figures import output_console
from agent_executor.cli.pages import PAGE_ROWS, rows_of
from agent_executor.cli.rate_cards_report import RATES, show_card, show_cards, show_example
from agent_executor.cli.times import parse_time, parse_time_zone

MAX_CARDS = 10_000
_FEWEST_RATES = 2

app = typer.Typer(help="Shows and sets what models and tools cost.", no_args_is_help=True)


class Processing(StrEnum):
    """At which of a provider's prices a call is made."""

    STANDARD = "standard"
    BATCH = "batch"


class Speed(StrEnum):
    """In which of a provider's modes a call is made."""

    STANDARD = "standard"
    FAST = "fast"


_PER_MILLION = "in US dollars per million tokens"


@app.callback()
def rate_cards() -> None:
    """Show and set what models and tools cost."""


@app.command("list")
def list_cards(
    model: Annotated[str, typer.Option(help="Only this model's.")] = "",
    tool: Annotated[str, typer.Option(help="Only this tool's.")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show the organization's own prices, newest first. What has none is priced by the price list.

    For example:

        agent-executor rate-cards list --model claude-sonnet-5
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        cards = client.rate_cards.list(model=model, tool_name=tool, page_size=PAGE_ROWS)
        found = rows_of(cards, MAX_CARDS)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show_cards(found, output_console())


@app.command("set")
def set_card(  # noqa: PLR0913, PLR0917 -- a command's options are its parameters
    model: Annotated[str, typer.Option(help="The model, as agents name it.")] = "",
    rates: Annotated[
        str,
        typer.Option(
            metavar="INPUT:OUTPUT[:READ[:WRITE_5M[:WRITE_1H]]]",
            help=f"Its rates, {_PER_MILLION}: input, output, and input read from the cache, written "
            "to it for 5 minutes and for 1 hour. Left out, reading and writing cost as input does, "
            "and 1 hour as 5 minutes do.",
        ),
    ] = "",
    tier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOKENS:INPUT:OUTPUT[:…]",
            help="The rates of calls with more input tokens than that; repeatable.",
        ),
    ] = None,
    processing: Annotated[
        Processing, typer.Option(help="Whether it is the price of batches.")
    ] = Processing.STANDARD,
    speed: Annotated[Speed, typer.Option(help="Whether it is that of the fast mode.")] = (
        Speed.STANDARD
    ),
    tool: Annotated[str, typer.Option(help="The tool, instead of a model.")] = "",
    fee: Annotated[
        float | None, typer.Option(min=0, max=1_000, help="Its fee in US dollars per call.")
    ] = None,
    since: Annotated[str, typer.Option(help="From when on it holds. Default: now.")] = "",
    until: Annotated[str, typer.Option(help="Until when. Default: without end.")] = "",
    description: Annotated[str, typer.Option(help="Why it is set.")] = "",
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Set a price of the organization's own. It supersedes earlier ones; none is ever edited.

    For example:

        agent-executor rate-cards set --model claude-sonnet-5 --rates 1.6:8:0.16:2:3.2

        agent-executor rate-cards set --model our-llama --rates 0.2:0.2 --since 2026-11-01

        agent-executor rate-cards set --tool web_search --fee 0.01
    """
    _check_subject(model, rates, tool, fee)
    body: dict[str, Any] = {"description": description, **_validity(since, until)}
    if model:
        body |= {"model": model, "rates": parse_rates(rates, "--rates")}
        body["tiers"] = [_tier(each) for each in tier or []]
        body["processing"] = _word(processing)
        body["speed"] = _word(speed)
    else:
        body |= {"tool_name": tool, "fee_usd": fee}
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        card = to_json(client.rate_cards.create(**body))
    show_card(card, output_console())


@app.command()
def withdraw(
    card_id: Annotated[str, typer.Argument(help="The card's id, as `list` shows it.")],
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Withdraw a price of the organization's own. What was priced by it stays so.

    For example:

        agent-executor rate-cards withdraw organization/claude-sonnet-5@0123456789abcdef
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        client.rate_cards.withdraw(rate_card_id=card_id)
    typer.echo(f"{card_id} is withdrawn.")


@app.command()
def resolve(  # noqa: PLR0913, PLR0917 -- a command's options are its parameters
    model: Annotated[str, typer.Argument(help="The model.")],
    at: Annotated[str, typer.Option(help="When the call is made. Default: now.")] = "",
    processing: Annotated[
        Processing, typer.Option(help="Whether it is one of a batch.")
    ] = Processing.STANDARD,
    speed: Annotated[Speed, typer.Option(help="Whether it is in the fast mode.")] = (
        Speed.STANDARD
    ),
    input_tokens: Annotated[
        int, typer.Option(min=0, help="Of an example: input tokens, not cached.")
    ] = 0,
    output_tokens: Annotated[int, typer.Option(min=0, help="Of an example: output tokens.")] = 0,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show by which price a call is charged, and what an example costs.

    For example:

        agent-executor rate-cards resolve claude-sonnet-5 --input-tokens 12000 --output-tokens 800
    """
    moment = parse_time(at, parse_time_zone("UTC"), datetime.now(UTC), "--at") if at else None
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        resolved = client.rate_cards.resolve(
            model=model,
            time=moment,
            processing=_word(processing),
            speed=_word(speed),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )
        found = to_json(resolved)
    if as_json:
        typer.echo(json.dumps(found))
        return
    console = output_console()
    show_card(found["rate_card"], console)
    if input_tokens or output_tokens:
        show_example(found, input_tokens, output_tokens, console)


def parse_rates(text: str, option: str) -> dict[str, float]:
    """Returns rates as the API takes them.

    Raises:
        typer.BadParameter: They are none.
    """
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if not _FEWEST_RATES <= len(numbers) <= len(RATES) or not all(one >= 0 for one in numbers):
        msg = f"{text!r} are no rates; they look like 3:15 or 3:15:0.3:3.75:6."
        raise typer.BadParameter(msg, param_hint=option)
    return dict(zip(RATES, numbers, strict=False))


def _tier(text: str) -> dict[str, object]:
    tokens, _, rates = text.partition(":")
    if not tokens.isdecimal() or not rates:
        msg = f"{text!r} is no tier; it looks like 200000:6:22.5."
        raise typer.BadParameter(msg, param_hint="--tier")
    return {"above_input_tokens": int(tokens), "rates": parse_rates(rates, "--tier")}


def _word(chosen: Processing | Speed) -> str:
    """Returns a choice as the API names it: the standard is empty there."""
    return "" if chosen.value == "standard" else chosen.value


def _check_subject(model: str, rates: str, tool: str, fee: float | None) -> None:
    if bool(model) == bool(tool):
        raise typer.BadParameter("Name one of --model and --tool.", param_hint="--model")
    if model and not rates:
        raise typer.BadParameter("A model needs its rates.", param_hint="--rates")
    if tool and fee is None:
        raise typer.BadParameter("A tool needs its fee.", param_hint="--fee")


def _validity(since: str, until: str) -> dict[str, datetime]:
    zone, now = parse_time_zone("UTC"), datetime.now(UTC)
    times = {"valid_from": (since, "--since"), "valid_until": (until, "--until")}
    return {
        name: parse_time(text, zone, now, option) for name, (text, option) in times.items() if text
    }
