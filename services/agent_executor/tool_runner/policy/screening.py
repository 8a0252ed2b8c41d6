"""Looks at the arguments of a call for attacks on the programs behind the tool.

It is one more layer and not the only one: a tool that puts its arguments into SQL, a shell or a
page has to escape them all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

from agent_executor.errors import InvalidArgumentError
from agent_executor.tool_runner.policy.screening_forms import forms_of
from agent_executor.tool_runner.policy.screening_rules import RULES, is_smuggled_header

Mode: TypeAlias = Literal["block", "report", "off"]

ALL_TOOLS: Final = "*"
SCREENED_CHARACTERS_MAX: Final = 65_536
"""So much of a call's arguments is looked at; what comes after is reported as ``not_screened``."""
# What the rules take for a text however short it is, in characters of a longer one.
_JUDGING_CHARACTERS: Final = 32
NOT_SCREENED: Final = "not_screened"

_WITH_TEXTS: Final = (str, Mapping, list, tuple)
_KEY_SHOWN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
# What every rule wants at least one of: a text without any is looked at no further.
_REMARKABLE: Final = re.compile(
    r"[^\w\s.,!?:()+-]|[\x1c-\x1f]|\.\.|script|union|sleep|[\d)]\s*(?:or|and|order)\s",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        rule: A name of ``RULES``, or ``not_screened``.
        path: The argument, as in ``params.q[0]``; a key that is no plain name is shown as ``*``.
    """

    rule: str
    path: str


@dataclass(frozen=True, slots=True)
class ScreeningVerdict:
    """What became of a call's arguments.

    Attributes:
        blocked: Why the call must not be made; empty if it may.
        reported: What is worth a line in the audit log.
    """

    blocked: tuple[Finding, ...] = ()
    reported: tuple[Finding, ...] = ()


_NOTHING_FOUND: Final = ScreeningVerdict()
_Modes: TypeAlias = Mapping[str, Mode]


def _every_rule(mode: Mode, **others: Mode) -> _Modes:
    return MappingProxyType({**dict.fromkeys(RULES, mode), **others})


@dataclass(frozen=True, slots=True)
class _ToolModes:
    """The modes of a tool's rules: those of single arguments, and those of all others."""

    others: _Modes
    of_argument: Mapping[str, _Modes] = field(default_factory=dict)


_BLOCK: Final = _every_rule("block")
_REPORT: Final = _every_rule("report")
_OFF: Final = _every_rule("off")
_URL: Final = _every_rule(
    "report", sql_injection="block", path_traversal="block", control_characters="block"
)
DEFAULT_MODES: Final[Mapping[str, _ToolModes]] = MappingProxyType(
    {
        # It takes numbers and computes; there is nothing behind it to attack.
        "calculator": _ToolModes(_OFF),
        # People write to people about SQL and shells.
        "email": _ToolModes(_BLOCK, {"subject": _REPORT, "body": _REPORT}),
        "slack": _ToolModes(_BLOCK, {"text": _REPORT}),
        "http_request": _ToolModes(_REPORT, {"url": _URL, "params": _URL}),
        ALL_TOOLS: _ToolModes(_BLOCK),
    }
)


class ScreeningPolicy:
    """Which rules apply to which tool, and what follows.

    A rule in mode ``block`` refuses what is an attack beyond much doubt and reports what only
    looks like one; in ``report`` it reports both; in ``off`` it does not look.

    Without overrides every rule blocks, but for texts that a tool is given to pass on: the
    subject and body of ``email``, the text of ``slack``, the bodies and headers of
    ``http_request``. There they report. In its URL and parameters, the rules for SQL, paths and
    control characters block. For ``calculator`` they are off.

    Args:
        overrides: By tool, or ``*`` for every tool without an entry or a default of its own,
            either a mode for every rule or modes by rule. They hold for all its arguments.

    Raises:
        InvalidArgumentError: A mode or a rule is none.
    """

    def __init__(
        self, overrides: Mapping[str, Mode | Mapping[str, Mode]] = MappingProxyType({})
    ) -> None:
        self._modes = dict(DEFAULT_MODES)
        for tool_name, override in overrides.items():
            modes = _checked_modes(tool_name, override)
            defaults = self._modes.get(tool_name) or _ToolModes(_BLOCK)
            self._modes[tool_name] = _ToolModes(
                {**defaults.others, **modes},
                {name: {**given, **modes} for name, given in defaults.of_argument.items()},
            )

    def screen(self, tool_name: str, arguments: Mapping[str, Any]) -> ScreeningVerdict:
        """Looks at every text in a call's arguments, keys included.

        Args:
            tool_name: The tool that is called.
            arguments: As the tool would get them; within the caps on size and depth.
        """
        tool = self._modes.get(tool_name) or self._modes[ALL_TOOLS]
        if tool.others is _OFF:
            return _NOTHING_FOUND
        blocked: dict[Finding, None] = {}
        reported: dict[Finding, None] = {}
        left = SCREENED_CHARACTERS_MAX
        for argument, path, text in _texts(arguments):
            modes = tool.of_argument.get(argument, tool.others)
            looked_at = text[:left]
            left -= len(looked_at)
            if _REMARKABLE.search(looked_at):
                left = max(0, left - _JUDGING_CHARACTERS)
                for rule, is_attack in _hits(looked_at, modes):
                    found = blocked if is_attack and modes[rule] == "block" else reported
                    found[Finding(rule, path)] = None
            if len(looked_at) < len(text):
                reported[Finding(NOT_SCREENED, path)] = None
                break
        if not blocked and not reported:
            return _NOTHING_FOUND
        return ScreeningVerdict(tuple(blocked), tuple(reported))


def _hits(text: str, modes: _Modes) -> Iterator[tuple[str, bool]]:
    """Yields the rules that found something, each with whether it is an attack beyond doubt."""
    forms = forms_of(text)
    for rule, judge in RULES.items():
        if modes[rule] == "off":
            continue
        verdicts = {judge(form) for form in forms}
        if rule == "control_characters" and len(forms) > 1:
            verdicts.update(is_smuggled_header(text, form) for form in forms)
        if True in verdicts:
            yield rule, True
        elif None in verdicts:
            yield rule, False


def _texts(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields argument, path and text of all strings but empty ones, in the arguments' order."""
    # The names of the arguments themselves are the schema's business, if it has any.
    for name in arguments:
        if not _KEY_SHOWN.fullmatch(name):
            yield name, "*", name
    for name, value in arguments.items():
        for path, text in _texts_in(value, _shown(name)):
            yield name, path, text


def _texts_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yields path and text of all strings but empty ones in a value, which is capped in depth."""
    if isinstance(value, str):
        if value:
            yield path, value
    elif isinstance(value, Mapping):
        for key in value:
            if not _KEY_SHOWN.fullmatch(key):
                yield f"{path}.*", key
        for key, item in value.items():
            if isinstance(item, _WITH_TEXTS):
                yield from _texts_in(item, f"{path}.{_shown(key)}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, _WITH_TEXTS):
                yield from _texts_in(item, f"{path}[{index}]")


def _shown(key: str) -> str:
    # What the caller made up does not go into the audit log.
    return key if _KEY_SHOWN.fullmatch(key) else "*"


def _checked_modes(tool_name: str, override: object) -> dict[str, Mode]:
    modes = dict.fromkeys(RULES, override) if isinstance(override, str) else override
    if not isinstance(modes, Mapping):
        raise InvalidArgumentError(
            f'The screening of "{tool_name}" is a mode, or an object of modes by rule.'
        )
    for rule, mode in modes.items():
        if rule not in RULES:
            raise InvalidArgumentError(
                f'The screening of "{tool_name}" names the rule "{rule}"; the rules are '
                f"{', '.join(RULES)}."
            )
        if mode not in get_args(Mode):
            raise InvalidArgumentError(
                f'The screening of "{tool_name}" is {", ".join(get_args(Mode)[:-1])} or '
                f"{get_args(Mode)[-1]}."
            )
    return {str(rule): mode for rule, mode in modes.items()}
