"""What attacks on the programs behind tools look like, rule by rule.

A rule tells for a text: it is an attack (True), it looks a little like one (None), it is neither
(False). What is True has to be rare in what people and models write; what is None is for the
audit log. Every pattern takes time linear in the text: no repetition holds another one, and those
that start anywhere are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from agent_executor.tool_runner.screening_sql import sql_injection

# A value that is a path, a command or the like is one line without much in it.
_VALUE_CHARACTERS_MAX: Final = 1_024

_UP: Final = r"(?:\.\.|\.{4}|\.\.;)[\\/]{1,2}"
_TRAVERSAL: Final = re.compile(rf"(?:^|[\\/=:]){_UP}{_UP}")
_SECRET_FILE: Final = re.compile(
    r"etc[\\/]+(?:passwd|shadow|sudoers|hosts)\b|proc[\\/]+self[\\/]|windows[\\/]+(?:win\.ini|system32)"
    r"|boot\.ini\b|\.ssh[\\/]+id_|web-inf[\\/]",
    re.IGNORECASE,
)
_UP_AND_SECRET_FILE: Final = re.compile(
    rf"{_UP}[\w.\\/-]{{0,200}}?(?:{_SECRET_FILE.pattern})", re.IGNORECASE
)
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
    r"|(?:id|whoami|uname(?: -a)?|pwd|hostname|env|printenv|ls|ps|ifconfig|reboot|shutdown|dir)"
    r" {0,3}(?:$|[;&#)`]|\|\|)"
    r")"
)
_SHELL_TOKEN: Final = r"^[\w.@:/%,-]{0,64}[\"']?[ )]{0,3}"
_SHELL: Final = re.compile(
    rf"{_SHELL_TOKEN}(?:;|\|\|?|&&?|\n|\r\n?|`|\$\(|[<>]\()[ \t]{{0,3}}{_COMMAND}", re.IGNORECASE
)
_SHELL_SEPARATOR: Final = re.compile(r"\$\{?IFS\b")
_DEV_TCP: Final = re.compile(r"(?:ba)?sh -i\b.{0,40}/dev/(?:tcp|udp)/")
_SHELL_ANYWHERE: Final = re.compile(
    r"[;|&`]\s{0,3}(?:sudo )?rm {1,3}-[rf]{1,2}\b|\$\{?IFS\b|/dev/(?:tcp|udp)/"
    r"|\|\s{0,3}(?:sudo )?(?:ba)?sh\b|\$\((?:id|whoami|curl|wget|cat)\b",
)

_SINK: Final = (
    r"(?:alert|confirm|prompt|eval|fetch|import|atob|settimeout|setinterval|fromcharcode)\s{0,5}[(`.]"
    r"|document\s{0,5}\.\s{0,5}(?:cookie|domain|location|write)|(?:window|self|top|this)\s{0,5}\["
    r"|(?:window\s{0,5}\.\s{0,5})?location\s{0,5}(?:=|\.\s{0,5}(?:href|assign|replace))|xmlhttprequest"
    r"|localstorage"
)
_SCRIPT: Final = re.compile(
    rf"<\s{{0,5}}script\b[^>]{{0,200}}>.{{0,400}}?(?:{_SINK})"
    r"|<\s{0,5}script\b[^>]{0,100}\bsrc\s{0,5}=\s{0,5}[\"']?\s{0,5}(?:data:|//)",
    re.DOTALL,
)
_HANDLER: Final = re.compile(
    rf"<[a-z]\w{{0,20}}[\s/][^<>]{{0,200}}?\bon[a-z]{{4,24}}\s{{0,5}}=.{{0,60}}?(?:{_SINK})",
    re.DOTALL,
)
_JAVASCRIPT_URL: Final = re.compile(
    r"(?:^|[\"'=(])\s{0,5}(?:java|vb)\s{0,5}script\s{0,5}:.{0,100}?(?:" + _SINK + r"|msgbox)"
    r"|(?:^|[\"'=(])\s{0,5}data:text/html[;,].{0,20}?(?:<script|base64)"
    r"|<iframe\b[^>]{0,200}\bsrcdoc\s{0,5}=",
    re.DOTALL,
)
_SCRIPT_LIKE: Final = re.compile(
    r"<\s{0,5}script\b|javascript\s{0,5}:|<[a-z]\w{0,20}\s[^<>]{0,200}?\bon(?:error|load)\s{0,5}="
)
_BREAKS_OUT_OF_ATTRIBUTE: Final = re.compile(
    rf"[\"']\s{{0,5}}\bon[a-z]{{4,24}}\s{{0,5}}=\s{{0,5}}[\"']?(?:{_SINK})"
)

_OBJECT_ESCAPE: Final = (
    r"__(?:class|mro|bases?|globals|builtins|subclasses|init|import)__|\bpopen\b|\bos\.system\b"
    r"|getruntime|processbuilder|java\.lang|\bconstructor\b.{0,40}\bconstructor\b|\bconfig\.\w*items\b"
    r"|_self\.env|\bsystem\s?\(|\bpassthru\b|freemarker\.template|\bfile_get_contents\b"
)
_TEMPLATE: Final = re.compile(rf"(?:\{{\{{|\{{%|<%=?|[$#*@]\{{)[^\n]{{0,200}}?(?:{_OBJECT_ESCAPE})")
_LOOKUP: Final = re.compile(
    r"\$\{(?:jndi|[^}\n]{0,60}\$\{[^}\n]{0,60}:-?[^}\n]{0,10}\}[^\n]{0,200}?:(?:ldap|rmi|dns|/))"
)
_PROBE: Final = re.compile(
    r"[\w.@'\"-]{0,32}(?:\{\{|\$\{|#\{|\*\{|<%=|@\(|\{)\s{0,3}[\"']?\d{1,10}[\"']?\s{0,3}\*"
    r"\s{0,3}[\"']?\d{1,10}[\"']?\s{0,3}(?:\}\}|\}|%>|\))[\w.'\"-]{0,32}"
)
_TEMPLATE_LIKE: Final = re.compile(r"\{\{\s{0,3}(?:config|self|request)\b|\$\{jndi|<%=")

# What is in no text: all but tab, line feed, vertical tab, form feed, carriage return and escape.
_CONTROL: Final = re.compile("[\\x00-\\x08\\x0e-\\x1a\\x1c-\\x1f\\x7f]")
_UNUSUAL_CONTROL: Final = re.compile("[\\x0b\\x0c\\x1b\\x80-\\x9f\u202a-\u202e\u2066-\u2069]")
_SMUGGLED_HEADER: Final = re.compile(r"[\r\n]\s{0,3}[A-Za-z][A-Za-z-]{2,30}:", re.ASCII)


def path_traversal(text: str) -> bool | None:
    """Tells whether a text leads out of a folder."""
    if ".." not in text and "/" not in text and "\\" not in text:
        return False
    if _UP_AND_SECRET_FILE.search(text):
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
    if "<" not in lower and "script" not in lower and "data:" not in lower and "on" not in lower:
        return False
    if _SCRIPT.search(lower) or _JAVASCRIPT_URL.search(lower):
        return True
    if "=" in lower and (_HANDLER.search(lower) or _BREAKS_OUT_OF_ATTRIBUTE.search(lower)):
        return True
    return None if _SCRIPT_LIKE.search(lower) else False


def template_injection(text: str) -> bool | None:
    """Tells whether a template engine that renders a text would run it."""
    if "{" not in text and "<%" not in text and "@(" not in text:
        return False
    lower = text.lower()
    if _TEMPLATE.search(lower) or _LOOKUP.search(lower) or _PROBE.fullmatch(lower.strip()):
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
