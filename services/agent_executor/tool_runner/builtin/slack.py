"""The Slack tool: a text into a channel that the operator allows, or into a thread there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent_executor.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
)
from agent_executor.tool_runner.builtin.own_credential import open_secret
from agent_executor.tool_runner.builtin.slack_workspace import (
    CHANNEL_CHARACTERS_MAX,
    ChannelAllowList,
    SlackWorkspace,
    normalise_channel,
)
from agent_executor.tool_runner.tool_base import ToolBase

if TYPE_CHECKING:
    from agent_executor.tool_runner.credentials.secret import Secret

TEXT_CHARACTERS_MAX: Final = 40_000
ARGUMENT_NAMES: Final = ("channel", "text", "thread_ts")

_NAME: Final = "slack"
_TIMESTAMP: Final = re.compile(r"\d{1,12}\.\d{1,12}", re.ASCII)
# What begins with "<!" notifies a channel or a group, but for a date.
_GROUP_MENTION: Final = re.compile(r"<(?=!(?!date\^))")
# What a header of HTTP can hold; a token is of letters, digits and hyphens.
_TOKEN: Final = re.compile(r"[!-~]{1,4096}")
_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "channel": {
            "type": "string",
            "minLength": 1,
            "maxLength": CHANNEL_CHARACTERS_MAX,
            "description": "A channel's name like #general, or its id.",
        },
        "text": {
            "type": "string",
            "minLength": 1,
            "maxLength": TEXT_CHARACTERS_MAX,
            "description": "The message, in Slack's Markdown.",
        },
        "thread_ts": {
            "type": "string",
            "maxLength": 25,
            "description": (
                "To answer in a thread: the ts of its first message, like 1712345678.123456."
            ),
        },
    },
    "required": ["channel", "text"],
    "additionalProperties": False,
}


class SlackTool(ToolBase):
    """Posts a message to a Slack channel.

    Arguments are ``channel``, a name like ``#general`` or an id, ``text`` of at most 40,000
    characters, and optionally ``thread_ts``, the timestamp of the message whose thread it
    answers in, like ``1712345678.123456``. A mention of a whole channel or group is shown as
    text and notifies nobody, unless the workspace allows it; links are not unfolded, as Slack
    would fetch them.

    The result is ``{"channel", "ts"}``: the channel's id, and the message's own timestamp, which
    is the ``thread_ts`` of answers to it.

    Where to post and as whom is not for a model to say:

    Args:
        workspace: Slack. Default: as the environment's ``TOOL_RUNNER_SLACK_BASE_URL`` and the
            variables beside it say, which are read at the first call.
        token: A bot's token. Default: the credential ``workspace.credential_name`` of the
            organization, else the content of ``workspace.token_file``.
        allowed_channels: Where it may post, as in ``ChannelAllowList``. Default: nowhere, or,
            without a workspace, the environment's ``TOOL_RUNNER_SLACK_ALLOWED_CHANNELS``.

    Raises:
        InvalidArgumentError: An allowed channel is none.
    """

    def __init__(
        self,
        workspace: SlackWorkspace | None = None,
        *,
        token: Secret | None = None,
        allowed_channels: Iterable[str] | None = None,
    ) -> None:
        super().__init__(
            name=_NAME,
            description="Posts a message to a Slack channel",
            input_schema=_SCHEMA,
            effect="unsafe",
        )
        self._workspace = workspace
        self._token = token
        self._allowed: ChannelAllowList | None = None
        if workspace is not None or allowed_channels is not None:
            self._allowed = ChannelAllowList(allowed_channels or ())

    async def _execute_impl(self, arguments: dict[str, Any]) -> dict[str, Any]:
        message = _message(arguments)
        workspace, allowed = self._configuration()
        if not allowed.allows(message["channel"]):
            raise PermissionDeniedError(
                f"Posting to {message['channel']} is not allowed: "
                "TOOL_RUNNER_SLACK_ALLOWED_CHANNELS, or allowed_channels of SlackTool, lists "
                "where the tool may post.",
                tool_name=_NAME,
            )
        if not workspace.group_mentions:
            message["text"] = _GROUP_MENTION.sub("&lt;", message["text"])
        token = await self._open_token(workspace)
        from agent_executor.tool_runner.builtin.slack_delivery import SlackDelivery

        return await SlackDelivery(workspace, token).post(message)

    def _configuration(self) -> tuple[SlackWorkspace, ChannelAllowList]:
        if self._workspace is None or self._allowed is None:
            from agent_executor.tool_runner.messaging_settings import MessagingSettings

            settings = MessagingSettings.of_environment(_NAME)
            self._workspace = self._workspace or settings.slack_workspace
            self._allowed = self._allowed or ChannelAllowList(settings.slack_allowed_channels)
        return self._workspace, self._allowed

    async def _open_token(self, workspace: SlackWorkspace) -> Secret:
        token_file: Path | None = workspace.token_file
        token = await open_secret(
            workspace.credential_name,
            tool_name=_NAME,
            origin=workspace.origin,
            given=self._token,
            file=token_file,
        )
        if token is None:
            raise FailedPreconditionError(
                f'Slack needs a token: store the credential "{workspace.credential_name}", set '
                "TOOL_RUNNER_SLACK_TOKEN_FILE, or pass SlackTool a token.",
                tool_name=_NAME,
            )
        if not _TOKEN.fullmatch(token.reveal()):
            raise FailedPreconditionError(
                "The Slack token is not one: it holds spaces, line breaks or other such "
                "characters.",
                tool_name=_NAME,
            )
        return token


def _message(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns what is posted; nothing but the text, the place and how to read it."""
    unknown = [name for name in arguments if name not in ARGUMENT_NAMES]
    if unknown:
        raise InvalidArgumentError(
            f"The Slack tool has the arguments {', '.join(ARGUMENT_NAMES)} and no other."
        )
    message: dict[str, Any] = {
        "channel": normalise_channel(arguments.get("channel")),
        "text": _text(arguments.get("text")),
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }
    thread = arguments.get("thread_ts")
    # A model that has no thread to answer in leaves it empty as well as out.
    if thread:
        if not isinstance(thread, str) or not _TIMESTAMP.fullmatch(thread):
            problem = "must be the ts of a message, like 1712345678.123456, or left out"
            raise InvalidArgumentError(
                f"thread_ts {problem}.", field_violations=(("thread_ts", problem),)
            )
        message["thread_ts"] = thread
    return message


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgumentError(
            "text must be a text.", field_violations=(("text", "must be a text"),)
        )
    if len(value) > TEXT_CHARACTERS_MAX:
        raise LimitExceededError(
            f"text has {len(value)} characters; at most {TEXT_CHARACTERS_MAX} are allowed.",
            metadata={"characters": str(len(value)), "charactersMax": str(TEXT_CHARACTERS_MAX)},
        )
    return value
