"""Settings that tools need wherever they run, on the platform or in a program of the library."""

from __future__ import annotations

from typing import Final, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from agent_executor.errors import FailedPreconditionError

_PREFIX: Final = "TOOL_RUNNER_"


class ToolSettings(BaseSettings):
    """Environment variables with the prefix of the tool-runner."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True
    )

    @classmethod
    def of_environment(cls, tool_name: str) -> Self:
        """Reads the settings from the environment, for a program that uses the library.

        Args:
            tool_name: The tool that asks, for the error.

        Raises:
            FailedPreconditionError: A variable's value cannot be; the message names the
                variable, not the value.
        """
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            problem = f"{_PREFIX}{first['loc'][0]}".upper() + f": {first['msg']}"
        except SettingsError:
            problem = "a list is not JSON"
        raise FailedPreconditionError(
            f"The environment variables of the tool {tool_name} are wrong: {problem}.",
            tool_name=tool_name,
        )
