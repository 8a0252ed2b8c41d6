"""From a URL to a gRPC channel: encrypted by its scheme, and by nothing else."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc

from agent_executor.errors import InvalidArgumentError

MESSAGE_BYTES_MAX: Final = 64 * 1_048_576
_PORTS: Final = {"http": 80, "https": 443}

CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # A platform that restarts is found again within a second, not within gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A client's failures to connect are its own, not every client's of the process.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a platform is.

    Attributes:
        target: As gRPC takes it.
        is_encrypted: Whether it is called over TLS.
    """

    target: str
    is_encrypted: bool


def address_of(url: str, *, allow_plaintext: bool = False) -> Address:
    """Returns the address that a URL names.

    Args:
        url: ``https://host[:port]``, or ``http://host[:port]``.
        allow_plaintext: Whether ``http://`` may name another machine than this one, to which
            credentials would go readable for everyone on the way.

    Raises:
        InvalidArgumentError: It is no such URL, or it may not be called.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    has_more = parts.path not in ("", "/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in _PORTS or not parts.hostname or port == -1 or has_more:
        # The URL itself is not told: a password may be in it.
        raise InvalidArgumentError("The URL is none of a platform: https://host[:port].")
    if parts.scheme == "http" and not allow_plaintext and not is_loopback(parts.hostname):
        raise InvalidArgumentError(
            f"{parts.hostname} is another machine: call it by https://, or say allow_plaintext=True."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(f"{host}:{port or _PORTS[parts.scheme]}", parts.scheme == "https")


def is_loopback(host: str) -> bool:
    """Tells whether a host is this machine, by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_channel(address: Address, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """Opens a channel for blocking calls."""
    if not address.is_encrypted:
        return grpc.insecure_channel(address.target, _options(address))
    return grpc.secure_channel(address.target, credentials or _trust(), _options(address))


def open_aio_channel(
    address: Address, credentials: grpc.ChannelCredentials | None
) -> grpc.aio.Channel:
    """Opens a channel for the running event loop."""
    if not address.is_encrypted:
        return grpc.aio.insecure_channel(address.target, _options(address))
    return grpc.aio.secure_channel(address.target, credentials or _trust(), _options(address))


def _trust() -> grpc.ChannelCredentials:
    """Trusts whom Python trusts on this machine (``SSL_CERT_FILE``), else gRPC's own list."""
    file = ssl.get_default_verify_paths().cafile
    return grpc.ssl_channel_credentials(Path(file).read_bytes() if file else None)


def _options(address: Address) -> tuple[tuple[str, int], ...]:
    # A proxy that the environment names is on the way to other machines, not to this one.
    host = address.target.rpartition(":")[0].strip("[]")
    return (*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0 if is_loopback(host) else 1))
