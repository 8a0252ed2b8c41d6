from __future__ import annotations

import errno
import os
import struct

import pytest

from agent_executor.tool_runner.isolation.seccomp import (
    AARCH64,
    ALLOW,
    ARCHITECTURE_OFFSET,
    DENY,
    JUMP_IF_ANY_BIT,
    JUMP_IF_AT_LEAST,
    JUMP_IF_EQUAL,
    KILL_PROCESS,
    LOAD,
    NOT_IMPLEMENTED,
    RETURN,
    X86_64,
    Architecture,
    assemble,
    encode,
)

BOTH = pytest.mark.parametrize("architecture", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
CLONE3 = 435


PROGRAMS = {each.audit_number: encode(assemble(each)) for each in (X86_64, AARCH64)}


def run(
    architecture: Architecture, number: int, *arguments: int, audit_number: int | None = None
) -> int:
    """Runs a filter as the kernel does, from its encoded form, and returns the action."""
    program = PROGRAMS[architecture.audit_number]
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    audit = architecture.audit_number if audit_number is None else audit_number
    data = struct.pack("<IIQ6Q", number, audit, 0, *(value % (1 << 64) for value in padded))
    accumulator, position = 0, 0
    while True:
        code, if_true, if_false, operand = struct.unpack_from("<HBBI", program, 8 * position)
        position += 1
        if code == RETURN:
            return int(operand)
        if code == LOAD:
            assert operand % 4 == 0
            (accumulator,) = struct.unpack_from("<I", data, operand)
            continue
        holds = {
            JUMP_IF_EQUAL: accumulator == operand,
            JUMP_IF_AT_LEAST: accumulator >= operand,
            JUMP_IF_ANY_BIT: bool(accumulator & operand),
        }[code]
        position += if_true if holds else if_false


@BOTH
def test_exactly_the_listed_calls_are_allowed(architecture: Architecture) -> None:
    special = {architecture.openat, architecture.fcntl, architecture.prlimit, CLONE3}
    allowed = {n for n in range(1024) if n not in special and run(architecture, n) == ALLOW}
    assert allowed == set(architecture.allowed.values())
    assert run(architecture, CLONE3) == NOT_IMPLEMENTED
    denied = set(range(1024)) - allowed - special
    assert {run(architecture, number) for number in denied} == {DENY}
    assert DENY & 0xFFFF == errno.EPERM
    assert NOT_IMPLEMENTED & 0xFFFF == errno.ENOSYS


@BOTH
def test_another_architecture_kills_the_process(architecture: Architecture) -> None:
    others = {0x4000_0003, 0x4000_0028, X86_64.audit_number, AARCH64.audit_number, 0, 0xFFFF_FFFF}
    for other in others - {architecture.audit_number}:
        for number in (*range(600), 0x4000_0000, 0xFFFF_FFFF):
            assert run(architecture, number, audit_number=other) == KILL_PROCESS


@pytest.mark.parametrize(
    "number", [0x4000_0000, 0x4000_0000 | 39, 0x4000_0000 | 520, 0x7FFF_FFFF, 0xFFFF_FFFF]
)
def test_the_x32_numbering_kills_the_process(number: int) -> None:
    assert run(X86_64, number) == KILL_PROCESS
    assert run(AARCH64, number) == DENY


@BOTH
def test_files_are_opened_for_reading_only(architecture: Architecture) -> None:
    def opens(flags: int) -> int:
        return run(architecture, architecture.openat, -100, 0x1000, flags, 0o600)

    for flags in (0, os.O_RDONLY | os.O_CLOEXEC, os.O_DIRECTORY | os.O_NONBLOCK, os.O_PATH):
        assert opens(flags) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, 3):
        assert opens(flags) == DENY
        assert opens(flags | os.O_CLOEXEC) == DENY
    assert opens(os.O_TMPFILE | os.O_RDWR) == DENY


@BOTH
def test_descriptors_cannot_be_made_to_send_signals(architecture: Architecture) -> None:
    commands = {n for n in range(2000) if run(architecture, architecture.fcntl, 3, n) == ALLOW}
    assert commands == {1, 2, 3}


@BOTH
@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        ((0, 9, 0, 0x7000), ALLOW),
        ((1, 9, 0, 0x7000), DENY),
        ((0xFFFF_FFFF, 9, 0, 0x7000), DENY),
        ((0, 9, 0x7000, 0), DENY),
        ((0, 9, 0x7000_0000_0000, 0), DENY),
        # The kernel takes the lower half of a process number, too.
        ((1 << 32, 9, 0, 0x7000), ALLOW),
    ],
)
def test_only_own_limits_are_read_and_none_is_set(
    architecture: Architecture, arguments: tuple[int, ...], action: int
) -> None:
    assert run(architecture, architecture.prlimit, *arguments) == action


@BOTH
def test_the_filter_is_one_that_the_kernel_accepts(architecture: Architecture) -> None:
    program = assemble(architecture)
    assert len(program) <= 4096
    assert program[0].operand == ARCHITECTURE_OFFSET
    assert program[-1].code == RETURN
    for position, instruction in enumerate(program):
        assert 0 <= instruction.if_true <= 255
        assert position + 1 + max(instruction.if_true, instruction.if_false) < len(program) + (
            instruction.code == RETURN
        )
    # A binary search: no call takes a long way.
    assert max(path_length(architecture, number) for number in range(512)) <= 25


def path_length(architecture: Architecture, number: int) -> int:
    program = assemble(architecture)
    accumulator, position, steps = 0, 0, 0
    while program[position].code != RETURN:
        instruction = program[position]
        steps += 1
        position += 1
        if instruction.code == LOAD:
            words = {0: number, 4: architecture.audit_number}
            accumulator = words.get(instruction.operand, 0)
            continue
        holds = {
            JUMP_IF_EQUAL: accumulator == instruction.operand,
            JUMP_IF_AT_LEAST: accumulator >= instruction.operand,
            JUMP_IF_ANY_BIT: bool(accumulator & instruction.operand),
        }[instruction.code]
        position += instruction.if_true if holds else instruction.if_false
    return steps
