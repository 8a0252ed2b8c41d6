from __future__ import annotations

from pathlib import Path

from agent_executor.cli.child import ChildSpecification
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.platform import PlatformOptions, gateway_settings
from agent_executor.cli.ports import PlatformPorts
from agent_executor.cli.processes import own_environment, process_groups

PORTS = PlatformPorts(http=8000, grpc_base=5000, metrics_base=9000, executors=3)


def groups(environment: dict[str, str] | None = None) -> list[list[ChildSpecification]]:
    return process_groups(Path("/data"), PORTS, GatewaySettings(), environment or {})


def test_who_is_called_comes_before_who_calls() -> None:
    names = [[child.name for child in group] for group in groups()]
    assert names == [
        ["ledger"],
        ["tool-runner"],
        ["executor-1", "executor-2", "executor-3"],
        ["web"],
        ["gateway"],
    ]


def test_each_service_has_its_ports() -> None:
    ledger, tool_runner, executors, _, _ = groups()
    assert ledger[0].environment["LEDGER_GRPC_PORT"] == "5002"
    assert ledger[0].environment["LEDGER_METRICS_PORT"] == "9002"
    assert tool_runner[0].environment["TOOL_RUNNER_GRPC_PORT"] == "5001"
    assert [child.environment["EXECUTOR_GRPC_PORT"] for child in executors] == [
        "5000",
        "5005",
        "5006",
    ]
    assert [child.environment["EXECUTOR_METRICS_PORT"] for child in executors] == [
        "9000",
        "9005",
        "9006",
    ]


def test_executors_know_their_peers() -> None:
    environment = groups()[2][0].environment
    assert environment["EXECUTOR_TOOL_RUNNER_ADDRESS"] == "127.0.0.1:5001"
    assert environment["EXECUTOR_LEDGER_ADDRESS"] == "127.0.0.1:5002"
    assert environment["EXECUTOR_DATA_DIR"] == "/data"


def test_the_gateway_knows_every_executor(tmp_path: Path) -> None:
    settings = gateway_settings(PlatformOptions(data_dir=tmp_path, ports=PORTS, environment={}))
    assert settings.executor_addresses == ("127.0.0.1:5000", "127.0.0.1:5005", "127.0.0.1:5006")
    assert settings.admin_port == 9003


def test_the_web_process_knows_the_services_and_the_gateway_knows_it(tmp_path: Path) -> None:
    (web,) = groups()[3]
    assert web.environment["WEB_HTTP_PORT"] == "5004"
    assert web.environment["WEB_METRICS_PORT"] == "9004"
    executors = "ipv4:127.0.0.1:5000,127.0.0.1:5005,127.0.0.1:5006"
    assert web.environment["WEB_EXECUTOR_ADDRESS"] == executors
    assert web.environment["WEB_TOOL_RUNNER_ADDRESS"] == "ipv4:127.0.0.1:5001"
    assert web.environment["WEB_LEDGER_ADDRESS"] == "ipv4:127.0.0.1:5002"
    settings = gateway_settings(PlatformOptions(data_dir=tmp_path, ports=PORTS, environment={}))
    assert settings.web_addresses == ("127.0.0.1:5004",)


def test_all_replicas_of_all_services_know_each_other(tmp_path: Path) -> None:
    ports = PlatformPorts(
        http=8000, grpc_base=5000, metrics_base=9000, executors=2, tool_runners=3, ledgers=2
    )
    settings = gateway_settings(PlatformOptions(data_dir=tmp_path, ports=ports, environment={}))
    ledgers, tool_runners, executors, (web,), _ = process_groups(Path("/data"), ports, settings, {})
    assert [child.name for child in tool_runners] == [
        "tool-runner-1",
        "tool-runner-2",
        "tool-runner-3",
    ]
    assert [child.environment["LEDGER_METRICS_PORT"] for child in ledgers] == ["9002", "9008"]
    assert settings.tool_runner_addresses == ("127.0.0.1:5001", "127.0.0.1:5006", "127.0.0.1:5007")
    assert settings.ledger_addresses == ("127.0.0.1:5002", "127.0.0.1:5008")
    for executor in executors:
        assert executor.environment["EXECUTOR_TOOL_RUNNER_ADDRESS"] == ",".join(
            settings.tool_runner_addresses
        )
        assert executor.environment["EXECUTOR_LEDGER_ADDRESS"] == ",".join(
            settings.ledger_addresses
        )
    assert web.environment["WEB_LEDGER_ADDRESS"] == "ipv4:127.0.0.1:5002,127.0.0.1:5008"


def test_nobody_gets_anothers_variables() -> None:
    environment = {
        "ANTHROPIC_API_KEY": "secret",
        "EXECUTOR_A": "1",
        "TOOL_RUNNER_A": "2",
        "LEDGER_A": "3",
        "GATEWAY_A": "4",
        "WEB_A": "5",
        "PATH": "/bin",
    }
    assert own_environment("executor", environment).keys() == {
        "ANTHROPIC_API_KEY",
        "EXECUTOR_A",
        "PATH",
    }
    assert own_environment("tool_runner", environment).keys() == {"TOOL_RUNNER_A", "PATH"}
    assert own_environment("ledger", environment).keys() == {"LEDGER_A", "PATH"}
    assert own_environment("web", environment).keys() == {"WEB_A", "PATH"}
    assert own_environment("gateway", environment).keys() == {"GATEWAY_A", "PATH"}


def test_the_services_trust_the_issuers_of_the_gateway() -> None:
    environment = {"GATEWAY_AUTH_ISSUERS": "[1]", "LEDGER_AUTH_ISSUERS": "[2]"}
    ledger, tool_runner, executors, _, _ = groups(environment)
    assert ledger[0].environment["LEDGER_AUTH_ISSUERS"] == "[2]"
    assert tool_runner[0].environment["TOOL_RUNNER_AUTH_ISSUERS"] == "[1]"
    assert executors[0].environment["EXECUTOR_AUTH_ISSUERS"] == "[1]"
