"""Tells SQL that breaks out of a value from SQL that somebody writes about."""

from __future__ import annotations

import re
from typing import Final

from agent_executor.tool_runner.screening_forms import as_sql

# How far before a keyword it is looked at whether a value ends there.
_PREFIX_CHARACTERS_MAX: Final = 80
# So many places are looked at; one attack is enough.
_PLACES_MAX: Final = 64

_TRIGGER: Final = re.compile(r"['\"`;=<>#]|--|/\*|union|sleep|benchmark|waitfor|order by")
_LITERAL: Final = r"(?:'[^']{0,40}'?|\"[^\"]{0,40}\"?|-?\d{1,20}(?:\.\d{1,20})?|true|false|null)"
_COMPARISON: Final = (
    r"(?:<=>|<>|!=|<=|>=|=|<|>|\blike\b|\brlike\b|\bregexp\b|\bin ?\(|\bbetween\b|\bis\b)"
)
_FUNCTION: Final = (
    r"(?:ascii|substr|substring|mid|length|char|chr|exists|extractvalue|updatexml|convert|cast|"
    r"count|user|database|version|if|sleep|benchmark|pg_sleep|row|randomblob) ?\("
)
_LINE_END: Final = r"[ )]*(?:;|--|#|/\*|$)"
_NAME: Final = r"[\w.`\"\[\]]{1,64}"

# What stands behind "or" in an attack; what it is compared with does not matter.
_AFTER_QUOTE: Final = re.compile(
    rf"[ (]*(?:not\b[ (]*)?(?:{_LITERAL}[ )]*(?:{_COMPARISON}|--|#|/\*|$)|{_FUNCTION}|select\b"
    rf"|\(select\b|[a-z_][\w.]{{0,40}} ?{_COMPARISON})"
)
_AFTER_NUMBER: Final = re.compile(
    rf"[ (]*(?:not\b[ (]*)?(?:-?\d{{1,20}}[ )]*(?:=|<|>|<>|!=) ?\(?-?\d|'([^']{{0,40}})' ?= ?'\1"
    rf"|true{_LINE_END}|{_FUNCTION}|\(?select\b)"
)
_BOOLEAN: Final = re.compile(r"\b(?:or|and|xor)\b|\|\||&&")
_UNION: Final = re.compile(
    r"\bunion\b[ (]*(?:all\b|distinct\b)?[ (]*select\b"
    r"[ (]*(?:null\b|-?\d|\*|@@|'|\"|0x|[a-z_]\w{0,40} ?\(|[\w.]{1,64} ?,|[\w.*]{1,64} from\b)"
)
_STACKED: Final = re.compile(
    rf";[; ]*(?:drop (?:table|database|schema|view|index|user|column|procedure|function) "
    rf"(?:if exists )?{_NAME}(?: cascade)?{_LINE_END}"
    rf"|delete from {_NAME}(?: where\b|{_LINE_END})"
    rf"|truncate (?:table )?{_NAME}{_LINE_END}"
    rf"|update {_NAME} set {_NAME} ?="
    rf"|insert into {_NAME} ?(?:\(|values\b|select\b)"
    rf"|alter (?:table|user|login|role) {_NAME} "
    rf"|create (?:table|user|login|role|function|procedure) {_NAME}"
    rf"|grant [\w, ]{{1,64}} (?:on|to) "
    rf"|exec(?:ute)? ?(?:\(|master|xp_|sp_|immediate\b)"
    rf"|declare @|copy {_NAME} (?:from|to)\b"
    rf"|shutdown\b(?: with\b|{_LINE_END})|select (?:pg_sleep|sleep|load_file|[\w*]{{1,64}} from\b))"
)
_CLAUSE: Final = re.compile(
    rf"\b(?:order by \d{{1,4}}|group by [\w., ]{{1,64}}|having [\w ]{{1,20}}[=<>][\w ']{{1,20}}"
    rf"|limit \d{{1,9}}(?:,\d{{1,9}})?|procedure analyse ?\([^)]{{0,40}}\)?|into (?:out|dump)file\b.{{0,80}})"
    rf"{_LINE_END}"
)
_CUT_OFF: Final = re.compile(r"['\"`][ )]*;?[ )]*(?:--[ +-]*[a-z0-9]{0,4}|#|/\*|;)$")
_DELAY: Final = re.compile(
    r"\b(?:sleep|pg_sleep|benchmark|dbms_lock\.sleep|dbms_pipe\.receive_message) ?\("
    r"|\bwaitfor (?:delay|time) ?['\"]"
)
# From the end of a value to a call that waits.
_BEFORE_DELAY: Final = re.compile(
    r"(?:['\"`]|^-?\d{1,20})[ )]*+(?:;|\bor\b|\band\b|\bxor\b|\|\||&&|[,+*=|-])"
    r"(?:if|select|case|when|exec|not|count|from|then|else|\d|[=*,()'+ ])*+$"
)
_SUSPICIOUS: Final = re.compile(
    r"\bunion (?:all )?select\b|\bdrop (?:table|database)\b|\binformation_schema\.|\bxp_cmdshell\b"
    r"|\bload_file ?\(|\binto (?:out|dump)file\b|\bor '?(\d{1,9})'? ?= ?'?\1\b|\bpg_sleep ?\("
    r"|\bwaitfor delay\b|;[; ]*(?:delete from|truncate table|insert into|exec xp_)\b"
)
_STATEMENT: Final = re.compile(r"\b(?:select|insert|update|delete|create|drop|alter|with|use)\b")
_NUMBER: Final = re.compile(r"[ (]*-?\d{0,20}[ )]*")
_WORD: Final = re.compile(r"[ (]*[\w.@%-]{0,64}[ )]*")
# An apostrophe within a word ends no value.
_QUOTE: Final = {
    "'": re.compile(r"(?<![a-z])'|'(?![a-z])"),
    '"': re.compile(r'"'),
    "`": re.compile(r"`"),
}


def sql_injection(text: str) -> bool | None:
    """Tells whether a text breaks out of a value in SQL; None if it only looks a little like it."""
    sql = as_sql(text)
    if not _TRIGGER.search(sql):
        return False
    if (
        _has_boolean(sql)
        or _has(_UNION, sql, after_word=True)
        or _has(_STACKED, sql, after_word=True)
        or _has(_CLAUSE, sql, after_word=False)
        or _is_cut_off(sql)
        or _has_delay(sql)
    ):
        return True
    return None if _SUSPICIOUS.search(sql) else False


def _has_boolean(sql: str) -> bool:
    for place in _places(_BOOLEAN, sql):
        start, end = place.span()
        if _ends_quote(sql, start):
            if _AFTER_QUOTE.match(sql, end):
                return True
        elif start <= _PREFIX_CHARACTERS_MAX and _NUMBER.fullmatch(sql, 0, start):
            if _AFTER_NUMBER.match(sql, end):
                return True
    return False


def _has(pattern: re.Pattern[str], sql: str, *, after_word: bool) -> bool:
    """Tells whether a pattern follows the end of a value, and not a statement."""
    value = _WORD if after_word else _NUMBER
    for place in _places(pattern, sql):
        start = place.start()
        is_value = start <= _PREFIX_CHARACTERS_MAX and value.fullmatch(sql, 0, start)
        if (is_value or _ends_quote(sql, start)) and not _STATEMENT.search(sql, 0, start):
            return True
    return False


def _is_cut_off(sql: str) -> bool:
    """Tells whether a value ends and what would follow is made a comment."""
    place = _CUT_OFF.search(sql, max(0, len(sql) - _PREFIX_CHARACTERS_MAX))
    return place is not None and _ends_quote(sql, place.start() + 1)


def _has_delay(sql: str) -> bool:
    for place in _places(_DELAY, sql):
        start = place.start()
        before = sql[max(0, start - _PREFIX_CHARACTERS_MAX) : start]
        found = _BEFORE_DELAY.search(before)
        if found is not None and not sql.startswith(("select ", "with ")):
            return True
    return False


def _places(pattern: re.Pattern[str], sql: str) -> list[re.Match[str]]:
    places: list[re.Match[str]] = []
    for place in pattern.finditer(sql):
        places.append(place)
        if len(places) == _PLACES_MAX:
            break
    return places


def _ends_quote(sql: str, end: int) -> bool:
    """Tells whether what stands before a place closes a quote that was not opened."""
    before = sql[max(0, end - _PREFIX_CHARACTERS_MAX) : end].rstrip(" )")
    quote = before[-1:]
    if quote not in _QUOTE:
        return False
    return len(_QUOTE[quote].findall(sql, 0, end)) % 2 == 1
