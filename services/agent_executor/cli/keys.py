"""The keys of a data folder: made once, readable by their owner only, never made twice."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent_executor.cli.issuer import new_private_key, public_jwk
from agent_executor.serving.grants import SERVICE_KEY_BYTES


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the keys of a data folder are.

    Attributes:
        folder: The folder they are in.
    """

    folder: Path

    @property
    def issuer(self) -> Path:
        """The local issuer's private key, as PEM; only the command line reads it."""
        return self.folder / "issuer.pem"

    @property
    def jwks(self) -> Path:
        """The public keys of both private ones, as a JSON Web Key Set, the newest first."""
        return self.folder / "jwks.json"

    @property
    def token(self) -> Path:
        """The private key by which executors sign tokens for API keys, as PEM."""
        return self.folder / "token.pem"

    @property
    def service(self) -> Path:
        """The key that services sign their grants to each other with."""
        return self.folder / "service.key"


def ensure_keys(data_dir: Path) -> Keys:
    """Makes the keys that are missing, and the folders with them.

    Args:
        data_dir: The platform's data folder.

    Raises:
        OSError: If the folder cannot be written.
        ValueError: If an existing key is not one.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = Keys(data_dir / "keys")
    keys.folder.mkdir(mode=0o700, exist_ok=True)
    with _locked(keys.folder):
        _create(keys.issuer, new_private_key)
        _create(keys.token, new_private_key)
        _create(keys.service, lambda: secrets.token_bytes(SERVICE_KEY_BYTES))
        _publish(keys)
    return keys


def _publish(keys: Keys) -> None:
    """Puts the public halves of the private keys first in the JWKS, before the older ones."""
    published = json.loads(keys.jwks.read_bytes())["keys"] if keys.jwks.exists() else []
    newest = [public_jwk(path.read_bytes()) for path in (keys.issuer, keys.token)]
    if published[: len(newest)] == newest:
        return
    key_ids = {key["kid"] for key in newest}
    older = [key for key in published if key["kid"] not in key_ids]
    replace_private(keys.jwks, json.dumps({"keys": [*newest, *older]}, indent=2).encode())


def _create(path: Path, content: Callable[[], bytes]) -> None:
    if not path.exists():
        replace_private(path, content())


def replace_private(path: Path, content: bytes) -> None:
    """Writes a file of mode 0600 so that a reader sees all of it or none."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time make keys, so that `up` and `token` agree on them."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
