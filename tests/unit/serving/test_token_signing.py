"""The key by which executors sign tokens, as it is read from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_executor.cli.issuer import new_private_key
from agent_executor.serving.startup import StartupError
from agent_executor.serving.token_signing import TokenSigner


def key_file(folder: Path, content: bytes, mode: int) -> Path:
    path = folder / "token.pem"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440])
def test_a_key_of_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    assert TokenSigner.from_file(key_file(tmp_path, new_private_key(), mode)) is not None


def test_without_a_file_there_is_none(tmp_path: Path) -> None:
    assert TokenSigner.from_file(tmp_path / "token.pem") is None


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620])
def test_one_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(StartupError, match="open to others"):
        TokenSigner.from_file(key_file(tmp_path, new_private_key(), mode))


def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="no P-256 key") as caught:
        TokenSigner.from_file(key_file(tmp_path, b"s3cret", 0o600))
    assert "s3cret" not in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read"):
        TokenSigner.from_file(tmp_path)
