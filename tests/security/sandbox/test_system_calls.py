"""Attacks: system calls that are not on the list, by every way into the kernel.

Both tiers stop all of them: the filter is the same.
"""

from __future__ import annotations

import platform

import pytest

from agent_executor.tool_runner.isolation.seccomp import architecture_of_machine
from tests.security.sandbox.arena import Arena, attack

_NUMBER_MAX = 512

x86_64_only = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the machine code and the numbers are those of x86_64"
)

# From Linux 6.11 on the kernel lets these two past every filter, for its own trampolines; from
# anywhere else the first kills the process by SIGILL, and the second answers ENXIO.
_URETPROBE, _UPROBE = 335, 336

# As 32-bit programs number them: getpid, fork, execve, socketcall, ptrace, clone.
I386_NUMBERS = [20, 2, 11, 102, 26, 120]
# The first of the x32 ABI are its names for calls that are allowed: read, getpid.
X32_NUMBERS = [0, 39, 56, 57, 59, 101, 435, 512, 520, 521, 545]


def _not_allowed() -> list[int]:
    architecture = architecture_of_machine()
    assert architecture is not None
    looked_at = {architecture.openat, architecture.fcntl, architecture.prlimit}
    allowed = looked_at | set(architecture.allowed.values())
    if platform.machine() == "x86_64":
        allowed |= {_URETPROBE, _UPROBE}
    return [number for number in range(_NUMBER_MAX) if number not in allowed]


@pytest.mark.parametrize(
    "arguments", ["0, 0, 0, 0, 0, 0", "-1, -1, -1, -1, -1, -1", "3, here, here, 8, here, 0"]
)
@pytest.mark.parametrize("upper_half", [0, 1 << 32, -1 << 32])
def test_every_system_call_that_is_not_on_the_list(
    arena: Arena, arguments: str, upper_half: int
) -> None:
    body = f"""
    room = bytearray(4096)
    here = ctypes.addressof(ctypes.c_char.from_buffer(room))
    return [
        [number, outcome]
        for number in arguments["numbers"]
        for outcome in [raw(number + {upper_half}, {arguments})]
        if outcome != ("ENOSYS" if number == 435 else "EPERM")
    ]
    """
    assert arena.result(attack(body), arguments={"numbers": _not_allowed()}) == []


@x86_64_only
def test_the_system_calls_that_the_kernel_lets_past_every_filter(arena: Arena) -> None:
    assert arena.result(attack(f"return raw({_UPROBE}, 0, 0, 0)")) in ("ENXIO", "EPERM")
    answer = arena.call(attack(f"return raw({_URETPROBE}, 0, 0, 0)"))
    assert answer.get("result") == "EPERM" or "SIGILL" in answer["message"]


@x86_64_only
@pytest.mark.parametrize("number", X32_NUMBERS)
def test_the_numbering_of_x32(arena: Arena, number: int) -> None:
    answer = arena.failure(attack(f"return raw({number} | 0x4000_0000, 0, 0, 0, 0, 0)"))
    assert "SIGSYS" in answer["message"]


@x86_64_only
@pytest.mark.parametrize("number", [0x7FFF_FFFF, 0x8000_0039, 0xC000_0039, 0xFFFF_FFFF])
def test_a_number_beyond_every_numbering(arena: Arena, number: int) -> None:
    answer = arena.failure(attack(f"return raw({number}, 0, 0, 0, 0, 0)"))
    assert "SIGSYS" in answer["message"]


@x86_64_only
@pytest.mark.parametrize("number", I386_NUMBERS)
def test_int_0x80_from_machine_code(arena: Arena, number: int) -> None:
    # mov eax, number; int 0x80; ret. A kernel without 32-bit programs has no such interrupt.
    code = f"b'\\xb8' + struct.pack('<I', {number}) + b'\\xcd\\x80\\xc3' + bytes(4088)"
    answer = arena.failure(attack(f"return run_machine_code({code})"))
    assert "SIGSYS" in answer["message"] or "SIGSEGV" in answer["message"]


@x86_64_only
@pytest.mark.parametrize(
    "entry", [pytest.param(r"\xcd\x80", id="int"), pytest.param(r"\x0f\x05", id="syscall"),
              pytest.param(r"\x0f\x34", id="sysenter")]
)  # fmt: skip
@pytest.mark.parametrize("number", [20, 2])
def test_switching_the_processor_to_32_bits(arena: Arena, entry: str, number: int) -> None:
    # A far return into the segment of 32-bit code; there: mov eax, number; enter; hlt.
    body = f"""
    def code(page):
        target = page + 64
        jump = b"\\x6a\\x23\\x68" + struct.pack("<I", target) + b"\\x48\\xcb"
        inside = b"\\xb8" + struct.pack("<I", {number}) + b"{entry}\\xf4"
        return jump.ljust(64, b"\\x90") + inside + bytes(4032 - len(inside))
    return run_machine_code(code)
    """
    answer = arena.failure(attack(body))
    assert any(name in answer["message"] for name in ("SIGSYS", "SIGSEGV", "SIGILL"))


@x86_64_only
def test_a_system_call_from_machine_code_is_filtered_as_any_other(arena: Arena) -> None:
    # mov eax, 57; syscall; cdqe; ret.
    code = r"b'\xb8\x39\0\0\0\x0f\x05\x48\x98\xc3' + bytes(4086)"
    assert arena.result(attack(f"return run_machine_code({code})")) == -1


@x86_64_only
def test_io_uring_in_place_of_system_calls(arena: Arena) -> None:
    body = """
    parameters = ctypes.create_string_buffer(120)
    return [raw(425, 8, parameters), raw(426, 3, 1, 0, 0, 0, 0), raw(427, 3, 0, 0, 0)]
    """
    assert arena.result(attack(body)) == ["EPERM"] * 3


@x86_64_only
def test_opening_a_file_for_writing_by_flags_in_the_upper_half(arena: Arena) -> None:
    # The kernel looks at 32 bits, and so does the filter.
    body = """
    paths = [b"/dev/shm/witness", b"/tmp/witness", os.fsencode(os.path.dirname(os.__file__)) + b"/x"]
    return [
        raw(257, directory, path, flags, 0o600)
        for path in paths
        for directory in (-100, (7 << 32) | 0xFFFF_FF9C)
        for flags in (0o101, 0o102, (1 << 32) | 0o101, 0o20200002, 0o3)
    ]
    """
    assert set(arena.result(attack(body))) == {"EPERM"}


@x86_64_only
def test_making_the_kernel_send_a_signal_by_fcntl(arena: Arena) -> None:
    body = """
    commands = [4, 8, 10, 15, 0, 1030, 1031, 1033, 6, 7, 5, 1024, 1026, 37, 38]
    return [raw(72, 3, command + (high << 32), 1) for command in commands for high in (0, 1)]
    """
    assert set(arena.result(attack(body))) == {"EPERM"}


@x86_64_only
def test_limits_of_its_own_and_of_others(arena: Arena) -> None:
    body = """
    room = ctypes.create_string_buffer(b"\\xff" * 16, 16)
    return [raw(302, pid, limit, room, 0) for pid in (0, 1, os.getpid()) for limit in range(16)] + [
        raw(302, pid, limit, 0, room) for pid in (1, os.getpid()) for limit in range(16)
    ] + [raw(160, limit, room) for limit in range(16)]
    """
    assert set(arena.result(attack(body))) == {"EPERM"}
