from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.web.mcp.tool_names import NAME_MAX_LENGTH, agent_id_of, tool_name

AGENT_ID = "01a22270-382e-7b2d-a3d0-57a66a75734b"


@pytest.mark.parametrize(
    ("agent_name", "words"),
    [
        ("Math Expert!", "math_expert"),
        ("  Über-Größe  ", "uber_gro_e"),
        ("数学", "agent"),
        ("__", "agent"),
        ("a" * 200, "a" * 31),
        ("a" * 30 + " b", "a" * 30),
    ],
)
def test_a_name_begins_with_the_agents_words(agent_name: str, words: str) -> None:
    assert tool_name(agent_name, AGENT_ID) == f"{words}_{AGENT_ID.replace('-', '')}"


@given(st.text(max_size=200), st.uuids())
def test_every_name_is_allowed_everywhere_and_leads_back(name: str, agent_id: uuid.UUID) -> None:
    found = tool_name(name, str(agent_id))
    assert re.fullmatch(f"[a-z0-9_]{{1,{NAME_MAX_LENGTH}}}", found)
    assert agent_id_of(found) == str(agent_id)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "get_run",
        "cancel_run",
        AGENT_ID.replace("-", ""),
        f"math_{AGENT_ID}",
        "x_" + "g" * 32,
        f"math_{AGENT_ID.replace('-', '')}\n",
        f"math {AGENT_ID.replace('-', '')}",
    ],
)
def test_other_names_are_no_agents(name: str) -> None:
    assert agent_id_of(name) is None
