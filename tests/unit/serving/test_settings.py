from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from agent_executor.serving.settings import IssuerSettings, ServiceSettings
from agent_executor.serving.startup import StartupError


class SampleSettings(ServiceSettings):
    """The settings of a service for tests."""

    model_config = SettingsConfigDict(env_prefix="SAMPLE_")

    service: ClassVar[str] = "tool-runner"


def test_a_laptop_needs_no_setting() -> None:
    settings = SampleSettings()
    assert settings.host == "127.0.0.1"
    assert settings.otel_exporter_otlp_endpoint == ""
    assert settings.service_key_file == Path(".agent-executor/keys/service.key")
    assert settings.jwks_file == Path(".agent-executor/keys/jwks.json")


def test_a_services_variables_have_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_GRPC_PORT", "50052")
    monkeypatch.setenv("SAMPLE_DATA_DIR", "/data")
    monkeypatch.setenv("SAMPLE_LOG_FORMAT", "console")
    monkeypatch.setenv("GRPC_PORT", "1")
    settings = SampleSettings()
    assert (settings.grpc_port, settings.data_dir) == (50052, Path("/data"))
    assert settings.log_format == "console"


def test_shared_variables_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    monkeypatch.setenv("DEBUG", "true")
    settings = SampleSettings()
    assert settings.otel_exporter_otlp_endpoint == "http://127.0.0.1:4317"
    assert settings.trace_sample_ratio == 0.25
    assert settings.debug


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_GRPC_PORT", "")
    monkeypatch.setenv("DEBUG", "")
    assert SampleSettings().grpc_port == 0


def test_issuers_are_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "SAMPLE_AUTH_ISSUERS",
        '[{"issuer": "https://a.example", "jwks_uri": "https://a.example/keys", "organizations": ["*"]},'
        ' {"issuer": "https://b.example", "jwks_file": "/etc/b.json", "organizations": ["*"]}]',
    )
    assert SampleSettings().auth_issuers == (
        IssuerSettings(
            issuer="https://a.example", jwks_uri="https://a.example/keys", organizations=("*",)
        ),
        IssuerSettings(
            issuer="https://b.example", jwks_file=Path("/etc/b.json"), organizations=("*",)
        ),
    )


@pytest.mark.parametrize(
    "issuer",
    [
        {"issuer": "https://a.example"},
        {"issuer": "https://a.example", "jwks_uri": "https://a", "jwks_file": "/etc/b.json"},
        {"issuer": "https://a.example", "jwks_uri": "file:///etc/b.json"},
        {"issuer": "", "jwks_file": "/etc/b.json"},
        {"issuer": "agent-executor", "jwks_file": "/etc/b.json"},
        {"issuer": "https://a.example", "jwks_file": "/etc/b.json", "algorithm": "none"},
    ],
)
def test_an_issuer_needs_a_name_and_one_source_of_keys(issuer: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        IssuerSettings.model_validate(issuer)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRPC_PORT", "65536"),
        ("METRICS_PORT", "-1"),
        ("LOG_LEVEL", "loud"),
        ("DRAIN_SECONDS", "-1"),
        ("MAX_MESSAGE_BYTES", "1000"),
    ],
)
def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SAMPLE_{name}", value)
    with pytest.raises(ValidationError):
        SampleSettings()


def test_what_is_wrong_is_a_sentence_that_names_variables_and_no_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAMPLE_GRPC_PORT", "70001")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "often")
    with pytest.raises(StartupError) as refused:
        SampleSettings.load()
    message = str(refused.value)
    assert message.startswith("The settings are wrong: ")
    assert "SAMPLE_GRPC_PORT: Input should be less than or equal to 65535" in message
    assert "OTEL_TRACES_SAMPLER_ARG: Input should be a valid number" in message
    assert "70001" not in message
    assert "often" not in message


def test_issuers_that_are_not_json_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_AUTH_ISSUERS", "https://a.example")
    with pytest.raises(StartupError, match="SAMPLE_AUTH_ISSUERS is not JSON"):
        SampleSettings.load()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        SampleSettings().grpc_port = 1  # type: ignore[misc]  # the very thing that must fail


def test_every_field_says_what_it_is_and_in_which_unit() -> None:
    for name, field in ServiceSettings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        for suffix, unit in (("_seconds", "seconds"), ("_ms", "milliseconds"), ("_bytes", "bytes")):
            assert not name.endswith(suffix) or unit in field.description, name


def test_a_shared_database_has_a_schema_for_each_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ada:s3cret@db:5432/all?sslmode=require")
    settings = SampleSettings()
    assert settings.postgres_url == (
        "postgresql://ada:s3cret@db:5432/all?sslmode=require&search_path=tool_runner"
    )
    assert "s3cret" not in repr(settings)


def test_a_database_of_its_own_wins_and_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/all")
    monkeypatch.setenv("SAMPLE_DATABASE_URL", "postgresql://db/tools")
    assert SampleSettings().postgres_url == "postgresql://db/tools"
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("SAMPLE_DATABASE_URL")
    assert SampleSettings().postgres_url == ""


@pytest.mark.parametrize("variable", ["DATABASE_URL", "SAMPLE_DATABASE_URL"])
def test_another_database_than_postgresql_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "mysql://ada:s3cret@db/tools")
    with pytest.raises(StartupError, match=variable) as refused:
        SampleSettings.load()
    assert "s3cret" not in str(refused.value)
