"""The command line against a platform that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.error_shape import assert_is_error
from tests.platforms import COMMAND, RunningPlatform, command_environment

TIMEOUT_SECONDS = 60


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=command_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )


def test_token_prints_a_token_that_opens_the_platform(
    platform: RunningPlatform, organization: str, tmp_path: Path
) -> None:
    data_dir = ("--data-dir", str(platform.data_dir))
    everything = run(tmp_path, "token", *data_dir)
    assert (everything.returncode, everything.stderr) == (0, "")
    (token,) = everything.stdout.splitlines()
    assert platform.client(token).get("/api/v1/agents").status == 200

    little = run(
        *(tmp_path, "token", *data_dir, "--organization", organization),
        *("--user", "ada", "--permission", "run:read", "--permission", "agent:read"),
    )
    caller = platform.client(little.stdout.strip())
    assert caller.get("/api/v1/agents").body["agents"] == []
    assert caller.get("/api/v1/runs").status == 200
    assert_is_error(caller.get("/api/v1/tools"), 403, "PERMISSION_DENIED")


def test_a_second_platform_on_the_same_port_says_so_and_ends(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    port = platform.http_port
    done = run(tmp_path, "up", "--http-port", str(port))
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"Port {port} is taken; choose another with --http-port." in done.stderr
    assert "Traceback" not in done.stderr
    assert platform.client().get("/api/v1/agents").status == 200
