"""The e-mail tool: a text to people whom the operator allows, over the operator's mail server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from agent_executor.errors import FailedPreconditionError, PermissionDeniedError
from agent_executor.tool_runner.builtin.mail_address import (
    ADDRESS_CHARACTERS_MAX,
    RecipientAllowList,
)
from agent_executor.tool_runner.builtin.mail_message import (
    BODY_BYTES_MAX,
    RECIPIENTS_MAX,
    SUBJECT_CHARACTERS_MAX,
    Mail,
    message_id_of,
)
from agent_executor.tool_runner.builtin.own_credential import open_secret
from agent_executor.tool_runner.builtin.smtp_server import SmtpServer
from agent_executor.tool_runner.calls.context import current_call
from agent_executor.tool_runner.tool_base import ToolBase

if TYPE_CHECKING:
    from agent_executor.tool_runner.credentials.secret import Secret

_NAME: Final = "email"
_ADDRESS: Final = {"type": "string", "minLength": 3, "maxLength": ADDRESS_CHARACTERS_MAX}
_ADDRESSES: Final = {
    "anyOf": [_ADDRESS, {"type": "array", "items": _ADDRESS, "maxItems": RECIPIENTS_MAX}],
}
_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "to": {**_ADDRESSES, "description": "An e-mail address, or a list of them."},
        "cc": {**_ADDRESSES, "description": "Who gets a copy, for everyone to see."},
        "bcc": {**_ADDRESSES, "description": "Who gets a copy without the others seeing it."},
        "subject": {
            "type": "string",
            "minLength": 1,
            "maxLength": SUBJECT_CHARACTERS_MAX,
            "description": "The subject, in one line.",
        },
        "body": {
            "type": "string",
            "maxLength": BODY_BYTES_MAX,
            "description": "The text, which is plain and not HTML.",
        },
    },
    "required": ["to", "subject", "body"],
    "additionalProperties": False,
}


class EmailTool(ToolBase):
    """Sends an e-mail.

    Arguments are ``to``, ``subject`` and ``body``, and optionally ``cc`` and ``bcc``: addresses
    without names, each field one or a list, 50 in all. The body is plain text of at most 1 MiB.

    The result is ``{"message_id", "accepted", "refused"}``: the addresses that the mail server
    delivers to, and by address why it refuses others. If it refuses all of them, or the message,
    the call fails and nothing was sent.

    Where to send it, as whom and to whom at all is not for a model to say:

    Args:
        server: The mail server. Default: the environment's ``TOOL_RUNNER_EMAIL_SMTP_HOST`` and
            the variables beside it, which are read at the first call.
        password: For the login there. Default: the credential ``server.credential_name`` of the
            organization, else the content of ``server.password_file``.
        allowed_recipients: Who may be written to, as in ``RecipientAllowList``. Default: nobody,
            or, without a server, the environment's ``TOOL_RUNNER_EMAIL_ALLOWED_RECIPIENTS``.

    Raises:
        InvalidArgumentError: An allowed recipient is none.
    """

    def __init__(
        self,
        server: SmtpServer | None = None,
        *,
        password: Secret | None = None,
        allowed_recipients: Iterable[str] | None = None,
    ) -> None:
        super().__init__(
            name=_NAME,
            description="Sends an e-mail",
            input_schema=_SCHEMA,
            effect="unsafe",
        )
        self._server = server
        self._password = password
        self._allowed: RecipientAllowList | None = None
        if server is not None or allowed_recipients is not None:
            self._allowed = RecipientAllowList(allowed_recipients or ())

    async def _execute_impl(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from agent_executor.tool_runner.builtin.smtp_delivery import SmtpDelivery

        mail = Mail.of(arguments)
        server, allowed = self._configuration()
        _check_recipients(mail, allowed)
        password = None
        if server.username:
            password = await self._open_password(server)
        message_id = message_id_of(current_call.get(), server.sender)
        message = mail.message(server.sender, message_id)
        delivery = await SmtpDelivery(server, password).send(mail.recipients, message)
        return {
            "message_id": message_id,
            "accepted": list(delivery.accepted),
            "refused": delivery.refused,
        }

    def _configuration(self) -> tuple[SmtpServer, RecipientAllowList]:
        if self._server is not None and self._allowed is not None:
            return self._server, self._allowed
        from agent_executor.tool_runner.messaging_settings import MessagingSettings

        settings = MessagingSettings.of_environment(_NAME)
        server = self._server or settings.smtp_server
        if server is None:
            raise FailedPreconditionError(
                "No mail server is configured: set TOOL_RUNNER_EMAIL_SMTP_HOST and "
                "TOOL_RUNNER_EMAIL_SENDER, or pass EmailTool a server.",
                tool_name=_NAME,
            )
        self._server = server
        self._allowed = self._allowed or RecipientAllowList(settings.email_allowed_recipients)
        return self._server, self._allowed

    async def _open_password(self, server: SmtpServer) -> Secret:
        password = await open_secret(
            server.credential_name,
            tool_name=_NAME,
            origin=server.origin,
            given=self._password,
            file=server.password_file,
        )
        if password is None:
            raise FailedPreconditionError(
                f'The mail server needs a password: store the credential "{server.credential_name}"'
                ", set TOOL_RUNNER_EMAIL_SMTP_PASSWORD_FILE, or pass EmailTool a password.",
                tool_name=_NAME,
            )
        return password


def _check_recipients(mail: Mail, allowed: RecipientAllowList) -> None:
    for recipient in mail.recipients:
        if not allowed.allows(recipient):
            raise PermissionDeniedError(
                f"E-mail to {recipient} is not allowed: TOOL_RUNNER_EMAIL_ALLOWED_RECIPIENTS, or "
                "allowed_recipients of EmailTool, lists who may be written to.",
                tool_name=_NAME,
            )
