from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from agent_executor.cli.certificate_authority import PROCESSES, issue_certificates, own_tls_files
from agent_executor.cli.main import app
from agent_executor.serving.tls_files import TlsFiles


def files_of(data_dir: Path, process: str) -> TlsFiles:
    own = own_tls_files(data_dir, process)
    return TlsFiles(own["tls_certificate_file"], own["tls_key_file"], own["tls_ca_file"])


def test_every_process_gets_what_it_needs(tmp_path: Path) -> None:
    command = ["certificates", "--data-dir", str(tmp_path), "--host", "*.example", "--days", "3"]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'certificates'}\n")
    for process in PROCESSES:
        files = files_of(tmp_path, process)
        certificate = x509.load_pem_x509_certificate(files.read().certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = set(names.get_values_for_type(x509.DNSName))
        assert hosts == {process, "localhost", "*.example"}
        assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
        left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
        assert dt.timedelta(days=2) < left <= dt.timedelta(days=3)
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "certificates").iterdir()}
    assert modes == {0o600}


def test_the_authority_is_kept_and_the_certificates_are_not(tmp_path: Path) -> None:
    issue_certificates(tmp_path)
    before = files_of(tmp_path, "ledger").read()
    issue_certificates(tmp_path)
    after = files_of(tmp_path, "ledger").read()
    assert after.authorities == before.authorities
    assert after.key != before.key
    authority = x509.load_pem_x509_certificate(after.authorities)
    x509.load_pem_x509_certificate(after.certificate).verify_directly_issued_by(authority)


@pytest.mark.parametrize("broken", ["ca.key", "ca.pem"])
def test_an_authority_that_is_none_is_named(tmp_path: Path, broken: str) -> None:
    folder = issue_certificates(tmp_path)
    (folder / broken).write_text("nothing")
    result = CliRunner().invoke(app, ["certificates", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("agent-executor: ")
