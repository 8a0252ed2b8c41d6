"""The public keys of a token issuer: a JSON Web Key Set in a file or behind a URI."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import jwt

from agent_executor.errors import UnavailableError

# Signatures by a private key only: a shared secret would let any verifier issue tokens.
ACCEPTED_ALGORITHMS: Final = ("ES256", "RS256", "EdDSA")

MAX_KEY_SET_BYTES: Final = 1024 * 1024
FETCH_TIMEOUT_SECONDS: Final = 5.0
MAX_AGE_SECONDS: Final = 300.0
MIN_SECONDS_BETWEEN_FETCHES: Final = 30.0

_LOGGER = logging.getLogger(__name__)

Keys: TypeAlias = tuple[jwt.PyJWK, ...]


class KeySet(Protocol):
    """Where the keys of one issuer come from."""

    async def find(self, key_id: str | None) -> Keys:
        """Returns the keys of this id; all keys for None, and none if there is no such key.

        Raises:
            UnavailableError: The keys cannot be had at present.
        """
        ...


def parse_key_set(document: bytes) -> Keys:
    """Returns the usable keys: for signatures, with an accepted algorithm. Others are left out.

    Raises:
        ValueError: It is no JSON Web Key Set.
    """
    parsed = json.loads(document)
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it has no list of keys")
    keys = (_usable_key(entry) for entry in entries)
    return tuple(key for key in keys if key is not None)


class FileKeySet:
    """A key set in a local file, read again when the file's modification time changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: Keys = ()
        self._modified_ns: int | None = None

    async def find(self, key_id: str | None) -> Keys:
        """Returns the keys of this id, as ``KeySet`` has it."""
        self._refresh()
        return _of_id(self._keys, key_id)

    def _refresh(self) -> None:
        """Reads the file if it changed; what was read before stays in force if that fails."""
        try:
            modified_ns = self._path.stat().st_mtime_ns
            if modified_ns == self._modified_ns:
                return
            self._keys = parse_key_set(self._path.read_bytes())
        except (OSError, ValueError) as error:
            _LOGGER.warning("the key set %s cannot be read: %s", self._path, error)
            if not self._keys:
                raise UnavailableError("The keys of the token's issuer cannot be read.") from error
        else:
            self._modified_ns = modified_ns


class UriKeySet:
    """A key set behind a URI, fetched in a thread and kept.

    It is fetched again when it is older than 300 s, and for a key id that it does not have, but
    never more often than every 30 s. While it cannot be fetched, the keys of before stay in force.

    Args:
        uri: ``https`` or ``http``.
        clock: Monotonic seconds.
        fetch: Reads the document behind a URI.
    """

    def __init__(
        self,
        uri: str,
        clock: Callable[[], float] = time.monotonic,
        fetch: Callable[[str], bytes] | None = None,
    ) -> None:
        self._uri = uri
        self._clock = clock
        self._fetch = fetch or fetch_key_set
        self._keys: Keys = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str | None) -> Keys:
        """Returns the keys of this id, as ``KeySet`` has it."""
        if self._is_stale() or not _of_id(self._keys, key_id):
            async with self._fetching:
                # Others waited here while one fetched; for them nothing is left to do.
                if self._may_fetch():
                    await self._refresh()
        if self._fetched_at is None:
            raise UnavailableError("The keys of the token's issuer cannot be fetched.")
        return _of_id(self._keys, key_id)

    def _is_stale(self) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at >= MAX_AGE_SECONDS

    def _may_fetch(self) -> bool:
        return (
            self._tried_at is None or self._clock() - self._tried_at >= MIN_SECONDS_BETWEEN_FETCHES
        )

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = parse_key_set(await asyncio.to_thread(self._fetch, self._uri))
        except (OSError, ValueError) as error:
            _LOGGER.warning("the key set %s cannot be fetched: %s", self._uri, error)
        else:
            self._fetched_at = self._tried_at


def discovered_jwks_uri(issuer: str) -> str:
    """Asks an issuer where its keys are, by OpenID Connect Discovery, within 5 s.

    Raises:
        OSError: It cannot be asked.
        ValueError: Its answer is not that of this issuer.
    """
    document = fetch_key_set(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    configuration = json.loads(document)
    if not isinstance(configuration, dict) or configuration.get("issuer") != issuer:
        raise ValueError("its configuration is that of another issuer")
    jwks_uri = configuration.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        raise ValueError("its configuration has no jwks_uri")
    return jwks_uri


def fetch_discovered_key_set(issuer: str) -> bytes:
    """Reads the key set that an issuer names.

    Raises:
        OSError: It cannot be fetched.
        ValueError: The issuer's answer is not that of this issuer.
    """
    return fetch_key_set(discovered_jwks_uri(issuer))


def fetch_key_set(uri: str) -> bytes:
    """Reads a key set, or another document of at most 1 MiB, within 5 s.

    Raises:
        OSError: It cannot be fetched.
        ValueError: The URI is not ``http`` or ``https``, or the document is too large.
    """
    if not uri.startswith(("https://", "http://")):
        raise ValueError("its URI is neither https nor http")
    with urllib.request.urlopen(uri, timeout=FETCH_TIMEOUT_SECONDS) as response:  # noqa: S310 -- the scheme is checked above
        document: bytes = response.read(MAX_KEY_SET_BYTES + 1)
    if len(document) > MAX_KEY_SET_BYTES:
        raise ValueError(f"it is larger than {MAX_KEY_SET_BYTES} bytes")
    return document


def _of_id(keys: Keys, key_id: str | None) -> Keys:
    return keys if key_id is None else tuple(key for key in keys if key.key_id == key_id)


def _usable_key(entry: object) -> jwt.PyJWK | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(entry)
    except jwt.PyJWTError:
        return None
    return key if key.algorithm_name in ACCEPTED_ALGORITHMS else None
