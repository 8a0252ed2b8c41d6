"""Ids, page tokens and what an agent says of itself."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.agents.agent import AgentVersion, CustomTool
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.money import nano_usd_of, usd_of
from agent_executor.executor.paging import (
    DEFAULT_PAGE_SIZE,
    decode_page_token,
    encode_page_token,
    page_size_of,
)
from agent_executor.executor.settings import ExecutorSettings


def test_ids_are_version_7_and_differ() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == len(ids)
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}


def test_a_later_id_sorts_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000_000)
    first = new_id()
    monkeypatch.setattr("time.time_ns", lambda: 1_001_000_000)
    assert first < new_id()


@given(st.uuids())
def test_a_page_token_holds_its_id_and_does_not_show_it(last: uuid.UUID) -> None:
    token = encode_page_token(str(last))
    assert str(last) not in token
    assert decode_page_token(token) == str(last)


@given(st.text())
def test_a_foreign_page_token_is_refused_or_names_an_id(token: str) -> None:
    try:
        decoded = decode_page_token(token)
    except InvalidArgumentError as error:
        assert error.field_violations[0][0] == "page_token"  # noqa: PT017 -- most texts are refused, not all
    else:
        assert decoded in ("", str(uuid.UUID(decoded or "0" * 32)))


def test_page_size_zero_asks_for_the_default() -> None:
    assert (page_size_of(0), page_size_of(7)) == (DEFAULT_PAGE_SIZE, 7)


def agent(**fields: object) -> AgentVersion:
    return AgentVersion("id", "acme", 1, "Ada", 0, 0, **fields)  # type: ignore[arg-type]  # fields by name


def test_a_tool_is_enabled_only_where_nothing_switches_it_off() -> None:
    named = agent(
        tools={"calculator": True, "slack": False, "mine": True, "off": False},
        custom_tools={
            "mine": CustomTool("Mine", enabled=False),
            "off": CustomTool("Off"),
            "own": CustomTool("Own"),
        },
    )
    assert named.enabled_tools() == ("calculator", "own")
    assert set(named.named_tools()) == {"calculator", "slack", "mine", "off", "own"}


def test_an_agent_fixes_only_the_versions_that_it_names() -> None:
    pinned = agent(
        custom_tools={"mine": CustomTool("Mine", version="ab"), "own": CustomTool("Own")}
    )
    assert pinned.pinned_versions() == {"mine": "ab"}


def test_the_system_prompt_says_role_and_instructions() -> None:
    assert agent().system_prompt() == ""
    assert agent(role="math expert", instructions="Calculate.").system_prompt() == (
        "You are Ada, a math expert.\n\nCalculate."
    )


def test_a_lease_must_outlive_its_renewal() -> None:
    with pytest.raises(ValidationError, match="lease_renewal_seconds"):
        ExecutorSettings(lease_seconds=1.0, lease_renewal_seconds=1.0)


@pytest.mark.parametrize(
    ("usd", "nano_usd"),
    [(0, 0), (0.1, 100_000_000), (1e-10, 1), (0.0016150000000000001, 1_615_000), (9e6, 9 * 10**15)],
)
def test_dollars_are_read_exactly_and_no_limit_becomes_none(usd: float, nano_usd: int) -> None:
    assert nano_usd_of(usd, "max_cost_usd") == nano_usd


@pytest.mark.parametrize("usd", [-0.1, 9_000_000.1, math.nan, math.inf, True, "1"])
def test_dollars_that_no_limit_can_be_are_refused(usd: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="max_cost_usd"):
        nano_usd_of(usd, "max_cost_usd")


@given(st.integers(0, 9 * 10**15))
def test_a_limit_that_is_shown_can_be_sent_back(nano_usd: int) -> None:
    # A double holds every nano-dollar up to about 9 million dollars, here nearly so.
    assert abs(nano_usd_of(usd_of(nano_usd), "max_cost_usd") - nano_usd) <= 1
