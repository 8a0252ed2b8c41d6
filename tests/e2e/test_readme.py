"""The README's tour, word for word but for the port, the data folder and the organization."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platforms import COMMAND, RunningPlatform, command_environment

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
TOUR = README.partition("## A five-minute tour")[2].partition("\n## ")[0]
TIMEOUT_SECONDS = 100

# A program and, in the next block, what it prints.
PROGRAMS = re.findall(r"```python\n([^`]*)```\n\n```\n([^`]*)```", TOUR)
WHAT_THE_TOUR_SHOWS = (
    '"response":"2 + 2 = 4"',
    '"name":"calculator","description":"Performs arithmetic operations","enabled":true',
    '"response":"Test successful: 15 + 27 = 42"',
    '"sequence":17,"type":"run_finished"',
    "15 + 27 = 42",
    "has $0.039512 left of $0.05; the call may cost $0.073626.",
    "step                       input   cached   output        cost",
    "model call 1",
    'stock returned {\\"article\\":\\"A-17\\",\\"pieces\\":42}',
    '"domain":"stock.example.com"',
    '"allowed_origins":["https://stock.example.com"]',
    '"tool_name":"stock","scope":"user","max_calls":100',
    "10 run_finished\n6 * 7 = 42",
    "15 + 27 = 42\n3 * 4 = 12",
    '"permissions":["agent:read","run:execute","tool:*"]',
    "nightly report",
    '"protocolBinding":"JSONRPC"',
)


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("program", "output"), PROGRAMS, ids=("library", "own tool"))
def test_the_programs_print_what_is_shown(program: str, output: str, tmp_path: Path) -> None:
    assert run([sys.executable, "-c", program], tmp_path) == output


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour needs curl")
def test_the_tour_can_be_made(platform: RunningPlatform, organization: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```bash\n([^`]*)```", TOUR)
    programs = re.findall(r"`(\w+\.py)`:\n\n```python\n([^`]*)```", TOUR)
    assert [name for name, _ in programs] == ["client.py", "tour.py"]
    token = (
        f"{' '.join(COMMAND)} token --data-dir {platform.data_dir} --organization {organization}"
    )
    replacements = {
        "127.0.0.1:8080": f"127.0.0.1:{platform.http_port}",
        ".venv/bin/python": sys.executable,
        ".venv/bin/agent-executor token": token,
        ".venv/bin/agent-executor audit verify": (
            f"{' '.join(COMMAND)} audit verify --data-dir {platform.data_dir}"
            f" --organization {organization}"
        ),
    }
    here = (
        f"--url http://127.0.0.1:{platform.http_port} --data-dir {platform.data_dir}"
        f" --organization {organization}"
    )
    for command in (
        'run "Math Assistant" "What is 15 + 27?"',
        "usage --by agent --by model",
        "usage run $RUN",
        "runs show $RUN",
        "keys list",
    ):
        replacements[f".venv/bin/agent-executor {command}"] = (
            f"{' '.join(COMMAND)} {command} {here}"
        )
    script = "\n".join(block for block in blocks if "make setup" not in block)
    for written, meant in replacements.items():
        assert written in script
        script = script.replace(written, meant)
    for name, program in programs:
        here = program.replace("127.0.0.1:8080", f"127.0.0.1:{platform.http_port}")
        (tmp_path / name).write_text(here, encoding="utf-8")
    shown = run(["bash", "-euo", "pipefail", "-c", script], tmp_path)
    assert [part for part in WHAT_THE_TOUR_SHOWS if part not in shown] == []
    assert '"success":false' not in shown
