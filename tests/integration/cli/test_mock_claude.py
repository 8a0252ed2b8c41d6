"""`agent-executor mock-claude` from its start to its end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

COMMAND = (sys.executable, "-m", "agent_executor.cli", "mock-claude")


def start(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_answers_and_ends_cleanly(number: signal.Signals) -> None:
    with start("--fault", "overloaded=1", "--seed", "3") as process:
        assert process.stdout is not None
        ready, url = process.stdout.readline().split()
        assert ready == "ready"
        with urllib.request.urlopen(f"{url}/mock/calls") as response:
            assert json.load(response)["billed"] == 0
        request = urllib.request.Request(
            f"{url}/v1/messages",
            data=b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}',
            headers={"x-api-key": "k", "anthropic-version": "2023-06-01"},
        )
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request)
        assert raised.value.code == 529
        raised.value.close()
        process.send_signal(number)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("lunch=0.5", "There is no fault"),
        ("overloaded", "NAME=SHARE"),
        ("overloaded=2", "from 0 to 1"),
    ],
)
def test_a_fault_that_is_none_is_refused(option: str, said: str) -> None:
    ended = subprocess.run(
        [*COMMAND, "--fault", option], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert said in ended.stderr.replace("\n", " ")
