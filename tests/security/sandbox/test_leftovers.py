"""Attacks: leaving something behind for the next call, or knowing something of another's.

Both tiers stop all of them but one, which is a known limit of both: workers of one launcher share
the seed of their hashes and the layout of their memory, until the launcher is replaced.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.security.sandbox.arena import Arena, attack, open_arena

# Each changes something of the process, and then what a later tool would see of it.
STAINS = {
    "a builtin": ("__import__('builtins').stain = 1", "hasattr(__import__('builtins'), 'stain')"),
    "json": ("json.dumps = json.loads = None", "json.dumps is None"),
    "a module": ("sys.modules['stain'] = os", "'stain' in sys.modules"),
    "a global of the tool's": ("globals()['stain'] = 1", "'stain' in globals()"),
    "the base class": (
        "__import__('agent_executor').ToolBase.stain = 1",
        "hasattr(__import__('agent_executor').ToolBase, 'stain')",
    ),
    "an environment variable": ("os.environ['STAIN'] = '1'", "'STAIN' in os.environ"),
    "the encoder": (
        "vars(json.JSONEncoder)['encode'] and setattr(json.JSONEncoder, 'encode', None)",
        "json.JSONEncoder.encode is None",
    ),
    "the path of modules": ("sys.path.insert(0, '/stain')", "'/stain' in sys.path"),
    "an import hook": ("sys.meta_path.insert(0, 'stain')", "'stain' in sys.meta_path"),
    "a handler at exit": ("__import__('atexit').register(os._exit, 3)", "False"),
    "a signal handler": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "signal.getsignal(signal.SIGTERM) == signal.SIG_IGN",
    ),
    "a signal mask": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXCPU])",
        "signal.SIGXCPU in signal.pthread_sigmask(signal.SIG_BLOCK, [])",
    ),
    "the recursion limit": ("sys.setrecursionlimit(77)", "sys.getrecursionlimit() == 77"),
    "the decimal context": (
        "setattr(__import__('decimal').getcontext(), 'prec', 3)",
        "__import__('decimal').getcontext().prec == 3",
    ),
    "a trace": ("sys.setprofile(lambda *_: None)", "sys.getprofile() is not None"),
    "an audit hook": ("sys.addaudithook(lambda *_: 1 / 0)", "False"),
    "the digits of integers": (
        "sys.set_int_max_str_digits(0)", "sys.get_int_max_str_digits() == 0",
    ),
    "a constant of the interpreter": (
        "ctypes.c_int.from_address(id(1000) + 24)", "1000 != 999 + 1",
    ),
    "the value of a small integer": (
        "setattr(ctypes.c_int.from_address(id(7) + 24), 'value', 8)", "str(3 + 4) != '7'",
    ),
    "the code of the C library": (
        (
            "code = ctypes.cast(libc.getpid, ctypes.c_void_p).value\n"
            "libc.mprotect(ctypes.c_void_p(code & ~4095), ctypes.c_size_t(8192), 7)\n"
            "ctypes.memmove(code, bytes([0xb8, 7, 0, 0, 0, 0xc3]), 6)"
        ),
        "libc.getpid() == 7",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STAINS)
def test_staining(arena: Arena, name: str) -> None:
    stain, see = STAINS[name]
    # The tool's own call may fail of it.
    arena.call(attack(f"{stain}\nreturn 'stained'"), timeout_seconds=5)
    source = attack(f"return {see}")
    # More calls than there were workers when it was stained.
    assert [arena.result(source) for _ in range(4)] == [False] * 4


def test_guessing_what_is_random_for_another_call(arena: Arena) -> None:
    body = """
    import random, secrets, tempfile, uuid
    random_before = random.random()
    random.seed(1)
    return [random_before, secrets.token_hex(8), os.urandom(8).hex(), str(uuid.uuid4()),
            next(tempfile._get_candidate_names()), random.SystemRandom().random(), raw(318, bytes(8), 8, 0)]
    """
    results = [arena.result(attack(body)) for _ in range(8)]
    for values in list(zip(*results, strict=True))[:-1]:
        assert len(set(values)) == 8


def test_the_same_kind_of_randomness_in_a_call_at_the_same_time(arena: Arena) -> None:
    source = attack(
        "import random\ntime.sleep(0.05)\nreturn [random.random(), random.getstate()[1][0]]"
    )
    numbers = [arena.begin(source) for _ in range(8)]
    results = [arena.finish(number)["result"] for number in numbers]
    assert len({first for first, _ in results}) == 8
    assert len({second for _, second in results}) == 8


def test_the_seed_of_hashes_is_shared_until_the_launcher_is_replaced() -> None:
    source = attack("return hash('a text')")
    with open_arena("user_without_namespaces_tier") as arena:
        first = arena.result(source)
        # Not stopped in either tier: workers are copies of their launcher.
        assert arena.result(source) == first
        (launcher,) = arena.state()["launcher_pids"]
        os.kill(launcher, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while arena.state()["launcher_pids"] in ([], [launcher]):
            assert time.monotonic() < deadline
        assert arena.result(source) != first
