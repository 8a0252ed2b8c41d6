"""An e-mail as a model asks for it: its arguments checked, and the message built from them."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from agent_executor.errors import InvalidArgumentError, LimitExceededError
from agent_executor.tool_runner.builtin.mail_address import parse_address
from agent_executor.tool_runner.calls.context import CallContext

RECIPIENTS_MAX: Final = 50
SUBJECT_CHARACTERS_MAX: Final = 998
BODY_BYTES_MAX: Final = 1_048_576
RECIPIENT_FIELDS: Final = ("to", "cc", "bcc")
ARGUMENT_NAMES: Final = (*RECIPIENT_FIELDS, "subject", "body")

# What fits into one line after the header's name.
_PLAIN_SUBJECT_CHARACTERS: Final = 60
# Whatever ends a line anywhere, and what no header holds.
_CONTROLS: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail that may be sent.

    Attributes:
        to: The addresses that the message shows.
        cc: Further ones that it shows.
        bcc: Those that it does not show.
    """

    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    body: str

    @property
    def recipients(self) -> tuple[str, ...]:
        """Everyone who gets it, once."""
        return tuple(dict.fromkeys((*self.to, *self.cc, *self.bcc)))

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> Mail:
        """Returns the e-mail that a call's arguments describe.

        Raises:
            InvalidArgumentError: An argument is missing, unknown or wrong.
            LimitExceededError: There are too many recipients, or the text is too long.
        """
        unknown = [name for name in arguments if name not in ARGUMENT_NAMES]
        if unknown:
            raise InvalidArgumentError(
                f"The e-mail tool has the arguments {', '.join(ARGUMENT_NAMES)} and no other."
            )
        addresses = {name: _addresses(arguments.get(name), name) for name in RECIPIENT_FIELDS}
        if not addresses["to"]:
            raise _wrong("to", "must be an e-mail address or a list of them")
        count = sum(map(len, addresses.values()))
        if count > RECIPIENTS_MAX:
            raise LimitExceededError(
                f"The e-mail has {count} recipients; at most {RECIPIENTS_MAX} are allowed.",
                metadata={"recipients": str(count), "recipientsMax": str(RECIPIENTS_MAX)},
            )
        subject, body = arguments.get("subject"), arguments.get("body")
        return cls(**addresses, subject=_subject(subject), body=_body(body))

    def message(self, sender: str, message_id: str) -> bytes:
        """Returns the message as it is sent; who is in ``bcc`` is not in it."""
        from email.message import EmailMessage
        from email.policy import SMTP
        from email.utils import format_datetime

        # Lines of any length and letters of any script, as ASCII, which every server takes.
        message = EmailMessage(SMTP.clone(cte_type="7bit"))
        message["From"] = sender
        message["To"] = ", ".join(self.to)
        if self.cc:
            message["Cc"] = ", ".join(self.cc)
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.body, charset="utf-8")
        # By itself, for EmailMessage drops spaces where it breaks a long one into lines.
        return b"Subject: " + _encoded(self.subject) + b"\r\n" + message.as_bytes()


def message_id_of(call: CallContext | None, sender: str) -> str:
    """Returns the message's identifier, which is the same if one call is made again."""
    if call is None:
        name = uuid.uuid4().hex
    else:
        key = f"{call.organization_id}\0{call.tool_call_id}"
        name = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"<{name}@{sender.rpartition('@')[2]}>"


def _encoded(subject: str) -> bytes:
    """Returns a subject in lines of ASCII, from which a reader gets this very text."""
    from email.header import Header

    if subject.isascii() and len(subject) <= _PLAIN_SUBJECT_CHARACTERS and "=?" not in subject:
        return subject.encode()
    return Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n").encode()


def _addresses(value: object, field: str) -> tuple[str, ...]:
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise _wrong(field, "must be an e-mail address or a list of them")
    return tuple(dict.fromkeys(parse_address(item, field) for item in items))


def _subject(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong("subject", "must be a text")
    if len(value) > SUBJECT_CHARACTERS_MAX:
        raise LimitExceededError(
            f"subject has {len(value)} characters; at most {SUBJECT_CHARACTERS_MAX} are allowed."
        )
    if _CONTROLS.search(value):
        raise _wrong("subject", "must be one line without control characters")
    return value


def _body(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong("body", "must be a text")
    size_bytes = len(value.encode())
    if size_bytes > BODY_BYTES_MAX:
        raise LimitExceededError(
            f"body is {size_bytes} bytes; at most {BODY_BYTES_MAX} are allowed.",
            metadata={"sizeBytes": str(size_bytes), "sizeBytesMax": str(BODY_BYTES_MAX)},
        )
    if "\0" in value:
        raise _wrong("body", "must not hold the character NUL")
    return value


def _wrong(field: str, problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{field} {problem}.", field_violations=((field, problem),))
