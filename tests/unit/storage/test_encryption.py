from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from agent_executor.errors import FailedPreconditionError
from agent_executor.storage.encryption import Encryption


def test_a_secret_is_read_back_only_for_its_resource(tmp_path: Path) -> None:
    encryption = Encryption.from_file(tmp_path / "keys" / "encryption.key")
    ciphertext = encryption.encrypt("sk-secret", "agent-1")
    assert b"sk-secret" not in ciphertext
    assert encryption.decrypt(ciphertext, "agent-1") == "sk-secret"
    with pytest.raises(InvalidTag):
        encryption.decrypt(ciphertext, "agent-2")
    assert encryption.encrypt("sk-secret", "agent-1") != ciphertext


def test_no_secret_is_no_ciphertext(tmp_path: Path) -> None:
    encryption = Encryption.from_file(tmp_path / "encryption.key")
    assert encryption.encrypt("", "agent") == b""
    assert encryption.decrypt(b"", "agent") == ""


def test_processes_that_start_together_share_one_private_key(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: Encryption.from_file(path), range(8)))
    ciphertext = made[0].encrypt("secret", "agent")
    assert {encryption.decrypt(ciphertext, "agent") for encryption in made} == {"secret"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["encryption.key"]


@pytest.mark.parametrize("size_bytes", [0, 16, 24, 31, 33])
def test_a_file_with_another_key_than_one_of_256_bits_is_refused(
    tmp_path: Path, size_bytes: int
) -> None:
    path = tmp_path / "encryption.key"
    path.write_bytes(bytes(size_bytes))
    with pytest.raises(FailedPreconditionError, match="no key of 32 bytes"):
        Encryption.from_file(path)
    assert path.read_bytes() == bytes(size_bytes)
