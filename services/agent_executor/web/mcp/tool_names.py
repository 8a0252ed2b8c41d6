"""The name of the tool that an agent is.

It begins with the agent's name, for people and models, and ends with its id, by which it is found.
So it is unique, and a name that a client has kept still leads to the agent after it was renamed.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# What the strictest of the models' providers allow: letters, digits, "_" and "-", 64 in all.
NAME_MAX_LENGTH: Final = 64
_ID_LENGTH: Final = 32
_WORDS_MAX_LENGTH: Final = NAME_MAX_LENGTH - _ID_LENGTH - 1
_NO_WORDS: Final = "agent"

_NO_WORD: Final = re.compile("[^a-z0-9]+")
_NAME: Final = re.compile(
    r"\A[A-Za-z0-9_]+_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})\Z"
)


def tool_name(agent_name: str, agent_id: str) -> str:
    """Returns the name of the tool that an agent is, at most 64 characters of ``a-z0-9_``.

    Args:
        agent_name: What people call the agent.
        agent_id: The agent's id, a UUID.
    """
    letters = unicodedata.normalize("NFKD", agent_name)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = _NO_WORD.sub("_", plain.lower()).strip("_")[:_WORDS_MAX_LENGTH].strip("_")
    return f"{words or _NO_WORDS}_{agent_id.replace('-', '')}"


def agent_id_of(name: str) -> str | None:
    """Returns the id of the agent that a tool is, or None if no agent's tool has such a name."""
    found = _NAME.match(name)
    return "-".join(found.groups()) if found else None
