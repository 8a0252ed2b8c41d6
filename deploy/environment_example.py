"""Write ``deploy/.env.example`` from the settings classes: ``python -m deploy.environment_example``.

What a variable means, its unit and its default are said once, in the settings themselves.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.platform import PlatformOptions, gateway_settings
from agent_executor.cli.ports import PlatformPorts
from agent_executor.cli.processes import process_groups
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.ledger.settings import LedgerSettings
from agent_executor.serving.settings import ProcessSettings, ServiceSettings
from agent_executor.tool_runner.settings import ToolRunnerSettings
from agent_executor.web.settings import WebSettings

TARGET: Final = Path(__file__).with_name(".env.example")

SERVICES: Final[Mapping[str, type[ProcessSettings]]] = {
    "The executor": ExecutorSettings,
    "The tool-runner": ToolRunnerSettings,
    "The ledger": LedgerSettings,
    "The web process": WebSettings,
}

_WIDTH: Final = 98
_INTRODUCTION: Final = (
    "Every setting with its meaning, its unit and its default. Written by `make generate` from "
    "the settings classes; a change here is lost. Copy it to `.env` in the folder from which you "
    "run `agent-executor up`, and take the `#` from what you change. A variable of the "
    "environment goes before one in `.env`. The services themselves, as `agent-executor serve` "
    "starts them, read the environment alone."
)
_PLATFORM: Final = PlatformOptions(data_dir=Path(), ports=PlatformPorts(), environment={})


class Variable(NamedTuple):
    """An environment variable and the field that it sets."""

    name: str
    field_name: str
    field: FieldInfo


def variables_of(settings: type[BaseSettings]) -> list[Variable]:
    """Returns the variables of a settings class, in the order of its fields."""
    prefix = settings.model_config["env_prefix"]
    return [
        Variable(str(field.validation_alias or f"{prefix}{name}".upper()), name, field)
        for name, field in settings.model_fields.items()
    ]


def example() -> str:
    """Returns the file's text."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    shared = list(_shared_variables())
    yield from _comment(_INTRODUCTION)
    yield from _section("Every process", (each for each in shared if _is_of_processes(each)))
    yield from _section("The services", (each for each in shared if not _is_of_processes(each)))
    yield from _section("The gateway", _gateway_variables())
    given = _given_to_services()
    for title, settings in SERVICES.items():
        own = [variable for variable in variables_of(settings) if not _is_shared(variable)]
        # What a service has alone comes before what all services have.
        own.sort(key=lambda variable: variable.field_name in ServiceSettings.model_fields)
        yield from _section(title, (variable for variable in own if variable.name not in given))
        yield from ("", "# Of use with `agent-executor serve` only: `up` decides these itself.")
        yield from _settings(variable for variable in own if variable.name in given)


def _shared_variables() -> Iterator[Variable]:
    """Yields the variables that several kinds of processes share, each once."""
    names = set()
    for settings in SERVICES.values():
        for variable in variables_of(settings):
            if _is_shared(variable) and variable.name not in names:
                names.add(variable.name)
                yield variable


def _gateway_variables() -> list[Variable]:
    """Returns the gateway's variables without those that `up`, which alone runs it, decides."""
    given = gateway_settings(_PLATFORM).model_fields_set
    return [
        variable
        for variable in variables_of(GatewaySettings)
        if not _is_shared(variable) and variable.field_name not in given
    ]


def _given_to_services() -> set[str]:
    """Returns the variables that `up` gives the services, whatever the environment says."""
    groups = process_groups(
        _PLATFORM.data_dir, _PLATFORM.ports, gateway_settings(_PLATFORM), _PLATFORM.environment
    )
    return {name for group in groups for child in group for name in child.environment}


def _is_shared(variable: Variable) -> bool:
    return variable.field.validation_alias is not None


def _is_of_processes(variable: Variable) -> bool:
    return variable.field_name in ProcessSettings.model_fields


def _section(title: str, variables: Iterable[Variable]) -> Iterator[str]:
    yield from ("", f"# ── {title} ".ljust(_WIDTH + 2, "─"))
    yield from _settings(variables)


def _settings(variables: Iterable[Variable]) -> Iterator[str]:
    for variable in variables:
        yield ""
        yield from _comment(variable.field.description or "")
        yield f"#{variable.name}={_default(variable.field)}"


def _default(field: FieldInfo) -> str:
    """Returns the default as one would write it in the environment."""
    if isinstance(field.default, SecretStr):
        return field.default.get_secret_value()
    if isinstance(field.default, str | Path):
        return str(field.default)
    return "" if field.default is None else json.dumps(field.default).removesuffix(".0")


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False)]


if __name__ == "__main__":
    TARGET.write_text(example(), encoding="utf-8")
