"""Make what the compose file's containers are to keep secret, each in a folder of its own.

    python first_start.py FOLDER

It runs before everything else, at each start, and makes what is missing: keys, certificates (anew
when they are older than two months), and passwords. A container sees its own folder alone; the
folder ``platform``, with the keys that can make all the others, is seen by none.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path
from typing import Final

from agent_executor.cli.certificate_authority import issue_certificates
from agent_executor.cli.keys import Keys, ensure_keys, replace_private

CERTIFICATE_DAYS: Final = 365
RENEWAL_SECONDS: Final = 60 * 24 * 3600
ENCRYPTION_KEY_BYTES: Final = 32
# What callers may reach the gateway by, beside localhost; more of them separated by commas.
HOSTS_VARIABLE: Final = "PUBLIC_HOSTS"
SERVICES: Final = ("executor", "tool-runner", "ledger")


def main(folder: Path) -> None:
    """Makes what is missing below a folder."""
    platform = folder / "platform"
    keys = ensure_keys(platform)
    certificates = _certificates(platform)
    password = _secret(platform / "database-password")
    for service in SERVICES:
        own = folder / service
        _copy(keys.service, own / "keys" / "service.key")
        _copy(keys.jwks, own / "keys" / "jwks.json")
        _write(own / "database" / "pgpass", f"*:*:*:*:{password}\n".encode())
    _copy(keys.token, folder / "executor" / "keys" / "token.pem")
    for service in ("executor", "tool_runner"):
        key = folder / service.replace("_", "-") / service / "encryption.key"
        if not key.exists():
            _write(key, os.urandom(ENCRYPTION_KEY_BYTES))
    for process in (*SERVICES, "web", "gateway"):
        _put_certificate(certificates, process, folder / process / "certificate")
    _for_gateway(keys, certificates, folder / "gateway")
    _for_others(folder / "postgres" / "password", password)
    _for_others(folder / "grafana" / "password", _secret(platform / "grafana-password"))


def _certificates(platform: Path) -> Path:
    """Issues certificates, unless those that there are will do for a while."""
    newest = platform / "certificates" / "client.pem"
    if newest.exists() and time.time() - newest.stat().st_mtime < RENEWAL_SECONDS:
        return newest.parent
    hosts = os.environ.get(HOSTS_VARIABLE, "").split(",")  # noqa: TID251 -- it is a program of its own, and has no settings
    return issue_certificates(platform, hosts=[*filter(None, hosts)], days=CERTIFICATE_DAYS)


def _for_gateway(keys: Keys, certificates: Path, folder: Path) -> None:
    _copy(keys.jwks, folder / "token-issuer" / "jwks.json")
    # An operator may have put a certificate there that callers know already.
    if not (folder / "callers" / "own").exists():
        _put_certificate(certificates, "gateway", folder / "callers")


def _put_certificate(certificates: Path, process: str, folder: Path) -> None:
    _copy(certificates / f"{process}.pem", folder / "tls.crt")
    _copy(certificates / f"{process}.key", folder / "tls.key")
    _copy(certificates / "ca.pem", folder / "ca.crt")


def _secret(path: Path) -> str:
    if not path.exists():
        _write(path, secrets.token_urlsafe(32).encode())
    return path.read_text(encoding="ascii")


def _for_others(path: Path, content: str) -> None:
    """Writes a file for a container of another user, who sees its folder alone."""
    _write(path, content.encode())
    path.chmod(0o444)
    path.parent.chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    _write(target, source.read_bytes())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != content:
        replace_private(path, content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
