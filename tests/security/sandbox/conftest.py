"""What the attacks have in common: where they run, and what must hold after each."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.tool_runner.isolation.sandboxes import runnable_environments
from tests.security.sandbox.arena import Arena, open_arena

HOST_SECRET = "secret-of-the-host"
# Both as an ordinary user, and the second where user namespaces are forbidden.
BOTH_TIERS = ["user", "user_without_user_namespaces"]
# Attacks that run in every environment whatever the size, as root for example.
_DECISIVE = frozenset({"test_processes", "test_system_calls"})


@pytest.fixture(scope="session")
def arena_in() -> Iterator[Callable[[str], Arena]]:
    """Returns the arena of an environment, which serves all tests, one after the other."""
    with contextlib.ExitStack() as arenas:
        opened: dict[str, Arena] = {}

        def arena_in(environment: str) -> Arena:
            if environment not in opened:
                opened[environment] = arenas.enter_context(open_arena(environment))
            return opened[environment]

        yield arena_in


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs an attack in both tiers, and everywhere if it is decisive or the size is full."""
    if "arena" in metafunc.fixturenames:
        everywhere = (
            metafunc.config.getoption("--full")
            or metafunc.module.__name__.rpartition(".")[2] in _DECISIVE
        )
        environments = runnable_environments() if everywhere else BOTH_TIERS
        metafunc.parametrize("arena", environments, indirect=True)


@pytest.fixture
def arena(request: pytest.FixtureRequest, arena_in: Callable[[str], Arena]) -> Iterator[Arena]:
    """An arena in an environment; after the attack the pool has to be as it was before."""
    arena = arena_in(request.param)
    arena.settle()
    launchers, descriptors = arena.state()["launcher_pids"], arena.descriptors()
    yield arena
    arena.assert_well_behaved_call_works()
    arena.settle(descriptors)
    assert arena.state()["launcher_pids"] == launchers


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder of the host in which everyone may do everything, with a file in it."""
    folder = Path(tempfile.mkdtemp(prefix="attack-"))
    folder.chmod(0o777)
    secret = folder / "secret.txt"
    secret.write_text(HOST_SECRET)
    secret.chmod(0o666)
    yield folder
    shutil.rmtree(folder)
