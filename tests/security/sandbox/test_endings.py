"""Attacks: a worker that ends itself, does not end, or harms whoever tells of its end.

Both tiers stop all of them: the call fails, within its deadline, and nobody else notices.
"""

from __future__ import annotations

import time

import pytest

from tests.security.sandbox.arena import Arena, attack

# Each ends the process or the call in another way than by a result.
ENDS = {
    "_exit": "os._exit(0)",
    "_exit with a status": "os._exit(255)",
    "exit of the C library": "libc.exit(0)",
    "the system call": "raw(231, 0)",
    "the thread's system call": "raw(60, 0)",
    "abort": "os.abort()",
    "abort of the C library": "libc.abort()",
    "reading address 0": "ctypes.string_at(0)",
    "writing address 1": "ctypes.memset(1, 1, 1)",
    "jumping to address 0": "ctypes.CFUNCTYPE(None)(1)()",
    "an illegal instruction": "run_machine_code(b'\\x0f\\x0b' * 2048)",
    "a privileged instruction": "run_machine_code(b'\\xf4' * 4096)",
    "a division by zero": "run_machine_code(b'\\x31\\xc9\\xf7\\xf1\\xc3' + bytes(4091))",
    "a trap": "run_machine_code(b'\\xcc' * 4096)",
    "running out of stack": "run_machine_code(b'\\x50\\xeb\\xfd' + bytes(4093))",
    "unmapping everything": "libc.munmap(None, ctypes.c_size_t((1 << 47) - 4096))",
    "overwriting the interpreter": "ctypes.memset(id(type), 0, 400)",
    "freeing what is in use": "libc.free(ctypes.c_void_p(id(self)))",
    "sys.exit": "sys.exit(0)",
    "SystemExit with an object": "raise SystemExit(self)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "BaseException": "raise BaseException",
    "StopIteration": "raise StopIteration",
    "a recursion": "f = lambda: f()\nf()",
    "a group of errors": "raise BaseExceptionGroup('x', [KeyboardInterrupt()] * 99)",
    "a long chain of errors": "chained(5_000)",
    "an error that is large": "raise OSError('x' * 10_000_000)",
    "an error without text": "raise type('E', (Exception,), {'__str__': lambda _: 1 / 0})()",
    "an error whose text exits": "raise type('E', (Exception,), {'__str__': lambda _: os._exit(0)})()",
    "an error whose text interrupts": "raise type('E', (Exception,), {'__str__': interrupting})()",
    "an error whose text is none": "raise type('E', (Exception,), {'__str__': lambda _: 1})()",
    "an error whose text is half a character": "raise OSError('\\ud800')",
    "an error with a long name": "raise type('E' * 100_000, (Exception,), {})()",
    "an error with a name that is no text": "raise type('\\ud800', (Exception,), {})()",
    "an error of the platform with objects": (
        "raise __import__('agent_executor').AgentExecutorError(self, metadata={1: self})"
    ),
    "an error of the platform with an endless wait": (
        "raise __import__('agent_executor').ToolExecutionError('x', retry_after_seconds=10**400)"
    ),
    "an error of the platform that is odd": "odd()",
    "an error of the platform from a deleted field": "deleted()",
    "a finalizer at the end": "self.keep = type('D', (), {'__del__': lambda _: os._exit(9)})()\n1 / 0",
    "a trace that raises": "sys.settrace(lambda *_: 1 / 0)\n(lambda: 0)()",
    "an audit hook that raises": "sys.addaudithook(lambda *_: 1 / 0)\nopen('x')",
    "memory": "raise MemoryError",
}

_HELPERS = """
def chained(length):
    error = None
    for _ in range(length):
        next_error = OSError()
        next_error.__context__ = next_error.__cause__ = error
        error = next_error
    raise error

def interrupting(_):
    raise KeyboardInterrupt

def odd():
    from agent_executor import ToolExecutionError
    class Odd(ToolExecutionError):
        reason = property(lambda self: 1 / 0)
    raise Odd("x")

def deleted():
    from agent_executor import ToolExecutionError
    error = ToolExecutionError("x")
    error.metadata = type("M", (dict,), {"items": lambda _: 1 / 0})()
    raise error
"""

# Each goes on until it is stopped from outside.
LOOPS = {
    "sleeping": "time.sleep(60)",
    "sleeping in native code": "libc.sleep(60)",
    "waiting for a lock": "__import__('threading').Lock().acquire() or None\n"
    "l = __import__('threading').Lock()\nl.acquire()\nl.acquire()",
    "catching everything": "while True:\n    try: time.sleep(1)\n    except BaseException: pass",
    "blocking all signals": "libc.sigfillset(room)\nlibc.sigprocmask(0, room, None)\ntime.sleep(60)",
    "ignoring all signals": "[libc.signal(n, 1) for n in range(65)]\ntime.sleep(60)",
    "reading its socket": "os.read(3, 1)\nos.read(3, 1)",
    "a finalizer": "self.keep = type('D', (), {'__del__': lambda _: time.sleep(60)})()\ndel self.keep",
    "an error's text": "raise type('E', (Exception,), {'__str__': lambda _: time.sleep(60)})()",
    "a result's class": "return type('D', (dict,), {'items': lambda _: time.sleep(60)})(a=1)",
}

# Each computes until the limit on that.
BURNS = {
    "a loop": "while True: pass",
    "a loop in machine code": "run_machine_code(b'\\xeb\\xfe' + bytes(4094))",
    "a number": "9 ** 9 ** 9",
    "a regular expression": "__import__('re').match('(a+)+$', 'a' * 40 + 'b')",
    "a loop without signals": "[libc.signal(n, 1) for n in range(65)]\nwhile True: pass",
    "a loop with signals blocked": (
        "libc.sigfillset(room)\nlibc.sigprocmask(0, room, None)\nwhile True: pass"
    ),
    "a loop that starts again": (
        "signal.signal(signal.SIGXCPU, lambda *_: None)\nwhile True: pass"
    ),
    "a loop that yields": "while True: os.sched_yield()",
}

_ROOM = "room = ctypes.create_string_buffer(128)\n"


@pytest.mark.parametrize("name", ENDS)
def test_ending_by(arena: Arena, name: str) -> None:
    answer = arena.failure(attack(ENDS[name], _HELPERS), timeout_seconds=60)
    assert answer["error"] in {"ToolExecutionError", "AgentExecutorError", "LimitExceededError"}
    assert len(answer["message"]) < 3_000
    assert len(str(answer["metadata"])) < 8_000


@pytest.mark.parametrize("name", LOOPS)
def test_not_ending_by(arena: Arena, name: str) -> None:
    began = time.monotonic()
    answer = arena.failure(attack(LOOPS[name], _ROOM), timeout_seconds=0.4)
    assert answer["error"] == "DeadlineExceededError"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("name", BURNS)
def test_computing_without_end_by(arena: Arena, name: str) -> None:
    answer = arena.failure(attack(BURNS[name], _ROOM), timeout_seconds=60)
    assert answer["metadata"]["limit"] == "cpu_seconds"


def test_computing_is_stopped_by_the_deadline_before_the_limit(arena: Arena) -> None:
    answer = arena.failure(attack("while True: pass"), timeout_seconds=0.2)
    assert answer["error"] == "DeadlineExceededError"
