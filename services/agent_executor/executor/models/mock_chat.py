"""What mock Claude says when there is nothing to work out: short, friendly, and honest."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent_executor.executor.models.model import ToolSpecification

_PERSONA_CHARACTERS = 80
_QUOTE_CHARACTERS = 80
_SYSTEM_CHARACTERS = 2_000
_PERSONA = re.compile(r"\b(?:You are|I am)\s{1,3}([^.;:!?\n]{1,200}+)", re.IGNORECASE)
_WORD = re.compile(r"[a-z']++")
_GREETINGS = {"hello", "hi", "hey", "greetings", "morning", "afternoon", "evening"}
_THANKS = {"thanks", "thank", "thx", "cheers"}
_ABOUT_ITSELF = ("who are you", "what are you", "what can you", "your tools", "help")


def chat(text: str, system: str, tools: Sequence[ToolSpecification]) -> str:
    """An answer to a text that asks for no calculation, request or tool.

    Args:
        text: The task, as ``mock_language.attend`` gives it.
        system: The system prompt, from which it knows who it is.
        tools: The tools on offer.
    """
    who = f"I am {_persona(system)}"
    quote = _quote(text)
    if not quote:
        return f"Your message is empty. {who}. What can I do for you?"
    lowered = text.lower()
    words = _WORD.findall(lowered)
    if "test" in words or "testing" in words:
        return f'"{quote}" received. {who}, and everything works.'
    if words and words[0] in _THANKS:
        return "You are welcome!"
    if not _GREETINGS.isdisjoint(words[:2]):
        return f"Hello! {who}. How can I help you?"
    if any(phrase in lowered for phrase in _ABOUT_ITSELF):
        return f"{who}. {_abilities(tools)}"
    return f'You said: "{quote}". {who}, played offline by mock Claude. {_abilities(tools)}'


def _persona(system: str) -> str:
    """Who the system prompt says the model is, such as "Ada, a math expert"."""
    match = _PERSONA.search(system, 0, _SYSTEM_CHARACTERS)
    return match[1].strip()[:_PERSONA_CHARACTERS] if match else "an assistant"


def _abilities(tools: Sequence[ToolSpecification]) -> str:
    if not tools:
        return "I have no tools, but I can do simple arithmetic in my head."
    return f"I can do arithmetic and use these tools: {', '.join(tool.name for tool in tools)}."


def _quote(text: str) -> str:
    words = text[: 4 * _QUOTE_CHARACTERS].split()
    quote = " ".join(words)
    return quote if len(quote) <= _QUOTE_CHARACTERS else quote[: _QUOTE_CHARACTERS - 1] + "…"
