"""`agent-executor ledger verify`: its exit codes and its sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_executor.cli.main import app
from agent_executor.errors import FailedPreconditionError, UnavailableError
from agent_executor.ledger.verification import verify as verification
from agent_executor.ledger.verification.difference import Difference, VerifyProgress

DIFFERENCE = Difference("acme", "balance", "budget everyone from 0", "5", "4")
Tell = Callable[[VerifyProgress], None]


@pytest.fixture
def found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[list[Difference], list[tuple[Path | str, str]]]:
    """Returns what a verification is to find, and what it was asked to verify."""
    differences: list[Difference] = []
    asked: list[tuple[Path | str, str]] = []

    def verify(
        database: Path | str, *, organization_id: str = "", progress: Tell | None = None
    ) -> Iterator[Difference]:
        asked.append((database, organization_id))
        assert progress is not None
        progress(VerifyProgress(1_234, 1_234))
        yield from differences

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEDGER_DATABASE_URL", raising=False)
    monkeypatch.setattr(verification, "verify", verify)
    file = tmp_path / ".agent-executor" / "ledger" / "ledger.sqlite3"
    file.parent.mkdir(parents=True)
    file.touch()
    return differences, asked


Found = tuple[list[Difference], list[tuple[Path | str, str]]]


def test_all_is_well(found: Found) -> None:
    result = CliRunner().invoke(app, ["ledger", "verify", "--organization", "acme"])
    assert result.exit_code == 0
    assert result.stdout == (
        "1,234 entries checked: every balance, hold, sum and price follows from them.\n"
    )
    assert found[1] == [(Path(".agent-executor/ledger/ledger.sqlite3"), "acme")]


def test_a_difference_is_told_and_nothing_is_repaired(found: Found) -> None:
    found[0].append(DIFFERENCE)
    result = CliRunner().invoke(app, ["ledger", "verify"])
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "acme: balance: budget everyone from 0: stored 5, derived 4",
        "1 difference. Nothing was changed.",
    ]


def test_of_very_many_differences_the_first_are_told(found: Found) -> None:
    found[0].extend([DIFFERENCE] * 1_000)
    lines = CliRunner().invoke(app, ["ledger", "verify"]).stdout.splitlines()
    assert len(lines) == 101
    assert lines[-1] == "1,000 differences, of which 100 are shown. Nothing was changed."


def test_a_postgresql_database_is_named_by_option_or_environment(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_DATABASE_URL", "postgresql://from-environment")
    CliRunner().invoke(app, ["ledger", "verify"])
    CliRunner().invoke(app, ["ledger", "verify", "--database-url", "postgresql://from-option"])
    assert [database for database, _ in found[1]] == [
        *("postgresql://from-environment", "postgresql://from-option")
    ]


@pytest.mark.parametrize(
    "error",
    [UnavailableError("It is away."), FailedPreconditionError("It is of another version.")],
)
def test_what_cannot_be_read_is_another_exit_code(
    found: Found, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Difference) -> Difference:
        raise error

    def verify(*_: object, **__: object) -> Iterator[Difference]:
        return map(fail, [DIFFERENCE])

    monkeypatch.setattr(verification, "verify", verify)
    result = CliRunner().invoke(app, ["ledger", "verify"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"The ledger cannot be read: {error}\n"


def test_a_folder_without_a_ledger_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEDGER_DATABASE_URL", raising=False)
    result = CliRunner().invoke(app, ["ledger", "verify", "--data-dir", "nowhere"])
    assert result.exit_code == 2
    assert "nowhere/ledger/ledger.sqlite3 does not exist." in result.stderr
