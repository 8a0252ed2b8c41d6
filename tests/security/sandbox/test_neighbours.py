"""Attacks: other processes, their memory and their secrets. Both tiers stop all of them.

The neighbours are a bystander of the host, the tool-runner, its launcher, the first process and a
worker in the middle of a call that holds a secret.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.security.sandbox.arena import RUNNER_SECRET, Arena, attack
from tests.security.sandbox.test_files import REFUSALS
from tests.security.sandbox.test_processes import x86_64_only

_CALL_SECRET = "secret-of-another-call"

# Each is an expression with ``pid``, for all processes that there are to be attacked.
ATTACKS = {
    "kill": "attempt(os.kill, pid, number)",
    "kill of its group": "attempt(os.killpg, pid, number)",
    "kill of everyone": "attempt(os.kill, -1, number)",
    "kill by the system call": "raw(62, pid, number)",
    "kill of a thread": "raw(200, pid, number)",
    "kill of a thread in a group": "raw(234, pid, pid, number)",
    "a queued signal": "raw(129, pid, number, bytes(128))",
    "a queued signal to a thread": "raw(297, pid, pid, number, bytes(128))",
    "a pidfd": "raw(434, pid, 0)",
    "a signal to a pidfd": "raw(424, 3, number, 0, 0)",
    "a descriptor of its": "raw(438, 3, 0, 0)",
    "reading its memory": "raw(310, pid, bytes(16), 1, bytes(16), 1, 0)",
    "writing its memory": "raw(311, pid, bytes(16), 1, bytes(16), 1, 0)",
    "attaching to it": "raw(101, 16, pid, 0, 0)",
    "seizing it": "raw(101, 0x4206, pid, 0, 0)",
    "being traced": "raw(101, 0, 0, 0, 0)",
    "comparing with it": "raw(312, pid, pid, 0, 0, 0)",
    "advising on its memory": "raw(440, 3, bytes(16), 1, 21, 0)",
    "moving its pages": "raw(279, pid, 0, 0, 0, 0, 0)",
    "migrating it": "raw(256, pid, 0, 0, 0)",
    "its limits": "raw(302, pid, 7, bytes(16), 0)",
    "a look at its limits": "raw(302, pid, 7, 0, bytes(16))",
    "its priority": "raw(141, 0, pid, 19)",
    "its processors": "raw(203, pid, 8, bytes(8))",
    "its scheduler": "raw(144, pid, 5, bytes(8))",
    "its group": "raw(109, pid, 0)",
    "waiting for it": "raw(61, pid, 0, 1, 0)",
    "its session": "raw(124, pid)",
    "watching for it": "raw(98 if pid < 0 else 247, 1, pid, bytes(128), 4, 0)",
    "perf events": "raw(298, bytes(128), pid, -1, -1, 0)",
    "a performance counter": "raw(321, 5, bytes(128), 128)",
    "its core dump": "raw(157, 0x59616d61, pid, 0, 0, 0)",
}

FILES = ["environ", "mem", "maps", "cmdline", "fd/0", "fd/3", "root/etc/passwd", "cwd", "stat",
         "status", "io", "syscall", "stack", "auxv", "task", "ns/mnt", "oom_score_adj"]  # fmt: skip


@dataclass(frozen=True)
class Neighbours:
    """Those whom an attack must not reach, by their process numbers."""

    pids: list[int]
    secret_call: int


@pytest.fixture
def neighbours(arena: Arena) -> Iterator[Neighbours]:
    before = {each.pid for each in arena.processes()}
    source = attack("self.http.request('GET', 'hold')\nreturn arguments['secret']")
    secret_call = arena.begin(source, arguments={"secret": _CALL_SECRET})
    arena.wait_until_held()
    with subprocess.Popen(["sleep", "60"], env={"SECRET": _CALL_SECRET}) as bystander:
        everyone = {each.pid for each in arena.processes()} | before
        pids = [bystander.pid, arena.pid, 1, *sorted(everyone)]
        yield Neighbours(pids, secret_call)
        # Neither stopped nor killed.
        assert Path(f"/proc/{bystander.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
        assert bystander.poll() is None
        bystander.kill()
    arena.release()
    assert arena.finish(secret_call)["result"] == _CALL_SECRET


@pytest.mark.parametrize("name", ATTACKS)
def test_a_neighbour_by(arena: Arena, neighbours: Neighbours, name: str) -> None:
    body = f"""
    # In a namespace of processes the numbers are small ones.
    pids = [0, *range(1, 40), *arguments["pids"], os.getpid()]
    return sorted({{str({ATTACKS[name]}) for pid in pids for number in (0, 9, 15, 19)}})
    """
    outcomes = arena.result(attack(body), arguments={"pids": neighbours.pids})
    own_limits = ["0"] if name == "a look at its limits" else []
    assert [o for o in outcomes if o not in {"EPERM", "PermissionError", *own_limits}] == []


@pytest.mark.parametrize("name", FILES)
def test_a_neighbours_proc_file(arena: Arena, neighbours: Neighbours, name: str) -> None:
    body = """
    outcomes = []
    for pid in ("self", "thread-self", *range(1, 40), *arguments["pids"]):
        path = f"/proc/{pid}/{arguments['name']}"
        outcomes += [attempt(lambda: open(path, "rb").read(64)), attempt(os.readlink, path)]
        outcomes += [attempt(os.listdir, path), attempt(lambda: open(path, "wb"))]
    return sorted(set(outcomes))
    """
    arguments = {"pids": neighbours.pids, "name": name}
    assert set(arena.result(attack(body), arguments=arguments)) <= REFUSALS


def test_an_inherited_descriptor(arena: Arena) -> None:
    body = """
    opened = [number for number in range(1024) if raw(5, number, bytes(144)) == 0]
    devices = {os.fstat(number).st_rdev for number in (0, 1, 2)}
    return [opened, len(devices), os.read(0, 1).decode(), attempt(os.read, 1, 1)]
    """
    opened, devices, read, _ = arena.result(attack(body))
    # Three of /dev/null and the worker's own socket.
    assert (opened, devices, read) == ([0, 1, 2, 3], 1, "")


def test_the_environment(arena: Arena) -> None:
    body = """
    environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
    libc.getenv.restype = ctypes.c_char_p
    return [dict(os.environ), bool(environ and environ[0]), libc.getenv(b"RUNNER_SECRET")]
    """
    assert arena.result(attack(body)) == [{}, False, None]


@x86_64_only
def test_arguments_and_environment_as_the_kernel_has_put_them_on_the_stack(arena: Arena) -> None:
    body = """
    start = ctypes.c_void_p.in_dll(libc, "program_invocation_name").value
    end = start
    while readable(end):
        end += 8
    return [sys.argv, sys.orig_argv, ctypes.string_at(start, end - start).decode("latin-1")]
    """
    result = arena.result(attack(body))
    assert len(result[2]) > 100
    assert RUNNER_SECRET not in str(result)
    assert "RUNNER_SECRET" not in str(result)


@x86_64_only
def test_the_memory_that_the_launcher_has_left(arena: Arena) -> None:
    body = """
    page, everything = 4096, []
    buffer = ctypes.create_string_buffer(1 << 20)
    libc.sbrk.restype = ctypes.c_void_p
    for anchor in (id(object()), id(sys), id(os.__doc__), ctypes.addressof(buffer), libc.sbrk(0) - 1):
        start = end = anchor & -page
        while readable(start - page):
            start -= page
        while readable(end):
            end += page
        everything.append(ctypes.string_at(start, end - start))
    # Spelled so that the call itself does not hold the words.
    words = [bytes(reversed(word.encode())) for word in arguments["reversed"]]
    return [len(b"".join(everything)), [any(w in each for each in everything) for w in words]]
    """
    words = [RUNNER_SECRET, "RUNNER_SECRET", _CALL_SECRET, "Touches the memory that a call needs."]
    arguments = {"reversed": [word[::-1] for word in words]}
    size, found = arena.result(attack(body), arguments=arguments)
    assert size > 1 << 20
    # The last one is the launcher's own, and shows that the search finds what there is.
    assert found == [False, False, False, True]
