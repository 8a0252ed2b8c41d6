"""Finds the e-mails and Slack messages that a text asks mock Claude to send.

What is quoted is taken as it stands. Without quotes a text that follows its receiver goes to the
end of the line, and one that precedes it up to the receiver.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from agent_executor.executor.models.mock_goals import EMAIL, SLACK, Found, Goal, Remark, ToolUse

MESSAGES_MAX = 32
_SUBJECT_CHARACTERS = 60  # Of a subject that is made from the text.

_ADDRESS = r"[\w.+-]{1,64}+@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
_RECEIVER = re.compile(
    r"\b(?:(?:to|e-?mail|mail)\s{1,3}(?:[\w.]{1,30}\s{1,3}){0,2}"
    r"|(?:in|on|into|send|tell|notify|write)\s{1,3}(?:the\s)?(?:channel\s)?)[<(]?"
    rf"(?:(?P<address>{_ADDRESS})|(?P<channel>\#[a-z0-9][\w-]{{0,79}}))[>)]?"
    r"(?:\s(?:on|in|via)\sslack\b)?",
    re.IGNORECASE,
)
_ANOTHER_ADDRESS = re.compile(rf"\s{{0,3}}(?:,|\band\b|,\s?and\b)\s{{1,3}}({_ADDRESS})")
_VERBS = r"\b(?:send|write|post|share|say|tell|notify|e-?mail|mail)\b(?!\stool\b)"
_VERB = re.compile(_VERBS, re.IGNORECASE)
_SENTENCE_WITH_VERB = re.compile(
    rf"(?:^|[.!?\n]\s{{0,3}})(?:(?:please|then|now)\s){{0,2}}(?={_VERBS})", re.IGNORECASE
)
_QUOTED = re.compile(
    r"\"([^\"]{0,1000}+)\"|“([^”]{0,1000}+)”|(?<!\w)'((?:[^'\n]|'(?=\w)){0,300}+)'(?!\w)"
)
_SUBJECT = re.compile(
    r"\b(?:(?:with|and)\s(?:the\s|a\s)?)?subject\b(?:\s(?:line|is)\b)?\s?[:=]?\s{0,3}",
    re.IGNORECASE,
)
_TEXT = re.compile(
    r"\b(?:saying|that\ssays)\b(?:\sthat\b)?\s?[:=]?\s{0,3}"
    r"|\b(?:with|and)\s(?:the\s|a\s)?(?:body|text|message|content)\b\s?[:=]?\s{0,3}"
    r"|\b(?:body|text|message|content)\s?(?:[:=]\s{0,3}|(?=[\"“]))",
    re.IGNORECASE,
)
_AFTER_RECEIVER = re.compile(r"\s?(?::|that\b)\s{0,3}", re.IGNORECASE)
_THREAD = re.compile(r"\bthread(?:_ts)?\b\D{0,12}([0-9]{6,12}\.[0-9]{1,8})", re.IGNORECASE)
# What stands between the verb and the receiver without being the text.
_FILLER = re.compile(
    r"\s{0,3}(?:(?:a|an|the|this|my)\s)?(?:(?:short|new|slack)\s)?"
    r"(?:(?:message|note|text|e-?mail|mail)\b)?\s{0,3}(?:,|with\b|and\b)?\s{0,3}:?\s{0,3}",
    re.IGNORECASE,
)


class _Value(NamedTuple):
    """A part of a message, and where it stands with the words that introduce it."""

    text: str
    start: int
    end: int


def find_messages(text: str, names: Collection[str]) -> Iterator[Found]:
    """The messages that a text asks to send, in its order, one per receiver.

    Args:
        text: The task, as ``mock_language.attend`` gives it, without its HTTP requests.
        names: The tools on offer. Without the tool a message is declined.
    """
    if "@" not in text and "#" not in text:
        return
    # Quoted text holds no receivers and no keywords.
    masked = _QUOTED.sub(lambda quoted: f'"{" " * (len(quoted[0]) - 2)}"', text)
    lowered = masked.lower()
    position = 0
    for receiver in itertools.islice(_RECEIVER.finditer(masked), MESSAGES_MAX):
        tool, word = (EMAIL, "mail") if receiver["address"] else (SLACK, "slack")
        start = _start(masked, position, receiver)
        is_meant = tool in names or word in lowered
        if receiver.start() < position or start is None or not is_meant:
            continue
        goals, position = _read(text, masked, start, receiver)
        if tool not in names:
            goals = [Remark(_no_tool(receiver))]
        for goal in goals:
            yield Found(goal, start, position)


def _no_tool(receiver: re.Match[str]) -> str:
    if receiver["address"]:
        return f"I have no tool for e-mail, so I cannot write to {receiver['address']}"
    return f"I have no tool for Slack, so I cannot post to {receiver['channel']}"


def _start(masked: str, position: int, receiver: re.Match[str]) -> int | None:
    """Where the request for a message begins: at its verb, or None if it has none."""
    until = max(receiver.start("address"), receiver.start("channel"))
    for sentence in _SENTENCE_WITH_VERB.finditer(masked, position, until):
        position = sentence.end()
    verb = _VERB.search(masked, position, until)
    return verb.start() if verb else None


def _read(text: str, masked: str, start: int, receiver: re.Match[str]) -> tuple[list[Goal], int]:
    """The messages to one receiver, or to several addresses in a row, and where they end."""
    receivers, after = [receiver["address"] or receiver["channel"]], receiver.end()
    while receiver["address"] and (another := _ANOTHER_ADDRESS.match(masked, after)):
        receivers.append(another[1])
        after = another.end()
    line_end = masked.find("\n", after)
    verb = _VERB.match(masked, start)
    before = (verb.end() if verb else start, receiver.start())
    regions = (before, (after, line_end if line_end >= 0 else len(text)))
    subject = _keyword_value(_SUBJECT, text, masked, regions) if receiver["address"] else None
    if subject is not None:
        masked = _blank(masked, subject)
    body = _body(text, masked, before, regions)
    end = max([after, *(part.end for part in (subject, body) if part is not None)])
    if body is None or not body.text:
        return [Remark(f"What shall I write to {' and '.join(receivers)}?")], end
    if receiver["channel"]:
        arguments: dict[str, Any] = {"channel": receivers[0], "text": body.text}
        thread = _THREAD.search(masked, start, regions[1][1])
        if thread is not None:
            arguments["thread_ts"] = thread[1]
            end = max(end, thread.end())
        return [ToolUse(SLACK, arguments)], end
    title = subject.text if subject is not None else _title(body.text)
    message = {"subject": title, "body": body.text}
    return [ToolUse(EMAIL, {"to": address} | message) for address in receivers], end


def _body(
    text: str, masked: str, before: tuple[int, int], regions: tuple[tuple[int, int], ...]
) -> _Value | None:
    named = _keyword_value(_TEXT, text, masked, regions)
    if named is not None:
        return named
    after, until = regions[-1]
    introduced = _AFTER_RECEIVER.match(masked, after, until)
    if introduced is not None:
        return _value(text, masked, introduced, until)
    filler = _FILLER.match(masked, *before) if before[0] < before[1] else None
    if filler is not None and masked[filler.end() : before[1]].strip():
        return _value(text, masked, filler, before[1])
    return None


def _keyword_value(
    keyword: re.Pattern[str], text: str, masked: str, regions: tuple[tuple[int, int], ...]
) -> _Value | None:
    """The first value that a keyword introduces."""
    for start, until in regions:
        found = keyword.search(masked, start, until) if start < until else None
        if found is not None:
            return _value(text, masked, found, until)
    return None


def _value(text: str, masked: str, introduction: re.Match[str], until: int) -> _Value:
    """What follows: a quoted text, or all up to what introduces another value."""
    at = introduction.end()
    quoted = _QUOTED.match(text, at)
    if quoted is None and introduction.re is _FILLER:
        # "Post the words "so be it" to #general": what is quoted is meant.
        quoted = _QUOTED.search(text, at, until)
    if quoted is not None:
        inner = next(group for group in quoted.groups() if group is not None)
        return _Value(inner.strip(), introduction.start(), quoted.end())
    for other in (_SUBJECT, _TEXT, _THREAD):
        following = other.search(masked, at, until) if other is not introduction.re else None
        until = following.start() if following is not None else until
    value = text[at:until].strip().rstrip(",;")
    if introduction.re is _SUBJECT:
        value = value.rstrip(".")
    return _Value(value, introduction.start(), until)


def _blank(masked: str, part: _Value) -> str:
    return masked[: part.start] + " " * (part.end - part.start) + masked[part.end :]


def _title(body: str) -> str:
    """A subject for an e-mail that was given none: how its text begins."""
    line = body.splitlines()[0]
    return line if len(line) <= _SUBJECT_CHARACTERS else f"{line[: _SUBJECT_CHARACTERS - 1]}…"
