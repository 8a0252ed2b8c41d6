"""How the e-mail and Slack tools are configured, by environment variables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from agent_executor.errors import InvalidArgumentError
from agent_executor.tool_runner.builtin import smtp_server
from agent_executor.tool_runner.builtin.email import EmailTool
from agent_executor.tool_runner.builtin.mail_address import RecipientAllowList, parse_address
from agent_executor.tool_runner.builtin.slack import SlackTool
from agent_executor.tool_runner.builtin.slack_workspace import ChannelAllowList, SlackWorkspace
from agent_executor.tool_runner.builtin.smtp_server import SmtpServer, Tls
from agent_executor.tool_runner.tool_settings import ToolSettings

_SLACK: Final = SlackWorkspace()


class MessagingSettings(ToolSettings):
    """The part of the tool-runner's settings that the tools need wherever they run."""

    email_smtp_host: str = Field(
        default="",
        description="The mail server of the tool `email`; empty for none, and then it only fails.",
    )
    email_smtp_port: int = Field(
        default=smtp_server.SUBMISSION_PORT, ge=1, le=65535, description="The mail server's port."
    )
    email_smtp_tls: Tls = Field(
        default="starttls",
        description=(
            "How the connection is encrypted: `starttls`, without which nothing is sent, "
            "`implicit` (usual on port 465), or `none`, with which no login is possible."
        ),
    )
    email_smtp_ca_file: str = Field(
        default="",
        description=(
            "The certificates that the mail server's is checked against, in PEM; empty for the "
            "system's."
        ),
    )
    email_smtp_username: str = Field(
        default="", description="Whom the tool logs in as; empty for no login."
    )
    email_credential_name: str = Field(
        default=smtp_server.DEFAULT_CREDENTIAL_NAME,
        description="The credential of an organization that holds the mail server's password.",
    )
    email_smtp_password_file: str = Field(
        default="",
        description=(
            "A file with the password for organizations that have no such credential, and for "
            "programs that use the library; it is read again for each message."
        ),
    )
    email_sender: str = Field(
        default="",
        validate_default=True,
        description="The address that every e-mail is from; needed if there is a mail server.",
    )
    email_allowed_recipients: tuple[str, ...] = Field(
        default=(),
        description=(
            "Who may be written to, as a JSON list of addresses and of domains like "
            '"@example.com" or "@*.example.com"; empty for nobody.'
        ),
    )
    email_timeout_seconds: float = Field(
        default=smtp_server.DEFAULT_TIMEOUT_SECONDS,
        gt=0,
        description="How long handing over one e-mail may take, in seconds.",
    )
    slack_credential_name: str = Field(
        default=_SLACK.credential_name,
        description="The credential of an organization that holds its Slack token.",
    )
    slack_token_file: str = Field(
        default="",
        description=(
            "A file with the Slack token for organizations that have no such credential, and for "
            "programs that use the library; it is read again for each message."
        ),
    )
    slack_allowed_channels: tuple[str, ...] = Field(
        default=(),
        description=(
            "Where the tool `slack` may post, as a JSON list of names like "
            '"#general" and of ids like "C0123456789"; empty for nowhere.'
        ),
    )
    slack_group_mentions: bool = Field(
        default=False,
        description="Whether a message may notify a whole channel or group of people.",
    )
    slack_base_url: str = Field(
        default=_SLACK.base_url,
        description="Where Slack's Web API is; the token goes nowhere else.",
    )
    slack_timeout_seconds: float = Field(
        default=_SLACK.timeout_seconds,
        gt=0,
        description="How long posting one message may take, in seconds.",
    )

    @field_validator("email_smtp_username")
    @classmethod
    def _login_is_encrypted(cls, username: str, info: ValidationInfo) -> str:
        if username and info.data.get("email_smtp_tls") == "none":
            raise ValueError("a login needs encryption, which email_smtp_tls switches off")
        return username

    @field_validator("email_sender")
    @classmethod
    def _sender_is_an_address(cls, sender: str, info: ValidationInfo) -> str:
        if sender or info.data.get("email_smtp_host"):
            with _as_value_error():
                parse_address(sender, "the sender")
        return sender

    @field_validator("email_allowed_recipients")
    @classmethod
    def _recipients_are_addresses(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        with _as_value_error():
            RecipientAllowList(entries)
        return entries

    @field_validator("slack_allowed_channels")
    @classmethod
    def _channels_are_channels(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        with _as_value_error():
            ChannelAllowList(entries)
        return entries

    @field_validator("slack_base_url")
    @classmethod
    def _slack_is_a_url(cls, base_url: str) -> str:
        with _as_value_error():
            SlackWorkspace(base_url=base_url)
        return base_url

    @property
    def smtp_server(self) -> SmtpServer | None:
        """The mail server, or None if there is none."""
        if not self.email_smtp_host:
            return None
        return SmtpServer(
            host=self.email_smtp_host,
            port=self.email_smtp_port,
            tls=self.email_smtp_tls,
            ca_file=_path(self.email_smtp_ca_file),
            username=self.email_smtp_username,
            credential_name=self.email_credential_name,
            password_file=_path(self.email_smtp_password_file),
            sender=self.email_sender,
            timeout_seconds=self.email_timeout_seconds,
        )

    @property
    def slack_workspace(self) -> SlackWorkspace:
        """Slack, as the tool reaches it."""
        return SlackWorkspace(
            base_url=self.slack_base_url,
            credential_name=self.slack_credential_name,
            token_file=_path(self.slack_token_file),
            group_mentions=self.slack_group_mentions,
            timeout_seconds=self.slack_timeout_seconds,
        )

    def email_tool(self) -> EmailTool:
        """Returns the tool ``email``; without a mail server it says so when it is called."""
        return EmailTool(self.smtp_server, allowed_recipients=self.email_allowed_recipients)

    def slack_tool(self) -> SlackTool:
        """Returns the tool ``slack``; without a token it says so when it is called."""
        return SlackTool(self.slack_workspace, allowed_channels=self.slack_allowed_channels)


def _path(text: str) -> Path | None:
    # Empty stands for none, as in every variable.
    return Path(text) if text else None


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Lets pydantic say what is wrong, together with the field."""
    try:
        yield
    except InvalidArgumentError as error:
        raise ValueError(error.message.removesuffix(".")) from None
