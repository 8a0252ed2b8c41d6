from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agent_executor.api.ledger.v1 import usage_pb2, usage_service_pb2
from agent_executor.ledger.settings import LedgerSettings


def test_a_laptop_needs_no_settings() -> None:
    settings = LedgerSettings()
    assert settings.reservation_ttl_seconds == 900
    assert settings.database_file == Path(".agent-executor/ledger/ledger.sqlite3")
    assert settings.database_url.get_secret_value() == ""
    assert settings.unknown_model == "refuse"


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


def test_a_database_and_its_password_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_DATABASE_URL", "postgresql://ledger:secret@db/ledger")
    settings = LedgerSettings()
    assert settings.database_url.get_secret_value().endswith("@db/ledger")
    assert "secret" not in repr(settings)


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError):
        LedgerSettings(unknown_model="ignore")


def test_a_batch_of_a_hundred_thousand_rows_fits_one_message() -> None:
    # With ids, agent, run and model of usual lengths, counts and a time.
    row = usage_service_pb2.UsageRecord(
        id="0" * 64,
        agent_id="a" * 36,
        run_id="r" * 36,
        user_id="u" * 36,
        model="m" * 32,
        usage=usage_pb2.TokenUsage(input_tokens=2**20, output_tokens=2**20),
        occurred_at={"seconds": 2**31 - 1, "nanos": 10**9 - 1},
        description="d" * 100,
    )
    assert 100_000 * (row.ByteSize() + 4) < LedgerSettings().max_message_bytes
