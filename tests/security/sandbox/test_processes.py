"""Attacks: more processes, more threads, other programs. Both tiers stop all of them.

A child that came to be would go on for ever; the arena looks for it on the host after each test.
"""

from __future__ import annotations

import platform
import sys

import pytest

from tests.security.sandbox.arena import Arena, attack

x86_64_only = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the numbers are those of x86_64"
)

_STAY = """
def stay_if_child(pid):
    while pid == 0:
        time.sleep(1)
    return pid
"""

FORKS = {
    "os.fork": "lambda: stay_if_child(os.fork())",
    "os.forkpty": "lambda: stay_if_child(os.forkpty()[0])",
    "fork of the C library": "lambda: stay_if_child(libc.fork())",
    "posix_spawn": "lambda: os.posix_spawn('/bin/sleep', ['sleep', '60'], {})",
    "subprocess": "lambda: __import__('subprocess').Popen(['sleep', '60'])",
    "system": "lambda: os.system('sleep 60 &') == 0 or -1",
    "multiprocessing": "lambda: __import__('multiprocessing').Process(target=time.sleep).start()",
    "a thread": "lambda: __import__('threading').Thread(target=time.sleep, args=(60,)).start()",
    "a bare thread": "lambda: __import__('_thread').start_new_thread(time.sleep, (60,))",
    "a pool of threads": (
        "lambda: __import__('concurrent.futures').futures.ThreadPoolExecutor()"
        ".submit(time.sleep, 60).result()"
    ),
}

RAW_FORKS = {
    "fork": "lambda: stay_if_child(libc.syscall(57))",
    "vfork": "lambda: stay_if_child(libc.syscall(58))",
    "clone of a process": "lambda: stay_if_child(libc.syscall(56, 17, 0, 0, 0, 0))",
    "clone as a sibling": "lambda: stay_if_child(libc.syscall(56, 0x8000 | 17, 0, 0, 0, 0))",
    "clone as vfork": "lambda: stay_if_child(libc.syscall(56, 0x4000 | 0x100 | 17, 0, 0, 0, 0))",
    "clone into a user namespace": (
        "lambda: stay_if_child(libc.syscall(56, 0x1000_0000 | 17, 0, 0, 0, 0))"
    ),
    "clone of a thread": "lambda: libc.syscall(56, 0x3d0f00, stack_end, 0, 0, 0)",
    "clone3": (
        "lambda: stay_if_child(libc.syscall(435, struct.pack('11Q', *[0] * 4, 17, *[0] * 6), 88))"
    ),
    "clone with garbage in the upper half": (
        "lambda: stay_if_child(libc.syscall(ctypes.c_long((1 << 32) | 56), 17, 0, 0, 0, 0))"
    ),
    "unshare": "lambda: libc.syscall(272, 0x1000_0000)",
    "setns": "lambda: libc.syscall(308, 3, 0)",
}

PROGRAMS = {
    "execve": f"lambda: os.execv({sys.executable!r}, ['python', '-c', 'while True: pass'])",
    "execve of the loader": (
        "lambda: os.execv('/lib64/ld-linux-x86-64.so.2', ['ld', '/bin/sleep', '60'])"
    ),
    "execve of a library's file": "lambda: os.execv(os.__file__, ['os'])",
    "fexecve of what can be read": (
        "lambda: os.execve(os.open(os.__file__, os.O_RDONLY), ['os'], {})"
    ),
    "fexecve of a file in memory": ("lambda: os.execve((os.memfd_create('x'), 1)[0], ['x'], {})"),
    "execvp": "lambda: os.execvp('sleep', ['sleep', '60'])",
    "dlopen of a host's library": "lambda: ctypes.CDLL('libsqlite3.so.0')",
}


@pytest.mark.parametrize("name", FORKS)
def test_starting_a_process_by(arena: Arena, name: str) -> None:
    source = attack(f"return count_that_work({FORKS[name]})", _STAY)
    assert arena.result(source, timeout_seconds=5) == 0


@x86_64_only
@pytest.mark.parametrize("name", RAW_FORKS)
def test_starting_a_process_by_the_system_call(arena: Arena, name: str) -> None:
    before = f"{_STAY}\nstack = bytearray(65536)\nstack_end = ctypes.c_void_p(1 << 20)\n"
    source = attack(f"return count_that_work({RAW_FORKS[name]})", before)
    assert arena.result(source, timeout_seconds=5) == 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_running_a_program_by(arena: Arena, name: str) -> None:
    # If it worked, nobody would be left to answer.
    assert arena.result(attack(f"return count_that_work({PROGRAMS[name]})"), timeout_seconds=5) == 0


@pytest.mark.parametrize("name", ["os.fork", "a bare thread"])
def test_a_bomb_that_tries_for_as_long_as_it_may(arena: Arena, name: str) -> None:
    body = f"""
    end, worked = time.monotonic() + 0.3, 0
    while time.monotonic() < end:
        worked += count_that_work({FORKS[name]})
    return worked
    """
    assert arena.result(attack(body, _STAY), timeout_seconds=5) == 0


def test_a_thread_bomb_in_native_code(arena: Arena) -> None:
    body = """
    main = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: time.sleep(60))
    thread = ctypes.c_ulong()
    return sum(libc.pthread_create(ctypes.byref(thread), None, main, None) == 0 for _ in range(999))
    """
    assert arena.result(attack(body), timeout_seconds=5) == 0
