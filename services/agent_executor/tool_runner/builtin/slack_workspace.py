"""Slack as the operator lets the Slack tool reach it: where, as whom, and which channels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from agent_executor.errors import InvalidArgumentError

DEFAULT_BASE_URL: Final = "https://slack.com/api/"
DEFAULT_CREDENTIAL_NAME: Final = "slack"
DEFAULT_TIMEOUT_SECONDS: Final = 30.0
CHANNEL_CHARACTERS_MAX: Final = 81

_LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_CHANNEL_ID: Final = re.compile(r"[CGDU][A-Z0-9]{7,20}", re.ASCII)
# Slack's names hold letters of any script in lower case, digits, hyphens and underscores.
_CHANNEL_NAME: Final = re.compile(r"#?[\w-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackWorkspace:
    """Slack's Web API, as its operator configures it; no argument of a call can change it.

    Attributes:
        base_url: Where it is; https, or http on this machine.
        credential_name: The credential in an organization's vault that holds the token.
        token_file: Holds the token where an organization has no such credential.
        group_mentions: Whether a message may notify a whole channel or group of people.
        timeout_seconds: For a whole message, from the connection to the end of the answer.

    Raises:
        InvalidArgumentError: The URL is none to send a token to.
    """

    base_url: str = DEFAULT_BASE_URL
    credential_name: str = DEFAULT_CREDENTIAL_NAME
    token_file: Path | None = None
    group_mentions: bool = False
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        try:
            url = urlsplit(self.base_url)
            is_usable = bool(url.hostname) and url.port != 0 and not url.username
        except ValueError:
            is_usable = False
        else:
            is_secure = url.scheme == "https" or (
                url.scheme == "http" and url.hostname in _LOOPBACK_HOSTS
            )
            is_usable = is_usable and is_secure and not url.query and not url.fragment
        if not is_usable:
            raise InvalidArgumentError(
                "The base URL of Slack's API is one with https, like https://slack.com/api/."
            )

    @property
    def origin(self) -> str:
        """Scheme, host and port of the API; a port that the scheme has anyway is left out."""
        url = urlsplit(self.base_url)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        default_port = 443 if url.scheme == "https" else 80
        port = "" if url.port in {None, default_port} else f":{url.port}"
        return f"{url.scheme}://{host}{port}"


class ChannelAllowList:
    """The channels that may be posted to.

    Args:
        entries: ``#general`` for a channel by its name; ``C0123456789`` for one, or a group, a
            conversation or a person, by its id. Slack renames channels, but not their ids.

    Raises:
        InvalidArgumentError: An entry is none of these.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._channels = frozenset(normalise_channel(entry) for entry in entries)

    def allows(self, channel: str) -> bool:
        """Tells whether a channel, as ``normalise_channel`` returns it, is on the list."""
        return channel in self._channels


def normalise_channel(channel: object) -> str:
    """Returns a channel's id as it is, or its name in lower case after a ``#``.

    Raises:
        InvalidArgumentError: It is neither.
    """
    if isinstance(channel, str):
        if _CHANNEL_ID.fullmatch(channel):
            return channel
        if _CHANNEL_NAME.fullmatch(channel):
            return f"#{channel.removeprefix('#').lower()}"
    raise InvalidArgumentError(
        "channel must be a channel's name like #general or its id like C0123456789.",
        field_violations=(("channel", "neither a name nor an id"),),
    )
