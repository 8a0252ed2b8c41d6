"""The platform's own certificate authority: the certificates by which its processes know each other."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent_executor.cli.issuer import new_private_key
from agent_executor.cli.keys import replace_private

FOLDER: Final = "certificates"
PROCESSES: Final = ("executor", "tool-runner", "ledger", "gateway", "web", "client")
"""Who gets a certificate; `client` is for whoever calls a service directly."""

DEFAULT_DAYS: Final = 365
_AUTHORITY_DAYS: Final = 3650
_AUTHORITY: Final = "agent-executor"
# A machine whose clock is a little behind takes them too.
_BACKDATED: Final = dt.timedelta(minutes=5)
_PREFIXES: Final = {
    "executor": "EXECUTOR",
    "tool-runner": "TOOL_RUNNER",
    "ledger": "LEDGER",
    "web": "WEB",
}


def own_tls_files(data_dir: Path, process: str) -> dict[str, Path]:
    """Returns where a process's files are, by the names of the settings without their prefix."""
    folder = data_dir / FOLDER
    return {
        "tls_certificate_file": folder / f"{process}.pem",
        "tls_key_file": folder / f"{process}.key",
        "tls_ca_file": folder / "ca.pem",
    }


def tls_environment(data_dir: Path) -> dict[str, str]:
    """Returns the variables by which every Python process uses its certificate."""
    files = {
        f"{prefix}_{name.upper()}": str(file)
        for process, prefix in _PREFIXES.items()
        for name, file in own_tls_files(data_dir, process).items()
    }
    # It may know several executors, whose addresses together are no host's.
    return {**files, "WEB_EXECUTOR_TLS_NAME": "executor"}


def issue_certificates(
    data_dir: Path, *, hosts: Sequence[str] = (), days: int = DEFAULT_DAYS
) -> Path:
    """Issues a certificate for every process, with a new key each, in place of those of before.

    The authority is made when there is none; it goes on signing for ten years.

    Args:
        data_dir: The platform's data folder.
        hosts: The names and addresses that services are called by, besides `localhost`, 127.0.0.1
            and the name of the process itself.
        days: How long the certificates are valid.

    Returns:
        The folder: `ca.pem` and `ca.key`, and for each process `NAME.pem` and `NAME.key`.

    Raises:
        OSError: If the folder cannot be written.
        ValueError: If the authority's files are not a certificate and a P-256 key.
    """
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key, certificate = _authority(folder)
    for process in PROCESSES:
        own_key = new_private_key()
        issued = _issued(process, own_key, key, certificate, hosts, days)
        replace_private(folder / f"{process}.key", own_key)
        replace_private(folder / f"{process}.pem", issued)
    return folder


def _authority(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key_file, certificate_file = folder / "ca.key", folder / "ca.pem"
    if not certificate_file.exists():
        private_key = new_private_key()
        replace_private(key_file, private_key)
        replace_private(certificate_file, _self_signed(_load(private_key)))
    key = _load(key_file.read_bytes())
    return key, x509.load_pem_x509_certificate(certificate_file.read_bytes())


def _self_signed(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = _name(_AUTHORITY)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _issued(
    process: str,
    private_key: bytes,
    authority_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    hosts: Sequence[str],
    days: int,
) -> bytes:
    names = [_host(host) for host in dict.fromkeys((process, "localhost", "127.0.0.1", *hosts))]
    # Each of them calls, and most are called.
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(_name(process), authority.subject, _load(private_key).public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _load(private_key: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(private_key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        msg = "the authority's key is not a P-256 key"
        raise ValueError(msg)
    return key
