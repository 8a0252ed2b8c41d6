"""Grants: the short-lived, signed proof by which one service lets a peer act for a caller.

A grant is signed with HMAC-SHA256 under a key that every service of the platform derives from the
same service key. Whoever can read the service key is the platform.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.errors import UnauthenticatedError
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.startup import StartupError
from agent_executor.serving.verified_cache import VerifiedCache

GRANT_METADATA_KEY: Final = "agent-executor-grant-bin"
"""The metadata key under which a unary RPC carries a serialized SignedGrant."""

SERVICE_KEY_BYTES: Final = 32
MAX_CACHED_GRANTS: Final = 4_096

# Keys for other purposes are derived with other labels, so that no signature fits two of them.
_GRANT_KEY_LABEL: Final = b"agent-executor grant key v1"
_DIGEST: Final = "sha256"
_OTHERS_CAN_READ: Final = 0o007
_GROUP_CAN_WRITE: Final = 0o020


class VerifiedGrant(NamedTuple):
    """A grant whose signature, audience and time hold, and the caller that it names."""

    grant: grant_pb2.Grant
    security: SecurityContext


current_grant: Final[ContextVar[grant_pb2.Grant | None]] = ContextVar("grant", default=None)
"""The grant by which the running call was admitted; None if it showed a token."""


class ServiceKey:
    """The secret that the services of one platform share.

    Args:
        secret: 32 random bytes.

    Raises:
        ValueError: It has another length.
    """

    __slots__ = ("_grant_signer",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SERVICE_KEY_BYTES:
            raise ValueError(f"a service key has {SERVICE_KEY_BYTES} bytes, not {len(secret)}")
        grant_key = hmac.digest(secret, _GRANT_KEY_LABEL, _DIGEST)
        # Copied for each signature, which takes half as long as to begin with the key.
        self._grant_signer = hmac.new(grant_key, digestmod=_DIGEST)

    @classmethod
    def load(cls, path: Path) -> ServiceKey:
        """Reads the key from a file of mode 0600; 0440, as a mounted secret has it, will do.

        Raises:
            StartupError: It cannot be read, is no key, or is open to others.
        """
        try:
            mode = path.stat().st_mode
            secret = path.read_bytes()
        except OSError as error:
            raise StartupError(
                f"The service key {path} cannot be read: {error.strerror}."
            ) from error
        if mode & (_OTHERS_CAN_READ | _GROUP_CAN_WRITE):
            raise StartupError(f"The service key {path} is open to others; set its mode to 0600.")
        try:
            return cls(secret)
        except ValueError as error:
            raise StartupError(f"The service key {path} is not usable: {error}.") from error

    def sign_grant(self, grant: grant_pb2.Grant) -> grant_pb2.SignedGrant:
        """Returns the grant with the proof that this platform made it."""
        serialized = grant.SerializeToString(deterministic=True)
        return grant_pb2.SignedGrant(grant=serialized, signature=self._signature(serialized))

    def verify_grant(
        self, signed: grant_pb2.SignedGrant, audience: str, now: float
    ) -> grant_pb2.Grant:
        """Returns the grant if it holds.

        Args:
            signed: What the caller showed.
            audience: The service that asks: a grant for another one does not hold here.
            now: In seconds since 1970-01-01 UTC.

        Raises:
            UnauthenticatedError: The signature, the audience, the time or the content do not hold.
        """
        if not hmac.compare_digest(self._signature(signed.grant), signed.signature):
            raise UnauthenticatedError("The grant's signature does not hold.")
        try:
            grant = grant_pb2.Grant.FromString(signed.grant)
        except DecodeError:
            raise UnauthenticatedError("The grant cannot be read.") from None
        if grant.audience != audience:
            raise UnauthenticatedError("The grant is meant for another service.")
        if now * 1000 >= grant.expires_at_unix_ms:
            raise UnauthenticatedError("The grant has expired.")
        caller = grant.security_context
        if not caller.organization_id or not caller.user_id:
            raise UnauthenticatedError("The grant names no organization or no user.")
        return grant

    def _signature(self, serialized: bytes) -> bytes:
        signer = self._grant_signer.copy()
        signer.update(serialized)
        return signer.digest()


class GrantVerifier:
    """Verifies the grants that one service is shown, each reusable one once.

    Args:
        key: The service key; None for a service that accepts no grants.
        audience: The name of the service.
        clock: Seconds since 1970-01-01 UTC.
    """

    def __init__(
        self, key: ServiceKey | None, audience: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = key
        self._audience = audience
        self._clock = clock
        self._verified: VerifiedCache[tuple[bytes, bytes], VerifiedGrant] = VerifiedCache(
            MAX_CACHED_GRANTS
        )

    def verify(self, signed: grant_pb2.SignedGrant) -> VerifiedGrant:
        """Returns the grant and its caller if it holds.

        Raises:
            UnauthenticatedError: It does not hold, or this service accepts no grants.
        """
        if self._key is None:
            raise UnauthenticatedError("This service accepts no grants: show a token.")
        shown = (signed.grant, signed.signature)
        now = self._clock()
        verified = self._verified.get(shown, now)
        if verified is not None:
            return verified
        grant = self._key.verify_grant(signed, self._audience, now)
        verified = VerifiedGrant(grant, _security_context(grant.security_context))
        # A grant that is bound to one tool call is hardly shown twice.
        if not grant.tool_call_id:
            self._verified.put(shown, verified, grant.expires_at_unix_ms / 1000)
        return verified


def check_binding(grant: grant_pb2.Grant, request: Message) -> None:
    """Passes if the grant is good for this very request.

    A grant that names a tool call is good for no other request, and a request for a tool call
    needs a grant that names it.

    Raises:
        UnauthenticatedError: The grant is bound to something else.
    """
    tool_call_id = ""
    if _is_for_tool_call(request.DESCRIPTOR):
        tool_call_id = getattr(request, "tool_call_id", "")
    if grant.tool_call_id != tool_call_id:
        raise UnauthenticatedError("The grant is not for this tool call.")
    if not tool_call_id:
        return
    arguments_json: str = getattr(request, "arguments_json", "")
    digest = hashlib.sha256(arguments_json.encode()).digest()
    is_same_tool = grant.tool_name == getattr(request, "tool_name", "")
    if not (is_same_tool and hmac.compare_digest(grant.arguments_digest, digest)):
        raise UnauthenticatedError("The grant is for another tool or other arguments.")


@cache
def _is_for_tool_call(request: Descriptor) -> bool:
    """Tells whether such requests name a tool call; to ask each of them takes microseconds."""
    return "tool_call_id" in request.fields_by_name


def _security_context(message: grant_pb2.SecurityContext) -> SecurityContext:
    return SecurityContext(message.organization_id, message.user_id, frozenset(message.permissions))
