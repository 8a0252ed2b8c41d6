from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agent_executor.ledger.settings import LedgerSettings


def test_a_laptop_needs_no_settings() -> None:
    settings = LedgerSettings()
    assert settings.reservation_ttl_seconds == 900
    assert settings.database_file == Path(".agent-executor/ledger/ledger.sqlite3")


def test_variables_have_the_prefix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LEDGER_RESERVATION_TTL_SECONDS", "60")
    settings = LedgerSettings()
    assert settings.reservation_ttl_seconds == 60
    assert settings.database_file == tmp_path / "ledger" / "ledger.sqlite3"


@pytest.mark.parametrize("seconds", [0, 86_401])
def test_a_hold_lasts_a_day_at_most(seconds: int) -> None:
    with pytest.raises(ValidationError):
        LedgerSettings(reservation_ttl_seconds=seconds)
