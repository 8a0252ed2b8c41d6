"""Tells SQL that breaks out of a value from SQL that somebody writes about."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from agent_executor.tool_runner.policy.screening_forms import as_sql

# So many places are looked at; one attack is enough.
_PLACES_MAX: Final = 64
_BEFORE_DELAY_CHARACTERS: Final = 80

_TRIGGER: Final = re.compile(r"['\"`;=<>#]|--|/\*|union|sleep|benchmark|order by")
_LINE_END: Final = r"[ )]*(?:;|--|#|/\*|$)"
_NAME: Final = r"[\w.`\"\[\]]{1,64}"

# Where a value may end: at a quote, or at the end of a word or number that the text begins with.
_AT_QUOTE: Final = r"['\"`][ )]*+"
_AT_WORD: Final = r"[ (]*+(?!(?:begin|select|use|set|start)\b)[\w.@%-]{0,64}[ )]*+"
_AT_NUMBER: Final = r"[ (]*+-?\d{1,20}[ )]*+"

_CONSTANT: Final = r"(?:-?\d{1,20}(?:\.\d{1,20})?|true|false|null)"
_LITERAL: Final = rf"(?:'[^']{{0,40}}'|\"[^\"]{{0,40}}\"|{_CONSTANT})"
_COMPARISON: Final = (
    r"(?:<=>|<>|!=|<=|>=|=|<|>|\blike\b|\brlike\b|\bregexp\b|\bin ?\(|\bbetween\b|\bis\b)"
)
_FUNCTION: Final = (
    r"(?:ascii|substr|substring|mid|length|char|chr|exists|extractvalue|updatexml|convert|cast|"
    r"count|user|database|version|if|sleep|benchmark|pg_sleep|row|randomblob) ?\("
)

# What stands behind "or" in an attack; what it is compared with does not matter.
_BOOLEAN: Final = r"(?:(?:or|and|xor)\b|\|\||&&)[ (]*(?:not\b[ (]*)?"
_QUOTE_BOOLEAN: Final = re.compile(
    rf"{_AT_QUOTE}{_BOOLEAN}(?:{_LITERAL}[ )]*{_COMPARISON}|{_CONSTANT}{_LINE_END}|{_FUNCTION}"
    rf"|\(?select\b|[a-z_][\w.]{{0,40}} ?{_COMPARISON})"
)
_NUMBER_BOOLEAN: Final = re.compile(
    rf"{_AT_NUMBER}{_BOOLEAN}(?:-?\d{{1,20}}[ )]*(?:=|<|>|<>|!=) ?\(?-?\d"
    rf"|'([^']{{0,40}})' ?= ?'\1|true{_LINE_END}|{_FUNCTION}|\(?select\b)"
)
_UNION: Final = (
    r"union\b[ (]*(?:all\b|distinct\b)?[ (]*select\b"
    r"[ (]*(?:null\b|-?\d|\*|@@|'|\"|0x|[a-z_]\w{0,40} ?\(|[\w.]{1,64} ?,|[\w.*]{1,64} from\b)"
)
_STACKED: Final = (
    (
        r";[; ]{0,8}"
        r"(?:drop (?:table|database|schema|view|index|user|column|procedure|function) "
        r"(?:if exists )?<name>(?: cascade)?<end>"
        r"|delete from <name>(?: where\b|<end>)"
        r"|truncate (?:table )?<name><end>"
        r"|update <name> set <name> ?="
        r"|insert into <name> ?(?:\(|values\b|select\b)"
        r"|alter (?:table|user|login|role) <name> "
        r"|create (?:table|user|login|role|function|procedure) <name>"
        r"|grant [\w, ]{1,64} (?:on|to) "
        r"|exec(?:ute)? ?(?:\(|master|xp_|sp_|immediate\b)"
        r"|declare @|copy <name> (?:from|to)\b"
        r"|shutdown\b(?: with\b|<end>)"
        r"|select (?:pg_sleep|sleep|load_file|[\w*]{1,64} from\b))"
    )
    .replace("<name>", _NAME)
    .replace("<end>", _LINE_END)
)
_CLAUSE: Final = (
    r"(?:order by \d{1,4}|group by [\w., ]{1,64}|having [\w ]{1,20}[=<>][\w ']{1,20}"
    r"|limit \d{1,9}(?:,\d{1,9})?|procedure analyse ?\([^)]{0,40}\)?|into (?:out|dump)file\b.{0,80})"
    rf"{_LINE_END}"
)
_CUT_OFF: Final = r";?[ )]*(?:--[ +-]*[a-z0-9]{0,4}|#|/\*|;)$"
_QUOTE_STATEMENT: Final = re.compile(rf"{_AT_QUOTE}(?:{_UNION}|{_STACKED}|{_CLAUSE}|{_CUT_OFF})")
_LEADING_STATEMENT: Final = re.compile(
    rf"{_AT_WORD}(?:(?<=[ )]){_UNION}|{_STACKED})|{_AT_NUMBER}{_CLAUSE}"
)
_DELAY: Final = re.compile(
    r"(?:sleep|benchmark|dbms_pipe\.receive_message) ?\(|waitfor (?:delay|time) ?['\"]"
)
# From the end of a value to a call that waits.
_BEFORE_DELAY: Final = re.compile(
    r"(?:['\"`]|^-?\d{1,20})[ )]*+(?:;|\bor\b|\band\b|\bxor\b|\|\||&&|[,+*=|-])"
    r"(?:if|select|case|when|exec|not|count|from|then|else|pg_|dbms_lock\.|\d|[=*,()'+ ])*+$"
)
_SUSPICIOUS: Final = re.compile(
    r"union (?:all )?select\b|drop (?:table|database)\b|information_schema\.|xp_cmdshell\b"
    r"|load_file ?\(|into (?:out|dump)file\b|or '?(\d{1,9})'? ?= ?'?\1\b|pg_sleep ?\("
    r"|waitfor delay\b|; ?(?:delete from|truncate table|insert into|exec xp_)\b"
)
_STATEMENT: Final = re.compile(
    r"\b(?:select|insert|update|delete|create|drop|alter|with|use|begin|start|set|explain|show)\b"
)
_NOTHING: Final = re.compile(r"(?!)")
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
        _NUMBER_BOOLEAN.match(sql)
        or _LEADING_STATEMENT.match(sql)
        or _breaks_out(_QUOTE_BOOLEAN, sql, unless=_NOTHING)
        or _breaks_out(_QUOTE_STATEMENT, sql, unless=_STATEMENT)
        or _has_delay(sql)
    ):
        return True
    return None if _SUSPICIOUS.search(sql) else False


def _breaks_out(pattern: re.Pattern[str], sql: str, *, unless: re.Pattern[str]) -> bool:
    """Tells whether a pattern follows a quote that ends what it did not begin.

    Args:
        pattern: Begins with the quote.
        sql: The text.
        unless: What must not come before, for then the text is SQL itself.
    """
    counts = dict.fromkeys(_QUOTE, 0)
    counted_to = dict.fromkeys(_QUOTE, 0)
    for place in islice(pattern.finditer(sql), _PLACES_MAX):
        start = place.start()
        quote = sql[start]
        counts[quote] += len(_QUOTE[quote].findall(sql, counted_to[quote], start))
        counted_to[quote] = start
        # One with a space before it opens something, or is what somebody writes about.
        if counts[quote] % 2 == 0 and sql[max(0, start - 1) : start] != " ":
            return unless.search(sql, 0, start) is None
    return False


def _has_delay(sql: str) -> bool:
    if sql.startswith(("select ", "with ")):
        return False
    for place in islice(_DELAY.finditer(sql), _PLACES_MAX):
        start = place.start()
        if _BEFORE_DELAY.search(sql[max(0, start - _BEFORE_DELAY_CHARACTERS) : start]):
            return True
    return False
