"""The files by which a process proves who it is over TLS, and by which it knows its peers."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from agent_executor.serving.startup import StartupError

_OTHERS_CAN_READ: Final = 0o007
_GROUP_CAN_WRITE: Final = 0o020

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What the files hold, as PEM; never shown.

    Attributes:
        certificate: The process's certificate, with those between it and the authority.
        key: Its private key.
        authorities: The certificates of those who may sign a peer's.
    """

    certificate: bytes
    key: bytes
    authorities: bytes

    def __repr__(self) -> str:
        """Keeps the key out of every log."""
        return "TlsIdentity(...)"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they are.

    Attributes:
        certificate: The process's certificate, as PEM, followed by those between it and the
            authority.
        key: Its private key, as PEM without a password, of mode 0600; 0440, as a mounted secret has
            it, will do.
        authorities: The certificates, as PEM, of those who may sign a peer's.
    """

    certificate: Path
    key: Path
    authorities: Path

    def read(self) -> TlsIdentity:
        """Reads and checks them.

        Raises:
            StartupError: One cannot be read, is not what it should be or is open to others, the key
                is another certificate's, or the certificate has expired.
        """
        identity = TlsIdentity(
            certificate=_content(self.certificate, "certificate"),
            key=_content(self.key, "key"),
            authorities=_content(self.authorities, "authority"),
        )
        if self.key.stat().st_mode & (_OTHERS_CAN_READ | _GROUP_CAN_WRITE):
            raise StartupError(f"The TLS key {self.key} is open to others; set its mode to 0600.")
        own = _certificates(identity.certificate, self.certificate)[0]
        _certificates(identity.authorities, self.authorities)
        if _public_key_of(identity.key, self.key) != _der(own.public_key()):
            raise StartupError(
                f"The TLS key {self.key} is not that of the certificate {self.certificate}."
            )
        if own.not_valid_after_utc <= dt.datetime.now(dt.UTC):
            raise StartupError(f"The TLS certificate {self.certificate} has expired.")
        return identity


class WatchedTlsFiles:
    """The files' content as it is now: they are read again whenever one of them was changed.

    While they do not fit together, as when only one of them was written yet, what was read before
    stays in force. It may be used from several threads.

    Args:
        files: Where they are.

    Raises:
        StartupError: As ``TlsFiles.read``.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._reading = threading.Lock()
        self._changed_ns = self._change_times()
        self._identity = files.read()

    def current(self) -> TlsIdentity:
        """Returns the content; the same object for as long as nothing was changed."""
        with self._reading:
            try:
                changed_ns = self._change_times()
                if changed_ns != self._changed_ns:
                    self._identity = self._files.read()
                    self._changed_ns = changed_ns
                    _LOGGER.info("the TLS certificate %s was read again", self._files.certificate)
            except (OSError, StartupError) as error:
                _LOGGER.warning("the changed TLS files are not used: %s", error)
            return self._identity

    def _change_times(self) -> tuple[tuple[int, int], ...]:
        files = (self._files.certificate, self._files.key, self._files.authorities)
        return tuple(_change_time(file) for file in files)


def _change_time(file: Path) -> tuple[int, int]:
    """Tells two versions of a file apart; one that cannot be looked at is never the same."""
    try:
        status = file.stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_ino


def _content(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StartupError(f"The TLS {what} {file} cannot be read: {error.strerror}.") from error


def _certificates(content: bytes, file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        # Its own text would say where in the file, and with it maybe what is there.
        raise StartupError(f"{file} holds no certificate as PEM.") from None


def _public_key_of(content: bytes, file: Path) -> bytes:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise StartupError(f"{file} holds no private key as PEM without a password.") from None
    return _der(key.public_key())


def _der(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]  # every kind of public key has it
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
