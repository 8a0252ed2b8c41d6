"""A process with a pool in it, in an environment of its own; it serves requests line by line.

    python -m tests.integration.tool_runner.isolation.sandbox_process ENVIRONMENT

The environments are those of ``ENVIRONMENTS``. The first line that it prints is the pool's status.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_executor.errors import AgentExecutorError, PermissionDeniedError
from agent_executor.tool_runner.isolation import kernel
from agent_executor.tool_runner.isolation.pool import WorkerPool
from agent_executor.tool_runner.isolation.status import WantedTier
from agent_executor.tool_runner.tool_program import ToolProgram

REPOSITORY = Path(__file__).parents[4]
ORDINARY_USER_ID = 4_321


@dataclass(frozen=True)
class Environment:
    """Who the tool-runner is.

    Attributes:
        tier: What the pool is told to use.
        expected_tier: What it should come to.
        as_root: It stays what it is; otherwise it becomes an ordinary user.
        user_namespaces: They are allowed.
    """

    tier: WantedTier
    expected_tier: str
    as_root: bool = False
    user_namespaces: bool = True


ENVIRONMENTS = {
    "root": Environment("best", "namespaces", as_root=True),
    "user": Environment("best", "namespaces"),
    "user_without_namespaces_tier": Environment("landlock", "landlock"),
    "user_without_user_namespaces": Environment("best", "landlock", user_namespaces=False),
    "user_who_insists_on_namespaces": Environment("namespaces", "none", user_namespaces=False),
}


def make_readable(paths: list[str]) -> None:
    """Lets everyone read folders that lie below one that not everyone may enter."""
    hidden = {path: closed for path in paths if (closed := _closed_folder(Path(path)))}
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.make_mounts_private()
    trees = {path: kernel.clone_tree(path, attributes=0) for path in hidden}
    for folder in set(hidden.values()):
        root = kernel.new_tmpfs(size_bytes=1 << 20, attributes=0)
        kernel.attach_mount(root, -100, str(folder))
        os.close(root)
    for path, tree in trees.items():
        Path(path).mkdir(parents=True, exist_ok=True)
        kernel.attach_mount(tree, -100, path)
        os.close(tree)


def _closed_folder(path: Path) -> Path | None:
    for folder in (*reversed(path.parents), path):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def become_ordinary() -> None:
    """Gives up root."""
    os.setgroups([])
    os.setresgid(ORDINARY_USER_ID, ORDINARY_USER_ID, ORDINARY_USER_ID)
    os.setresuid(ORDINARY_USER_ID, ORDINARY_USER_ID, ORDINARY_USER_ID)
    # The change of the user has taken the right to write to one's own /proc.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


def forbid_user_namespaces() -> None:
    """Moves into a user namespace in which no other can be made, without any capability."""
    kernel.unshare(kernel.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{ORDINARY_USER_ID} {ORDINARY_USER_ID} 1")
    Path("/proc/self/gid_map").write_text(f"{ORDINARY_USER_ID} {ORDINARY_USER_ID} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    kernel.drop_capabilities()


def enter(environment: Environment) -> None:
    """Becomes who the environment says."""
    if environment.as_root:
        return
    if os.geteuid() == 0:
        make_readable([sys.base_prefix, sys.prefix, str(REPOSITORY)])
        become_ordinary()
    if not environment.user_namespaces:
        forbid_user_namespaces()


async def broker(request: dict[str, Any]) -> dict[str, Any]:
    """Answers with the request itself, but for one host."""
    if "forbidden" in request["url"]:
        raise PermissionDeniedError("The host forbidden is not allowed.", metadata={"host": "x"})
    return {"status_code": 200, "body": request}


async def serve_request(pool: WorkerPool, request: dict[str, Any]) -> dict[str, Any]:
    """Returns the answer to one request."""
    if request["operation"] == "status":
        return {"result": dataclasses.asdict(pool.status)}
    if request["operation"] == "check":
        return {"result": dataclasses.asdict(await pool.check())}
    program = ToolProgram(request["tool_name"], request["source"], request["class_name"])
    seconds = request["timeout_seconds"]
    try:
        if request["operation"] == "inspect":
            description = await pool.inspect(program, timeout_seconds=seconds)
            return {"result": dataclasses.asdict(description)}
        text = await pool.call(
            program,
            request["arguments_json"],
            timeout_seconds=seconds,
            broker=broker if request["broker"] else None,
        )
    except AgentExecutorError as error:
        return {
            "error": type(error).__name__,
            "message": error.message,
            "metadata": error.metadata,
            "tool_name": error.tool_name,
        }
    return {"result": json.loads(text)}


async def main(environment: Environment) -> None:
    pool = WorkerPool(tier=environment.tier)
    await pool.start()
    say(dataclasses.asdict(pool.status))
    while line := await asyncio.to_thread(sys.stdin.readline):
        say(await serve_request(pool, json.loads(line)))
    await pool.close()


def say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    wanted = ENVIRONMENTS[sys.argv[1]]
    enter(wanted)
    asyncio.run(main(wanted))
