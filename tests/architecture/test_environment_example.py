"""The example of the environment has every setting, and each line of it is what holds anyway."""

from __future__ import annotations

import re
from collections import Counter
from io import StringIO

import pytest
from dotenv import dotenv_values
from pydantic_settings import BaseSettings

from agent_executor.cli.gateway_settings import GatewaySettings
from deploy.environment_example import SERVICES, TARGET, example, variables_of
from protos.compiler import ROOT

SETTINGS: tuple[type[BaseSettings], ...] = (GatewaySettings, *SERVICES.values())
LINE = re.compile(r"^#([A-Z][A-Z0-9_]*)=", re.MULTILINE)


def test_the_example_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == example(), "run `make generate`"


def test_no_settings_are_left_out() -> None:
    sources = (ROOT / "services" / "agent_executor").rglob("*settings.py")
    prefixes = {
        prefix
        for path in sources
        for prefix in re.findall(r'env_prefix="(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert prefixes == {settings.model_config["env_prefix"] for settings in SETTINGS}


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_is_described(settings: type[BaseSettings]) -> None:
    silent = [name for name, field in settings.model_fields.items() if not field.description]
    assert silent == []


def test_each_variable_of_the_services_is_there_once() -> None:
    wanted = {
        variable.name for settings in SERVICES.values() for variable in variables_of(settings)
    }
    shown = Counter(LINE.findall(example()))
    assert wanted <= set(shown)
    assert [name for name, count in shown.items() if count > 1] == []


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_lines_give_the_defaults(
    settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = [variable.name for variable in variables_of(settings)]
    for name in variables:
        monkeypatch.delenv(name, raising=False)
    defaults = settings()
    values = dotenv_values(stream=StringIO(LINE.sub(r"\1=", example())))
    shown = values.keys() & set(variables)
    assert shown
    for name in shown:
        monkeypatch.setenv(name, values[name] or "")
    assert settings() == defaults
