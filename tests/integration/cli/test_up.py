"""`agent-executor up` as an operator meets it: starting, stopping and what it says when it cannot."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from agent_executor.cli.ports import PlatformPorts, free_ports
from tests.platforms import COMMAND, children_of, command_environment, running_platform, until

TIMEOUT_SECONDS = 60


def up(
    folder: Path, ports: PlatformPorts, *options: str, **environment: str
) -> subprocess.Popen[str]:
    """Starts `up` in a folder, on ports, with its output to be read."""
    ports_options = {
        "--http-port": ports.http,
        "--grpc-port-base": ports.grpc_base,
        "--metrics-port-base": ports.metrics_base,
    }
    arguments = [str(part) for option in ports_options.items() for part in option]
    return subprocess.Popen(
        [*COMMAND, "up", *arguments, *options],
        cwd=folder,
        env=command_environment(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Waits for the end and returns standard output and standard error."""
    try:
        return process.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        process.kill()
        process.wait()


def test_it_prints_one_line_and_stops_on_a_signal(tmp_path: Path) -> None:
    ports = free_ports(executors=2)
    process = up(tmp_path, ports, "--workers", "2", LEDGER_LOG_LEVEL="error")
    assert process.stdout is not None
    ready = process.stdout.readline()
    children = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    stdout, stderr = output_of(process)
    assert ready == f"ready http://127.0.0.1:{ports.http}\n"
    assert len(children) == 6
    assert process.returncode == 0, stderr
    assert stdout == ""
    assert "executor-2 is healthy" in stderr
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert (tmp_path / ".agent-executor").stat().st_mode & 0o777 == 0o700


def test_a_process_that_never_starts_is_the_end_of_it(tmp_path: Path) -> None:
    process = up(tmp_path, free_ports(), LEDGER_LOG_FORMAT="nonsense")
    stdout, stderr = output_of(process)
    assert process.returncode == 1
    assert stdout == ""
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("agent-executor: ledger exited with code 1; it died 5 times in a row")


def test_several_ledgers_need_postgresql(tmp_path: Path) -> None:
    process = up(tmp_path, free_ports(), "--ledgers", "2")
    stdout, stderr = output_of(process)
    assert process.returncode == 1
    assert stdout == ""
    assert stderr.strip() == (
        "agent-executor: --ledgers 2 needs a PostgreSQL database: set DATABASE_URL, or"
        " LEDGER_DATABASE_URL."
    )


def test_a_data_folder_has_one_platform(tmp_path: Path) -> None:
    with running_platform() as platform:
        process = up(tmp_path, free_ports(), "--data-dir", str(platform.data_dir))
        stdout, stderr = output_of(process)
        assert process.returncode == 1
        assert stdout == ""
        assert "is in use by another `agent-executor up`" in stderr
        # And the first one is not disturbed.
        assert platform.client().get("/api/v1/agents").status == 200


def test_a_second_signal_kills_at_once() -> None:
    with running_platform() as platform, platform.paused("ledger"):
        children = children_of(platform.process.pid)
        platform.process.terminate()
        until(lambda: "stopping; once more kills" in platform.log)
        started = time.monotonic()
        platform.process.terminate()
        assert platform.process.wait(TIMEOUT_SECONDS) == 128 + signal.SIGTERM
        # A service that is left to stop by itself has 30 s.
        assert time.monotonic() - started < 20
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def test_a_killed_up_takes_its_children_with_it() -> None:
    with running_platform() as platform:
        children = children_of(platform.process.pid)
        assert len(children) == 5
        platform.process.kill()
        platform.process.wait(TIMEOUT_SECONDS)
        until(lambda: not any(_is_alive(pid) for pid in children))


def test_the_demonstration_shows_the_answer_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "demo"],
        cwd=tmp_path,
        env=command_environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    for expected in (
        "15 + 27 = 42",
        '"result": 42',
        "execute_tool calculator",
        "invoke_agent Math Assistant",
        "model_call",
    ):
        assert expected in done.stdout
    assert list(tmp_path.iterdir()) == []


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
