"""What attacks on the programs behind tools look like, rule by rule.

A rule tells for a text: it is an attack (True), it looks a little like one (None), it is neither
(False). What is True has to be rare in what people and models write; what is None is for the
audit log. Every pattern takes time linear in the text: no repetition holds another one, and those
that start anywhere are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Final

from agent_executor.tool_runner.policy.screening_sql import sql_injection

# A value that is a path, a command or the like is one line without much in it.
_VALUE_CHARACTERS_MAX: Final = 1_024
# So many places of a kind are looked at; one attack is enough.
_PLACES_MAX: Final = 64

_UP: Final = r"(?:\.\.|\.{4}|\.\.;)[\\/]{1,2}"
_TRAVERSAL: Final = re.compile(rf"(?:^|[\\/=:]){_UP}{_UP}")
_SECRET_FILE: Final = re.compile(
    r"etc[\\/]+(?:passwd|shadow|sudoers|hosts)\b|proc[\\/]+self[\\/]|windows[\\/]+(?:win\.ini|system32)"
    r"|boot\.ini\b|\.ssh[\\/]+id_|web-inf[\\/]",
    re.IGNORECASE,
)
_UP_AT: Final = re.compile(_UP)
_UP_CHARACTERS: Final = 200
_WHOLE_SECRET_FILE: Final = re.compile(
    r"(?:file:/{0,3})?[\\/](?:etc[\\/](?:passwd|shadow|sudoers)|proc[\\/]self[\\/]\w+)",
    re.IGNORECASE,
)

_COMMAND: Final = (
    r"(?:sudo )?(?:/(?:usr/)?s?bin/)?(?:"
    r"(?:cat|less|head|tail|ls|dir|type|rm|chmod|chown|cp|mv|find|touch)\b[^\n;|&]{0,80}?[/.*$~\\]"
    r"|(?:rm|ls|nc|ncat|netcat|ping|kill|dir) {1,3}-{1,2}[a-z]"
    r"|(?:curl|wget|nslookup|dig|ping|nc|ncat|netcat|telnet|ssh) {1,3}[\w$`\"'-][\w.:/-]{0,200}"
    r"|(?:ba|z|da|k)?sh {1,3}-[a-z]|(?:python3?|perl|ruby|php|node) {1,3}-[a-z]"
    r"|powershell\b|cmd(?:\.exe)? {0,3}/c|certutil\b|net {1,3}user\b|sleep {1,3}\d|echo {1,3}\S"
    r")"
)
# These do without arguments, and are words in lists of all kinds.
_BARE_COMMAND: Final = (
    r"(?:id|whoami|uname(?: -a)?|pwd|hostname|env|printenv|ls|ps|ifconfig|reboot|shutdown|dir)"
    r" {0,3}(?:$|[;&#)`]|\|\|)"
)
_SHELL: Final = re.compile(
    r"^[\w.@:/%,-]{0,64}[\"']?(?:"
    rf"[ )]{{0,3}}(?:(?:;|\|\|?|&&?)[ \t]{{0,3}}(?:{_COMMAND}|{_BARE_COMMAND})|[\r\n]{{1,2}}{_COMMAND})"
    rf"|(?:`|[$<>]\()[ \t]{{0,3}}(?:{_COMMAND}|{_BARE_COMMAND}))",
    re.IGNORECASE,
)
_SHELL_SEPARATOR: Final = re.compile(r"\$\{?IFS\b")
_DEV_TCP: Final = re.compile(r"(?:ba)?sh -i\b.{0,40}/dev/(?:tcp|udp)/")
_SHELL_ANYWHERE: Final = re.compile(
    r"[;|&`]\s{0,3}(?:sudo )?rm {1,3}-[rf]{1,2}\b|\$\{?IFS\b|/dev/(?:tcp|udp)/"
    r"|\|\s{0,3}(?:sudo )?(?:ba)?sh\b|\$\((?:id|whoami|curl|wget|cat)\b",
)

_SINK: Final = re.compile(
    r"(?:alert|confirm|prompt|eval|fetch|import|atob|settimeout|setinterval|fromcharcode)\s{0,5}[(`.]"
    r"|document\s{0,5}\.\s{0,5}(?:cookie|domain|location|write)|(?:window|self|top|this)\s{0,5}\["
    r"|(?:window\s{0,5}\.\s{0,5})?location\s{0,5}(?:=|\.\s{0,5}(?:href|assign|replace))|xmlhttprequest"
    r"|localstorage"
)
_SCRIPT_TAG: Final = re.compile(r"<\s{0,5}script\b")
_FOREIGN_SCRIPT: Final = re.compile(r"[^>]{0,100}?\bsrc\s{0,5}=\s{0,5}[\"']?\s{0,5}(?:data:|//)")
_HANDLER: Final = re.compile(r"on[a-z]{4,24}\s{0,5}=")
_SCRIPT_URL: Final = re.compile(r"script\s{0,5}:")
_BEFORE_SCRIPT_URL: Final = re.compile(r"(?:^|[\"'=(])\s{0,5}(?:java|vb)\s{0,5}$")
_HTML_URL: Final = re.compile(r"data:text/html[;,].{0,20}?(?:<script|base64)")
_IFRAME: Final = re.compile(r"<iframe\b[^<>]{0,200}?\bsrcdoc\s{0,5}=")
_SCRIPT_LIKE: Final = re.compile(
    r"<\s{0,5}script\b|javascript\s{0,5}:|on(?:error|load)\s{0,5}=\s{0,5}[\"'a-z]"
)
_BEFORE_HANDLER_CHARACTERS: Final = 220
_AFTER_HANDLER_CHARACTERS: Final = 80
_SCRIPT_CHARACTERS: Final = 600
_URL_CHARACTERS: Final = 100

_OBJECT_ESCAPE: Final = re.compile(
    r"__(?:class|mro|bases?|globals|builtins|subclasses|init|import)__|popen\b|os\.system\b"
    r"|getruntime|processbuilder|java\.lang|constructor[.\[\]'\"]{1,6}constructor\b|config\.items\b"
    r"|_self\.env|system\s?\(|passthru\b|freemarker\.template|file_get_contents\b"
)
_TEMPLATE_BEGINS: Final = re.compile(r"\{\{|\{%|<%|[$#*@]\{")
_TEMPLATE_CHARACTERS: Final = 200
# Lookups that stand for a letter each, as in ${lower:j} and ${::-j}.
_LETTER_LOOKUP: Final = re.compile(r"\$\{[a-z:]{0,12}:-?([^${}\n]{0,10})\}")

_PROBE: Final = re.compile(
    r"[\w.@'\"-]{0,32}(?:\{\{|[$#*]\{|<%=|@\()\s{0,3}[\"']?\d{1,10}[\"']?\s{0,3}\*"
    r"\s{0,3}[\"']?\d{1,10}[\"']?\s{0,3}(?:\}\}|\}|%>|\))[\w.'\"-]{0,32}"
)
_TEMPLATE_LIKE: Final = re.compile(r"\{\{\s{0,3}(?:config|self|request)\b|<%=")

# What is in no text: all but tab, line feed, vertical tab, form feed, carriage return and escape.
_CONTROL: Final = re.compile("[\\x00-\\x08\\x0e-\\x1a\\x1c-\\x1f\\x7f]")
_UNUSUAL_CONTROL: Final = re.compile("[\\x0b\\x0c\\x1b\\x80-\\x9f\u202a-\u202e\u2066-\u2069]")
_SMUGGLED_HEADER: Final = re.compile(r"[\r\n]\s{0,3}[A-Za-z][A-Za-z-]{2,30}:", re.ASCII)


def path_traversal(text: str) -> bool | None:
    """Tells whether a text leads out of a folder."""
    if ".." not in text and "/" not in text and "\\" not in text:
        return False
    for place in islice(_SECRET_FILE.finditer(text), _PLACES_MAX):
        if _UP_AT.search(text, max(0, place.start() - _UP_CHARACTERS), place.start()):
            return True
    if _is_value(text) and (_TRAVERSAL.search(text) or _WHOLE_SECRET_FILE.match(text)):
        return True
    has_way_up = "../" in text or "..\\" in text
    return None if has_way_up or _SECRET_FILE.search(text) else False


def shell_injection(text: str) -> bool | None:
    """Tells whether a text ends a value and begins a command."""
    if _SHELL.match(text.strip()) or _DEV_TCP.search(text):
        return True
    if _SHELL_SEPARATOR.search(text) and _is_value(text):
        return True
    return None if _SHELL_ANYWHERE.search(text) else False


def script_injection(text: str) -> bool | None:
    """Tells whether a browser that shows a text would run it."""
    lower = text.lower()
    if _runs_script(lower) or _has_handler(lower) or _has_script_url(lower):
        return True
    return None if _SCRIPT_LIKE.search(lower) else False


def _runs_script(lower: str) -> bool:
    for place in islice(_SCRIPT_TAG.finditer(lower), _PLACES_MAX):
        start = place.end()
        if _FOREIGN_SCRIPT.match(lower, start):
            return True
        if _SINK.search(lower, start, start + _SCRIPT_CHARACTERS):
            return True
    return False


def _has_handler(lower: str) -> bool:
    """Tells whether a tag, or a quote that may end an attribute of one, is followed by a handler."""
    for place in islice(_HANDLER.finditer(lower), _PLACES_MAX):
        start, end = place.span()
        before = lower[max(0, start - _BEFORE_HANDLER_CHARACTERS) : start]
        is_in_tag = before.rfind("<") > before.rfind(">")
        if not is_in_tag and before.rstrip()[-1:] not in {'"', "'"}:
            continue
        if before[-1:].isalnum():
            continue
        if _SINK.search(lower, end, end + _AFTER_HANDLER_CHARACTERS):
            return True
    return False


def _has_script_url(lower: str) -> bool:
    if "data:" in lower and _HTML_URL.search(lower):
        return True
    if "<iframe" in lower and _IFRAME.search(lower):
        return True
    for place in islice(_SCRIPT_URL.finditer(lower), _PLACES_MAX):
        start, end = place.span()
        if _BEFORE_SCRIPT_URL.search(lower[max(0, start - 20) : start]) and (
            _SINK.search(lower, end, end + _URL_CHARACTERS) or lower.startswith("msgbox", end)
        ):
            return True
    return False


def template_injection(text: str) -> bool | None:
    """Tells whether a template engine that renders a text would run it."""
    if "{" not in text and "<%" not in text and "@(" not in text:
        return False
    lower = text.lower()
    for place in islice(_OBJECT_ESCAPE.finditer(lower), _PLACES_MAX):
        start = place.start()
        if _TEMPLATE_BEGINS.search(lower, max(0, start - _TEMPLATE_CHARACTERS), start):
            return True
    if "${" in lower and "${jndi" in lower + _LETTER_LOOKUP.sub(r"\1", lower):
        return True
    if _PROBE.fullmatch(lower.strip()):
        return True
    return None if _TEMPLATE_LIKE.search(lower) else False


def control_characters(text: str) -> bool | None:
    """Tells whether a text holds what is no text."""
    if _CONTROL.search(text):
        return True
    return None if _UNUSUAL_CONTROL.search(text) else False


def is_smuggled_header(text: str, decoded: str) -> bool:
    """Tells whether the end of a line, with a header after it, is hidden in what a text encodes."""
    if "\n" in text or "\r" in text:
        return False
    return _SMUGGLED_HEADER.search(decoded) is not None


RULES: Final[Mapping[str, Callable[[str], bool | None]]] = MappingProxyType(
    {
        "sql_injection": sql_injection,
        "path_traversal": path_traversal,
        "shell_injection": shell_injection,
        "script_injection": script_injection,
        "template_injection": template_injection,
        "control_characters": control_characters,
    }
)
"""The rules by name."""


def _is_value(text: str) -> bool:
    return len(text) <= _VALUE_CHARACTERS_MAX and not any(map(str.isspace, text.strip()))
