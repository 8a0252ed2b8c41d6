"""The self-test: attacks in real workers, before a launcher's workers may serve anyone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from functools import cache
from pathlib import Path
from typing import Final

from agent_executor.errors import AgentExecutorError
from agent_executor.tool_runner.isolation import frames
from agent_executor.tool_runner.isolation.conversation import Conversation
from agent_executor.tool_runner.isolation.launcher_process import (
    LauncherDiedError,
    LauncherProcess,
)
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.untrusted_json import ENCODER, JsonError, parse_object
from agent_executor.tool_runner.isolation.worker_handle import WorkerEnd, WorkerHandle

_TOOL_NAME: Final = "canary"
_CLASS_NAME: Final = "Canary"
REMEDY: Final = "Run custom tools on another host, and report this one with its kernel's version."
# Machines whose kernels have a second numbering of system calls in the same architecture.
_MACHINES_WITH_X32: Final = frozenset({"x86_64"})


@cache
def _source() -> str:
    return Path(__file__).with_name("canary_tool.py").read_text()


async def attack(launcher: LauncherProcess, limits: SandboxLimits) -> tuple[str, ...]:
    """Returns what a launcher's workers lack to withstand every attack; nothing is good.

    Raises:
        LauncherDiedError: The launcher died.
    """
    machine = os.uname().machine
    tests = [_succeeded(launcher, limits, machine)]
    if machine in _MACHINES_WITH_X32:
        tests.append(_survives_x32(launcher, limits, machine))
    return tuple(name for names in await asyncio.gather(*tests) for name in names)


async def _succeeded(
    launcher: LauncherProcess, limits: SandboxLimits, machine: str
) -> tuple[str, ...]:
    worker = await launcher.take()
    try:
        missing = worker.attest()
        if missing:
            return (missing,)
        conversation = await _start(worker, limits, {"machine": machine})
        payload = await conversation.answer(frames.RESULT, limits.output_bytes)
        names = parse_object(payload)["succeeded"]
    except (AgentExecutorError, JsonError, OSError) as error:
        worker.kill()
        await _end_of(worker)
        return (f"a self-test that answers ({error})",)
    finally:
        worker.kill()
    return tuple(f"protection from {name}" for name in names)


async def _survives_x32(
    launcher: LauncherProcess, limits: SandboxLimits, machine: str
) -> tuple[str, ...]:
    worker = await launcher.take()
    try:
        conversation = await _start(worker, limits, {"machine": machine, "x32": True})
        await conversation.answer(frames.RESULT, limits.output_bytes)
    except (AgentExecutorError, OSError):
        if (await _end_of(worker)).signal == signal.SIGSYS:
            return ()
    finally:
        worker.kill()
    return ("protection from system calls of another numbering",)


async def _end_of(worker: WorkerHandle) -> WorkerEnd:
    """Returns how a worker ended.

    Raises:
        LauncherDiedError: With its launcher, which says nothing about the host.
    """
    end = await worker.end
    if end is None:
        raise LauncherDiedError("The launcher died during its self-test.")
    return end


async def _start(
    worker: WorkerHandle, limits: SandboxLimits, arguments: dict[str, object]
) -> Conversation:
    program = {
        "tool_name": _TOOL_NAME,
        "class_name": _CLASS_NAME,
        "source": _source(),
        "arguments_json": json.dumps({**arguments, "memory_bytes": limits.memory_bytes}),
    }
    await worker.send(frames.CALL, ENCODER.encode(program).encode())
    return Conversation(worker, limits, _TOOL_NAME)
