"""The mail server that the e-mail tool hands its messages to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from agent_executor.errors import InvalidArgumentError
from agent_executor.tool_runner.builtin.mail_address import parse_address

Tls: TypeAlias = Literal["starttls", "implicit", "none"]

SUBMISSION_PORT: Final = 587
DEFAULT_CREDENTIAL_NAME: Final = "smtp"
DEFAULT_TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """A mail server, as its operator configures it; no argument of a call can change it.

    Attributes:
        host: Its name, which its certificate has to hold.
        port: Its port.
        sender: The address that every message is from.
        username: Whom the tool logs in as; empty for no login.
        credential_name: The credential in an organization's vault that holds the password.
        password_file: Holds the password where an organization has no such credential.
        tls: ``starttls`` asks for encryption after the greeting and sends nothing if it is
            refused; ``implicit`` encrypts from the first byte; ``none`` does not encrypt, and
            then no login is possible.
        ca_file: The certificates that its own is checked against, in PEM. Default: the system's.
        timeout_seconds: For a whole message, from the connection to the server's last answer.

    Raises:
        InvalidArgumentError: The sender is no address, or a login would not be encrypted.
    """

    host: str
    sender: str
    port: int = SUBMISSION_PORT
    username: str = ""
    credential_name: str = DEFAULT_CREDENTIAL_NAME
    password_file: Path | None = None
    tls: Tls = "starttls"
    ca_file: Path | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        object.__setattr__(self, "sender", parse_address(self.sender, "sender"))
        if self.username and self.tls == "none":
            raise InvalidArgumentError(
                "A login at the mail server needs encryption: tls must be starttls or implicit."
            )

    @property
    def origin(self) -> str:
        """How an error or a credential names the server."""
        scheme = "smtps" if self.tls == "implicit" else "smtp"
        return f"{scheme}://{self.host}:{self.port}"
