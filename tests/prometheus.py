"""A real Prometheus for tests, where there is one: from the PATH, or where `.ci/run` puts it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_executor.cli import die_with_parent
from agent_executor.cli.ports import free_port
from tests.platforms import until

_ROOT = Path(__file__).parents[1]
_INSTALLED = _ROOT / ".tools" / "prometheus" / "usr" / "bin"
_REQUEST_TIMEOUT_SECONDS = 60.0
# Between finding a port free and taking it, another test may take it.
_ATTEMPTS = 3


def _found(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=str(_INSTALLED))


PROMETHEUS = _found("prometheus")
PROMTOOL = _found("promtool")

needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def promtool(*arguments: str | Path) -> str:
    """Runs promtool, which must find nothing wrong, and returns what it says."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, check=False, cwd=_ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class BadQueryError(AssertionError):
    """Prometheus has refused a query; the message has its reason."""


@dataclass(frozen=True, slots=True)
class RunningPrometheus:
    """A Prometheus that scrapes.

    Attributes:
        url: Where it is.
    """

    url: str

    def get(self, path: str, **parameters: str | float) -> Any:
        """Returns what a path of `/api/v1` answers.

        Raises:
            BadQueryError: It has refused the request.
        """
        query = urllib.parse.urlencode(parameters)
        url = f"{self.url}/api/v1/{path}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=_REQUEST_TIMEOUT_SECONDS) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise BadQueryError(f"{query}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Returns the series that an expression has now."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float:
        """Returns the value of an expression that is one number now; 0 without any."""
        found = self.query(expression)
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else 0.0

    def query_range(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Returns the series that an expression has between two times, once a second."""
        window = {"start": start, "end": end, "step": 1.0}
        found: list[dict[str, Any]] = self.get("query_range", query=expression, **window)["result"]
        return found


@contextlib.contextmanager
def running_prometheus(
    folder: Path, configuration: Mapping[str, Any]
) -> Iterator[RunningPrometheus]:
    """Starts a Prometheus with an empty database, and kills it at the end.

    Args:
        folder: Where its configuration and its data go.
        configuration: What its configuration file says.
    """
    assert PROMETHEUS is not None
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(dict(configuration)), encoding="utf-8")
    log_file = folder / "log"
    for _ in range(_ATTEMPTS):
        port = free_port()
        command = [
            *(sys.executable, die_with_parent.__file__, str(os.getpid())),
            *(PROMETHEUS, f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"),
        ]
        with log_file.open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        running = RunningPrometheus(f"http://127.0.0.1:{port}")
        try:
            until(
                lambda process=process, running=running: (  # type: ignore[misc]  # bound at once
                    process.poll() is not None or _is_ready(running)
                ),
                what="a ready Prometheus",
            )
            if process.poll() is None:
                yield running
                return
        finally:
            process.kill()
            process.wait()
        if "address already in use" not in log_file.read_text():
            break
    raise AssertionError(log_file.read_text())


def _is_ready(running: RunningPrometheus) -> bool:
    try:
        with urllib.request.urlopen(f"{running.url}/-/ready", timeout=_REQUEST_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False
