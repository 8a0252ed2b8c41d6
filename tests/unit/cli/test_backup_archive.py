"""A backup that is damaged, cut off, changed or of another version is not restored."""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from agent_executor.cli import data_backup
from agent_executor.cli.data_backup import BackupError, make_backup, restore_backup
from agent_executor.cli.keys import ensure_keys
from agent_executor.cli.main import app
from agent_executor.cli.service_databases import SERVICE_DATABASES
from tests.sqlite import migrated_file


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    ensure_keys(folder)
    for database in SERVICE_DATABASES:
        migrated_file(folder / database.file, database.migrations)
    (folder / "executor" / "encryption.key").write_bytes(b"k" * 32)
    return folder


@pytest.fixture
def backup(data_dir: Path, tmp_path: Path) -> Path:
    make_backup(data_dir, tmp_path / "backup", with_keys=True)
    return tmp_path / "backup"


def rewritten(backup: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Returns a backup whose members were changed; None leaves one out."""
    target = backup.with_name("rewritten")
    with tarfile.open(backup) as source, tarfile.open(target, "w:gz") as archive:
        for member in source:
            content = source.extractfile(member)
            assert content is not None
            if (changed := change(member.name, content.read())) is not None:
                member.size = len(changed)
                archive.addfile(member, io.BytesIO(changed))
    return target


def manifest_with(**fields: object) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if name != "manifest.json":
            return content
        return msgspec.json.encode({**msgspec.json.decode(content), **fields})

    return change


def test_a_backup_holds_databases_and_keys_and_gives_both_back(
    data_dir: Path, backup: Path, tmp_path: Path
) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    manifest = restore_backup(backup, tmp_path / "new")
    paths = [part.path for part in manifest.parts]
    assert paths == [
        *("executor/journal.sqlite3", "tool_runner/tool_runner.sqlite3", "ledger/ledger.sqlite3"),
        *("keys/issuer.pem", "keys/jwks.json", "keys/service.key", "keys/token.pem"),
        "executor/encryption.key",
    ]
    for path in paths[3:]:
        assert (tmp_path / "new" / path).read_bytes() == (data_dir / path).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "backup", "new"}


def test_keys_can_be_left_out(data_dir: Path, tmp_path: Path) -> None:
    manifest = make_backup(data_dir, tmp_path / "backup", with_keys=False)
    assert (manifest.has_keys, len(manifest.parts)) == (False, 3)
    done = CliRunner().invoke(
        app, ["restore", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "new")]
    )
    assert done.exit_code == 0
    assert "keys are not in the backup" in done.stderr


def test_a_backup_takes_no_other_files_place(data_dir: Path, backup: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(BackupError, match="exists already"):
        make_backup(data_dir, backup, with_keys=True)
    assert backup.read_bytes() == before


def test_a_file_system_without_links_takes_a_backup(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_link)
    make_backup(data_dir, tmp_path / "backup", with_keys=True)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "backup"}
    restore_backup(tmp_path / "backup", tmp_path / "new")


def test_a_command_that_is_told_to_end_leaves_nothing(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        data_backup, "write_archive", lambda *_: signal.raise_signal(signal.SIGTERM)
    )
    arguments = ["backup", "--data-dir", str(data_dir), "--to", str(tmp_path / "backup")]
    before = signal.getsignal(signal.SIGTERM)
    assert CliRunner().invoke(app, arguments).exit_code == 128 + signal.SIGTERM
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_folder_without_databases_is_told(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="does not exist"):
        make_backup(tmp_path, tmp_path / "backup", with_keys=True)


def test_databases_in_postgresql_are_not_backed_up_here(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hidden@db/agents")
    arguments = ["backup", "--data-dir", str(data_dir), "--to", str(tmp_path / "backup")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "pg_dump" in done.stderr
    assert "hidden" not in done.output
    assert not (tmp_path / "backup").exists()


def other_digest(name: str, content: bytes) -> bytes:
    return content[:-1] + b"?" if name == "keys/service.key" else content


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_digest, "keys/service.key in the backup is not what was written"),
        (lambda name, content: None if "token" in name else content, "lacks keys/token.pem"),
        (manifest_with(format=2), "has form 2"),
        (manifest_with(revisions={"executor": "9999"}), "at revision 9999"),
        (manifest_with(parts=[{"path": "../x", "bytes": 1, "sha256": ""}]), "path that cannot be"),
        (manifest_with(parts=[{"path": "/x", "bytes": 1, "sha256": ""}]), "path that cannot be"),
        (manifest_with(parts=5), "no backup, or it is damaged"),
        (manifest_with(format=2, version="\x1b[2J"), "no backup, or it is damaged"),
    ],
)
def test_a_changed_backup_leaves_no_folder(
    backup: Path, tmp_path: Path, change: Callable[[str, bytes], bytes | None], told: str
) -> None:
    with pytest.raises(BackupError, match=told):
        restore_backup(rewritten(backup, change), tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "backup", "rewritten"}


def test_a_backup_that_was_cut_off_anywhere_leaves_no_folder(backup: Path, tmp_path: Path) -> None:
    content = backup.read_bytes()
    short = tmp_path / "short"
    for size in (0, 1, 100, len(content) // 2, len(content) * 9 // 10):
        short.write_bytes(content[:size])
        with pytest.raises(BackupError):
            restore_backup(short, tmp_path / "new")
        assert not (tmp_path / "new").exists()
