"""Encryption of secrets at rest, such as an agent's API key or a credential of its tools."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent_executor.errors import FailedPreconditionError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Encryption:
    """AES-256-GCM under one key. The ciphertext is bound to the resource it belongs to."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def from_file(cls, path: Path) -> Encryption:
        """Returns the encryption of the key in a file, making the key at first use.

        The file is readable by its owner alone. Losing it loses what was encrypted.

        Raises:
            FailedPreconditionError: The file holds no such key.
            OSError: It cannot be made or read.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            # Linked when it is whole, so that processes that start together use one key.
            with tempfile.NamedTemporaryFile(dir=path.parent) as file:
                file.write(os.urandom(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
                with contextlib.suppress(FileExistsError):
                    os.link(file.name, path)
            _make_durable(path.parent)
        key = path.read_bytes()
        # A shorter one would be taken for a key of a weaker cipher.
        if len(key) != KEY_BYTES:
            raise FailedPreconditionError(f"The file {path} holds no key of {KEY_BYTES} bytes.")
        return cls(key)

    def encrypt(self, secret: str, resource_id: str) -> bytes:
        """Returns the ciphertext of a secret; empty for the empty secret."""
        if not secret:
            return b""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), resource_id.encode())

    def decrypt(self, ciphertext: bytes, resource_id: str) -> str:
        """Returns the secret of ``encrypt``.

        Raises:
            cryptography.exceptions.InvalidTag: The key or the resource is another one.
        """
        if not ciphertext:
            return ""
        nonce, body = ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:]
        return self._cipher.decrypt(nonce, body, resource_id.encode()).decode()


def _make_durable(folder: Path) -> None:
    """Writes a folder's list of files to the disk, before anything is encrypted with one of them."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
