"""TLS between the services: both ends show a certificate that the platform's authority has signed.

Certificates are read again when their files change. A server uses the new one from its next
connection on; a channel opens a new connection for its next call and lets the old one end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import grpc

from agent_executor.serving.tls_files import TlsFiles, TlsIdentity, WatchedTlsFiles

# How long calls go on under a certificate that was replaced; a stream, which has no end of its own,
# is opened again then.
OLD_CONNECTION_SECONDS: Final = 60.0


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Returns what a server needs to admit only peers with a certificate of the authority.

    Raises:
        StartupError: The files cannot be used.
    """
    watched = WatchedTlsFiles(files)
    shown = watched.current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        """Is asked at every handshake, from a thread of gRPC's own."""
        nonlocal shown
        identity = watched.current()
        if identity is shown:
            return None
        shown = identity
        return _server_configuration(identity)

    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(shown),
        changed,  # type: ignore[arg-type]  # None, for no change, is missing in the stubs
        require_client_authentication=True,
    )


def peer_channel(
    address: str, files: TlsFiles | None, name: str, options: Sequence[tuple[str, Any]]
) -> grpc.aio.Channel:
    """Returns a channel to another service.

    Args:
        address: Where it is, as host:port.
        files: Proves who we are, and by whom its certificate must be signed; None for plain gRPC.
        name: What its certificate must be for; empty for the address's host.
        options: Of the channel.

    Raises:
        StartupError: The files cannot be used.
    """
    if files is None:
        return grpc.aio.insecure_channel(address, options=options)
    named = [*options, ("grpc.ssl_target_name_override", name)] if name else list(options)
    return _RenewedChannel(
        WatchedTlsFiles(files),
        lambda identity: grpc.aio.secure_channel(address, channel_credentials(identity), named),
    )


def channel_credentials(identity: TlsIdentity) -> grpc.ChannelCredentials:
    """Returns what a channel needs to reach such a server."""
    return grpc.ssl_channel_credentials(identity.authorities, identity.key, identity.certificate)


def _server_configuration(identity: TlsIdentity) -> grpc.ServerCertificateConfiguration:
    pair = (identity.key, identity.certificate)
    return grpc.ssl_server_certificate_configuration([pair], identity.authorities)


class _RenewedChannel(grpc.aio.Channel):
    """A channel whose next call goes over a new connection once the certificate was changed."""

    def __init__(
        self, files: WatchedTlsFiles, open_channel: Callable[[TlsIdentity], grpc.aio.Channel]
    ) -> None:
        self._files = files
        self._open_channel = open_channel
        self._identity = files.current()
        self._channel = open_channel(self._identity)
        self._closing: set[asyncio.Task[None]] = set()

    def unary_unary(self, *method: Any, **how: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return self._on_current_channel("unary_unary", method, how)

    def unary_stream(self, *method: Any, **how: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return self._on_current_channel("unary_stream", method, how)

    def stream_unary(self, *method: Any, **how: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return self._on_current_channel("stream_unary", method, how)

    def stream_stream(self, *method: Any, **how: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return self._on_current_channel("stream_stream", method, how)

    async def close(self, grace: float | None = None) -> None:
        """See ``grpc.aio.Channel``."""
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See ``grpc.aio.Channel``."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See ``grpc.aio.Channel``."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See ``grpc.aio.Channel``."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        """Opens nothing: connections are made when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes it."""
        await self.close()

    def _on_current_channel(self, kind: str, method: Any, how: Any) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            return getattr(self._current(), kind)(*method, **how)(*arguments, **keywords)

        return call

    def _current(self) -> grpc.aio.Channel:
        identity = self._files.current()
        if identity is not self._identity:
            # The channel closes when its calls have ended, or when their time is up.
            closing = asyncio.create_task(self._channel.close(OLD_CONNECTION_SECONDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._identity = identity
            self._channel = self._open_channel(identity)
        return self._channel
