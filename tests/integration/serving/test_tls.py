"""Mutual TLS: who is admitted, what is said of files that are no good, and certificates that change."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import time_machine
from pydantic import ValidationError

from agent_executor.cli.certificate_authority import issue_certificates, own_tls_files
from agent_executor.serving.multiplex_frames import CHANNEL_OPTIONS
from agent_executor.serving.server import started
from agent_executor.serving.settings import ServiceSettings
from agent_executor.serving.startup import StartupError
from agent_executor.serving.tls import channel_credentials, peer_channel
from agent_executor.serving.tls_files import TlsFiles, WatchedTlsFiles
from tests.integration.serving.sample_service import NAME, bootstrap
from tests.integration.serving.test_server import SERVING, health_of

# So that every channel makes its own connection.
OPTIONS = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


def files_of(data_dir: Path, process: str) -> TlsFiles:
    own = own_tls_files(data_dir, process)
    return TlsFiles(own["tls_certificate_file"], own["tls_key_file"], own["tls_ca_file"])


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The platform's certificates; no test changes them."""
    folder = tmp_path_factory.mktemp("ours")
    issue_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of another authority."""
    folder = tmp_path_factory.mktemp("theirs")
    issue_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def expired(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of our authority that have expired."""
    folder = tmp_path_factory.mktemp("expired")
    shutil.copytree(ours, folder, dirs_exist_ok=True)
    with time_machine.travel(dt.datetime.now(dt.UTC) - dt.timedelta(days=2), tick=False):
        issue_certificates(folder, days=1)
    return folder


@pytest.fixture
def tls_settings(settings: ServiceSettings, ours: Path) -> ServiceSettings:
    return settings.model_copy(update=own_tls_files(ours, "ledger"))


async def outcome(port: int, files: TlsFiles | None, name: str = "") -> grpc.StatusCode:
    """Returns how a health check of the server ends."""
    async with peer_channel(f"127.0.0.1:{port}", files, name, OPTIONS) as channel:
        try:
            assert await health_of(channel, "") == SERVING
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def code_with(port: int, credentials: grpc.ChannelCredentials) -> grpc.StatusCode:
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, OPTIONS) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health_of(channel, "")
    return refused.value.code()


async def test_only_peers_of_our_authority_are_admitted(
    tls_settings: ServiceSettings, ours: Path, theirs: Path, expired: Path
) -> None:
    mine = files_of(ours, "executor")
    authorities = mine.authorities.read_bytes()
    async with started(NAME, tls_settings, bootstrap) as running:
        port = running.grpc_port
        assert await outcome(port, mine) is grpc.StatusCode.OK
        # Neither without TLS nor without a certificate.
        assert await outcome(port, None) is grpc.StatusCode.UNAVAILABLE
        for pair in (
            (None, None),
            *(
                (files_of(folder, "executor").key, files_of(folder, "executor").certificate)
                for folder in (theirs, expired)
            ),
        ):
            key, certificate = (file.read_bytes() if file else None for file in pair)
            credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
            assert await code_with(port, credentials) is grpc.StatusCode.UNAVAILABLE
        # The channel looks at the server just as closely.
        assert await outcome(port, files_of(theirs, "executor")) is grpc.StatusCode.UNAVAILABLE
        assert await outcome(port, mine, "tool-runner") is grpc.StatusCode.UNAVAILABLE
        assert await outcome(port, mine, "ledger") is grpc.StatusCode.OK


async def test_certificates_that_are_replaced_are_taken_up_by_both_ends(
    settings: ServiceSettings, ours: Path, theirs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(ours, folder)
    changing = settings.model_copy(update=own_tls_files(folder, "ledger"))
    mine = files_of(folder, "executor")
    async with (
        started(NAME, changing, bootstrap) as running,
        peer_channel(f"127.0.0.1:{running.grpc_port}", mine, "", OPTIONS) as channel,
    ):
        assert await health_of(channel, "") == SERVING
        shutil.copytree(theirs, folder, dirs_exist_ok=True)
        # The call goes over a new connection, at which both show their new certificates.
        assert await health_of(channel, "") == SERVING
        assert await outcome(running.grpc_port, files_of(theirs, "gateway")) is grpc.StatusCode.OK
        old = channel_credentials(files_of(ours, "gateway").read())
        assert await code_with(running.grpc_port, old) is grpc.StatusCode.UNAVAILABLE


def test_what_does_not_fit_together_yet_is_not_taken_up(
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(ours, folder)
    files = files_of(folder, "executor")
    watched = WatchedTlsFiles(files)
    before = watched.current()
    assert watched.current() is before
    newer = files_of(theirs, "executor")
    files.key.write_bytes(newer.key.read_bytes())
    assert watched.current() is before
    files.certificate.write_bytes(newer.certificate.read_bytes())
    assert watched.current() != before
    files.key.unlink()
    assert watched.current().key == newer.key.read_bytes()
    assert "PRIVATE" not in repr(watched.current())


def missing(files: TlsFiles) -> None:
    files.certificate.unlink()


def a_folder(files: TlsFiles) -> None:
    files.authorities.unlink()
    files.authorities.mkdir()


def no_certificate(files: TlsFiles) -> None:
    files.certificate.write_bytes(files.key.read_bytes())


def no_authority(files: TlsFiles) -> None:
    files.authorities.write_text("")


def no_key(files: TlsFiles) -> None:
    files.key.write_bytes(files.certificate.read_bytes())


def open_key(files: TlsFiles) -> None:
    files.key.chmod(0o644)


def anothers_key(files: TlsFiles) -> None:
    files.key.write_bytes(files.key.with_name("ledger.key").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (missing, "executor.pem cannot be read: No such file or directory"),
        (a_folder, "ca.pem cannot be read: Is a directory"),
        (no_certificate, "executor.pem holds no certificate as PEM"),
        (no_authority, "ca.pem holds no certificate as PEM"),
        (no_key, "executor.key holds no private key as PEM without a password"),
        (open_key, "executor.key is open to others; set its mode to 0600"),
        (anothers_key, "executor.key is not that of the certificate"),
    ],
)
async def test_files_that_are_no_good_are_named_at_the_start(
    settings: ServiceSettings,
    ours: Path,
    tmp_path: Path,
    spoil: Callable[[TlsFiles], None],
    said: str,
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(ours, folder)
    spoil(files_of(folder, "executor"))
    spoilt = settings.model_copy(update=own_tls_files(folder, "executor"))
    with pytest.raises(StartupError, match=said) as refused:
        async with started(NAME, spoilt, bootstrap):
            pass
    assert "-----" not in str(refused.value)


async def test_a_certificate_that_has_expired_is_named_at_the_start(
    settings: ServiceSettings, expired: Path
) -> None:
    old = settings.model_copy(update=own_tls_files(expired, "ledger"))
    with pytest.raises(StartupError, match=r"ledger\.pem has expired"):
        async with started(NAME, old, bootstrap):
            pass


def test_some_of_the_files_are_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="go together"):
        ServiceSettings(tls_key_file=tmp_path)


def test_the_variables_are_named_when_some_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLS_KEY_FILE", "/nowhere")
    with pytest.raises(StartupError, match=r"TLS_CERTIFICATE_FILE: .* go together"):
        ServiceSettings.load()
