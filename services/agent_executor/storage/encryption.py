"""Encryption of secrets at rest, such as an agent's API key or a credential of its tools."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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
        return cls(path.read_bytes())

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
