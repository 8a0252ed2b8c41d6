"""An agent's configuration as a program writes it, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from agent_executor.errors import InvalidArgumentError, ToolNotFoundError
from agent_executor.executor.agents.agent import AgentVersion, CustomTool
from agent_executor.executor.models.catalog import LLMModel
from agent_executor.executor.money import nano_usd_of
from agent_executor.tool_runner.builtin import built_in_tools
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.tool_base import ToolBase

_CONFIG_KEYS: Final = frozenset(
    {
        "name",
        "description",
        "agent_type",
        "role",
        "instructions",
        "tools",
        "custom_tools",
        "max_model_turns",
        "max_output_tokens",
        "on_budget_exceeded",
        "max_cost_usd",
        "min_output_tokens",
        "context_policy",
        "approval_policy",
        "provider",
        "base_url",
        "api_key",
        "thinking_budget_tokens",
        "response_cache_ttl_seconds",
    }
)
# Stands for what the platform gives an agent, while a configuration is checked.
_NO_AGENT: Final[dict[str, Any]] = {
    "agent_id": "",
    "organization_id": "",
    "version": 1,
    "created_at_ms": 0,
    "updated_at_ms": 0,
}


def model_of(model: LLMModel | str) -> LLMModel | str:
    """Returns the model as an ``LLMModel`` if it is a known one, else its id.

    Raises:
        InvalidArgumentError: It is neither.
    """
    if not isinstance(model, str) or not model:  # type: ignore[redundant-expr]  # callers need not be type-checked
        raise InvalidArgumentError("The model must be an LLMModel or a model's id.")
    try:
        return LLMModel(model)
    except ValueError:
        return model


def agent_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of ``AgentVersion`` that the configuration sets.

    Raises:
        InvalidArgumentError: A key is unknown or missing, or a value is not of its type.
    """
    if not isinstance(config, Mapping):
        raise InvalidArgumentError("agent_config must be a mapping.")
    unknown = sorted(str(key) for key in config if key not in _CONFIG_KEYS)
    if unknown:
        keys = ", ".join(sorted(_CONFIG_KEYS))
        raise InvalidArgumentError(f'agent_config has no key "{unknown[0]}"; it has {keys}.')
    try:
        custom = {
            name: CustomTool(
                class_name=getattr(use["class"], "__name__", use["class"]),
                enabled=use.get("enabled", True),
            )
            for name, use in config.get("custom_tools", {}).items()
        }
        fields = {**config, "custom_tools": msgspec.to_builtins(custom)}
        fields.pop("api_key", None)
        if "max_cost_usd" in fields:
            fields["max_cost_nano_usd"] = nano_usd_of(fields.pop("max_cost_usd"), "max_cost_usd")
        agent = msgspec.convert({**_NO_AGENT, **fields}, AgentVersion)
    except (AttributeError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise InvalidArgumentError(f"agent_config is not valid: {error}.") from error
    agent.check()
    return {name: getattr(agent, name) for name in fields}


def api_key_of(config: Mapping[str, Any]) -> str:
    """Returns the agent's own key for its model's provider; empty if it has none.

    Raises:
        InvalidArgumentError: It is no text.
    """
    api_key = config.get("api_key", "")
    if not isinstance(api_key, str):
        raise InvalidArgumentError("The api_key of agent_config must be a text.")
    return api_key


def tool_registry(config: Mapping[str, Any], http_request: HTTPRequestTool) -> ToolRegistry:
    """Returns the built-in tools and the program's own that the configuration names.

    Raises:
        ToolNotFoundError: There is no subclass of ``ToolBase`` of the name.
        InvalidArgumentError: The tool cannot be made, or calls itself otherwise.
    """
    registry = ToolRegistry(built_in_tools(http_request))
    for name, use in config.get("custom_tools", {}).items():
        tool_class = _tool_class(name, use["class"])
        make_tool: Callable[[], ToolBase] = tool_class
        try:
            tool = make_tool()
        except Exception as error:  # the program's own code; it is told what that raised
            message = f"The tool {name!r} cannot be made: {tool_class.__name__}(): {error}"
            raise InvalidArgumentError(message, tool_name=name) from error
        registry.register(tool)
        if tool.name != name:
            message = f"The tool {name!r} calls itself {tool.name!r}; the names must be the same."
            raise InvalidArgumentError(message, tool_name=name)
    return registry


def _tool_class(name: str, wanted: type[ToolBase] | str) -> type[ToolBase]:
    """Returns the class, or the subclass of ``ToolBase`` of the name that was defined last."""
    if isinstance(wanted, type):
        if not issubclass(wanted, ToolBase):
            raise InvalidArgumentError(f"{wanted.__name__} is no subclass of ToolBase.")
        return wanted
    found = None
    waiting = list(ToolBase.__subclasses__())
    while waiting:
        candidate = waiting.pop(0)
        waiting.extend(candidate.__subclasses__())
        if candidate.__name__ == wanted:
            found = candidate
    if found is None:
        raise ToolNotFoundError(
            f"The tool {name!r} names the class {wanted!r}, but no such subclass of ToolBase is "
            "defined; import the module that defines it.",
            tool_name=name,
        )
    return found


def enabled_tools(fields: Mapping[str, Any], registry: ToolRegistry) -> dict[str, ToolBase]:
    """Returns the tools that the agent may use, by name.

    Raises:
        ToolNotFoundError: A tool is enabled that there is not.
    """
    agent = AgentVersion(**_NO_AGENT | dict(fields))
    tools: dict[str, ToolBase] = {}
    for name in agent.enabled_tools():
        registered = registry.find(name)
        if registered is None:
            known = ", ".join(tool.name for tool in registry.list())
            raise ToolNotFoundError(
                f"There is no tool named {name!r}; there are {known}.", tool_name=name
            )
        tools[name] = registered.tool
    return tools
