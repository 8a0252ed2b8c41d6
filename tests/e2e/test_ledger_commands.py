"""The ledger's commands against a platform that runs: they show what it has really recorded."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.e2e.agents_and_runs import SUM, create_agent, execute
from tests.e2e.test_commands import run
from tests.platforms import RunningPlatform


def test_what_a_run_cost_is_the_same_wherever_one_looks(
    platform: RunningPlatform, organization: str, tmp_path: Path
) -> None:
    client = platform.client(platform.token(organization))
    agent = create_agent(client, tools={"calculator": True})
    answer = execute(client, agent, SUM)
    cost = int(answer["cost_nano_usd"])
    options = (
        *("--url", f"http://127.0.0.1:{platform.http_port}"),
        *("--data-dir", str(platform.data_dir), "--organization", organization),
    )

    step_by_step = run(tmp_path, "usage", "run", answer["task_id"], "--json", *options)
    assert (step_by_step.returncode, step_by_step.stderr) == (0, "")
    assert int(json.loads(step_by_step.stdout)["total"]["cost_nano_usd"]) == cost

    summed = run(tmp_path, "usage", "--by", "agent", "--since", "1h", "--json", *options)
    (row,) = json.loads(summed.stdout)["summaries"]
    assert (row["agent_id"], int(row["cost_nano_usd"])) == (answer["agent_id"], cost)

    shown = run(tmp_path, "usage", "--since", "1h", *options)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"{answer['agent_id']} " in shown.stdout
    assert "100.0 %" in shown.stdout

    file = tmp_path / "usage.csv"
    assert run(tmp_path, "usage", "export", "--output", str(file), *options).returncode == 0
    with file.open(newline="") as lines:
        assert sum(int(line["cost_nano_usd"]) for line in csv.DictReader(lines)) == cost


def test_a_budget_that_is_set_holds(
    platform: RunningPlatform, organization: str, tmp_path: Path
) -> None:
    options = (
        *("--url", f"http://127.0.0.1:{platform.http_port}"),
        *("--data-dir", str(platform.data_dir), "--organization", organization),
    )
    made = run(tmp_path, "budgets", "set", "none", "--limit", "0", "--window", "day", *options)
    assert (made.returncode, made.stderr) == (0, "")
    client = platform.client(platform.token(organization))
    agent = create_agent(client, tools={"calculator": True})
    assert execute(client, agent, SUM)["state"] == "budget_exceeded"
    assert "everyone per day" in run(tmp_path, "budgets", "list", *options).stdout
    assert run(tmp_path, "budgets", "delete", "none", *options).returncode == 0
    assert "There are no budgets" in run(tmp_path, "budgets", "list", *options).stdout
    assert execute(client, agent, SUM)["state"] == "completed"


def test_prices_and_suggestions_are_there_and_the_ledger_verifies(
    platform: RunningPlatform, organization: str, tmp_path: Path
) -> None:
    options = (
        *("--url", f"http://127.0.0.1:{platform.http_port}"),
        *("--data-dir", str(platform.data_dir), "--organization", organization),
    )
    made = run(tmp_path, "rate-cards", "set", "--tool", "calculator", "--fee", "0.01", *options)
    assert (made.returncode, made.stderr) == (0, "")
    card_id = made.stdout.splitlines()[0]
    assert card_id in run(tmp_path, "rate-cards", "list", *options).stdout
    assert run(tmp_path, "rate-cards", "withdraw", card_id, *options).returncode == 0
    example = ("--input-tokens", "1000000", "--output-tokens", "0")
    resolved = run(tmp_path, "rate-cards", "resolve", "claude-sonnet-5", *example, *options)
    assert "1,000,000 input and 0 output tokens cost $" in resolved.stdout

    suggested = run(tmp_path, "suggestions", *options)
    assert suggested.stdout.startswith("Nothing to suggest. $0.000000 was spent from ")

    verified = run(tmp_path, "ledger", "verify", "--data-dir", str(platform.data_dir))
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout.endswith("every balance, hold, sum and price follows from them.\n")


def test_another_platform_s_failure_is_one_sentence(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{platform.http_port}"
    data_dir = ("--data-dir", str(platform.data_dir))
    unknown = run(tmp_path, "usage", "run", "no-such-run", "--url", url, *data_dir)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "agent-executor: The ledger knows nothing of a run 'no-such-run'.\n"
    assert "Traceback" not in unknown.stderr
