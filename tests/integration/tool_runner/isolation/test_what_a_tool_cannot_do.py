"""Each rule of the sandbox by its effect, on real workers, in every environment there is."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent_executor
from tests.integration.tool_runner.isolation.sandbox_process import ENVIRONMENTS
from tests.integration.tool_runner.isolation.sandboxes import (
    ATTACKER,
    Sandbox,
    runnable_environments,
    sandbox_in,
    tool,
)

# Numbers of x86_64; where only aarch64 differs in what it has, a test says so.
DENIED_SYSTEM_CALLS = {
    "socket": 41, "connect": 42, "socketpair": 53, "bind": 49, "sendmsg": 46, "clone": 56,
    "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "kill": 62, "tgkill": 234,
    "tkill": 200, "rt_sigqueueinfo": 129, "pidfd_open": 434, "pidfd_send_signal": 424,
    "pidfd_getfd": 438, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
    "prctl": 157, "arch_prctl": 158, "ioctl": 16, "io_uring_setup": 425, "io_uring_enter": 426,
    "bpf": 321, "keyctl": 250, "add_key": 248, "userfaultfd": 323, "perf_event_open": 298,
    "memfd_create": 319, "memfd_secret": 447, "mount": 165, "umount2": 166, "pivot_root": 155,
    "move_mount": 429, "open_tree": 428, "fsopen": 430, "unshare": 272, "setns": 308,
    "chroot": 161, "name_to_handle_at": 303, "open_by_handle_at": 304, "truncate": 76,
    "ftruncate": 77, "chmod": 90, "fchmodat": 268, "chown": 92, "mkdir": 83, "rmdir": 84,
    "link": 86, "symlink": 88, "rename": 82, "renameat2": 316, "unlink": 87, "unlinkat": 263,
    "mknod": 133, "open": 2, "openat2": 437, "creat": 85, "utimensat": 280, "setxattr": 188,
    "shmget": 29, "shmat": 30, "msgget": 68, "semget": 64, "mq_open": 240, "setrlimit": 160,
    "setuid": 105, "setresuid": 117, "capset": 126, "personality": 135, "seccomp": 317,
    "landlock_create_ruleset": 444, "dup": 32, "dup2": 33, "pipe2": 293, "eventfd2": 290,
    "epoll_create1": 291, "inotify_init1": 294, "fanotify_init": 300, "timer_create": 222,
    "setitimer": 38, "alarm": 37, "setpriority": 141, "sched_setaffinity": 203, "mlock": 149,
    "readlink": 89, "chdir": 80, "getppid": 110, "uname": 63, "sysinfo": 99, "reboot": 169,
    "init_module": 175, "kexec_load": 246, "swapon": 167, "syslog": 103, "vmsplice": 278,
}  # fmt: skip

x86_64_only = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the numbers are those of x86_64"
)


@pytest.fixture(scope="module", params=runnable_environments())
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with sandbox_in(request.param) as sandbox:
        expected = ENVIRONMENTS[request.param].expected_tier
        assert (sandbox.status["available"], sandbox.status["tier"]) == (True, expected)
        yield sandbox


@pytest.fixture
def readable_file() -> Iterator[Path]:
    """A file that everyone may read and write, in a folder where everyone may write."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        file = Path(folder) / "secret.txt"
        file.write_text("a secret of the host")
        file.chmod(0o666)
        yield file


def test_a_tool_reads_no_file_but_of_the_standard_library(
    sandbox: Sandbox, readable_file: Path
) -> None:
    source_file = str(Path(agent_executor.__file__))
    paths = [
        "/etc/passwd",
        "/proc/self/environ",
        "/proc/self/maps",
        "/proc/1/cmdline",
        "/proc/version",
        "/sys/kernel/version",
        "/dev/zero",
        source_file,
        pytest.__file__,
        sys.executable,
        str(readable_file),
        f"{os.path.dirname(os.__file__)}/../../../../../etc/passwd",  # noqa: PTH120 -- a path with dots
    ]
    source = tool(
        "return [attempt(lambda: open(path, 'rb').read(1)) for path in arguments['paths']]",
        ATTACKER,
    )
    outcomes = sandbox.result(source, arguments_json=json.dumps({"paths": paths}))
    refusals = {"PermissionError", "FileNotFoundError"}
    assert {path: o for path, o in zip(paths, outcomes, strict=True) if o not in refusals} == {}


def test_a_tool_lists_no_folder_but_of_the_standard_library(sandbox: Sandbox) -> None:
    source = tool(
        """
        folders = ["/", "/tmp", "/etc", "/proc", "/proc/self/fd", "/home", os.path.dirname(os.__file__)]
        return [attempt(os.listdir, folder) for folder in folders]
        """,
        ATTACKER,
    )
    assert set(sandbox.result(source)) <= {"PermissionError", "FileNotFoundError"}


def test_a_tool_changes_no_file(sandbox: Sandbox, readable_file: Path) -> None:
    source = tool(
        """
        path, beside = arguments["path"], arguments["path"] + ".new"
        attempts = [
            attempt(open, path, "w"), attempt(open, path, "r+"), attempt(open, path, "a"),
            attempt(open, beside, "x"), attempt(os.truncate, path, 0), attempt(os.unlink, path),
            attempt(os.rename, path, beside), attempt(os.link, path, beside),
            attempt(os.symlink, path, beside), attempt(os.chmod, path, 0o600),
            attempt(os.utime, path, (0, 0)), attempt(os.mkdir, beside), attempt(os.mkfifo, beside),
            attempt(os.setxattr, path, "user.x", b"1"),
            attempt(os.open, os.path.dirname(path), os.O_TMPFILE | os.O_RDWR),
        ]
        return attempts
        """,
        ATTACKER,
    )
    before = readable_file.stat()
    outcomes = sandbox.result(source, arguments_json=json.dumps({"path": str(readable_file)}))
    assert set(outcomes) <= {"PermissionError", "FileNotFoundError"}
    assert readable_file.read_text() == "a secret of the host"
    after = readable_file.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert [entry.name for entry in readable_file.parent.iterdir()] == ["secret.txt"]


def test_the_namespaces_tier_hides_even_that_a_file_exists(sandbox: Sandbox) -> None:
    source = tool(
        "return [attempt(os.stat, p) for p in ('/etc/passwd', '/usr', '/proc', '/tmp')]", ATTACKER
    )
    outcomes = sandbox.result(source)
    if sandbox.status["tier"] == "namespaces":
        assert outcomes == ["FileNotFoundError"] * 4
    else:
        # Landlock does not restrict a look at metadata, so this tier does not stop it.
        assert all(outcome.startswith("os.stat_result") for outcome in outcomes)


def test_a_tool_reaches_no_server(sandbox: Sandbox, readable_file: Path) -> None:
    path = str(readable_file.parent / "server")
    with (
        socket.create_server(("127.0.0.1", 0)) as internet,
        socket.socket(socket.AF_UNIX) as local,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        local.bind(path)
        abstract.bind("\0agent-executor-test-" + str(os.getpid()))
        for server in (internet, local, abstract):
            server.listen()
            server.setblocking(False)
        source = tool(
            """
            import socket
            addresses = [
                (socket.AF_INET, ("127.0.0.1", arguments["port"])),
                (socket.AF_INET6, ("::1", arguments["port"])),
                (socket.AF_UNIX, arguments["path"]),
                (socket.AF_UNIX, chr(0) + arguments["abstract"]),
            ]
            return [
                attempt(lambda: socket.socket(family).connect(address))
                for family, address in addresses
            ] + [attempt(socket.socketpair), attempt(socket.socket, socket.AF_NETLINK)]
            """,
            ATTACKER,
        )
        arguments = {
            "port": internet.getsockname()[1],
            "path": path,
            "abstract": abstract.getsockname()[1:].decode(),
        }
        outcomes = sandbox.result(source, arguments_json=json.dumps(arguments))
        assert outcomes == ["PermissionError"] * 6
        for server in (internet, local, abstract):
            with pytest.raises(BlockingIOError):
                server.accept()


def test_a_tool_starts_no_process_and_no_thread(sandbox: Sandbox) -> None:
    source = tool(
        """
        import subprocess, threading
        return [
            attempt(os.fork), attempt(os.system, "true"),
            attempt(os.posix_spawn, "/bin/true", ["true"], {}),
            attempt(os.execv, "/bin/true", ["true"]), attempt(subprocess.run, ["true"]),
            attempt(threading.Thread(target=print).start),
        ]
        """,
        ATTACKER,
    )
    outcomes = sandbox.result(source)
    refusals = {"PermissionError", "RuntimeError", "OSError", "FileNotFoundError"}
    # system(3) answers -1 where it cannot fork, or as a shell that is not there.
    assert set(outcomes) - refusals <= {"-1", str(127 << 8)}
    assert outcomes[0] == "PermissionError"


def test_a_tool_signals_and_reads_no_process(sandbox: Sandbox) -> None:
    with subprocess.Popen(["sleep", "60"]) as witness:
        try:
            source = tool(
                """
                outcomes = []
                for pid in (0, 1, -1, arguments["witness"], arguments["pool"], os.getpid()):
                    outcomes.append(attempt(os.kill, pid, 9))
                    outcomes.append(attempt(os.pidfd_open, abs(pid) or 1))
                    outcomes.append(attempt(os.killpg, abs(pid), 9))
                return outcomes
                """,
                ATTACKER,
            )
            arguments = {"witness": witness.pid, "pool": sandbox.pid}
            outcomes = sandbox.result(source, arguments_json=json.dumps(arguments))
            assert set(outcomes) == {"PermissionError"}
            assert witness.poll() is None
        finally:
            witness.kill()


@x86_64_only
def test_system_calls_that_are_not_on_the_list_are_refused(sandbox: Sandbox) -> None:
    source = tool(
        "return {name: raw(n, 0, 0, 0, 0, 0, 0) for name, n in arguments['calls'].items()}",
        ATTACKER,
    )
    arguments = json.dumps({"calls": DENIED_SYSTEM_CALLS})
    outcomes = sandbox.result(source, arguments_json=arguments)
    assert {name: o for name, o in outcomes.items() if o != "EPERM"} == {}


@x86_64_only
def test_calls_with_dangerous_arguments_are_refused_and_harmless_ones_are_not(
    sandbox: Sandbox,
) -> None:
    source = tool(
        """
        import resource
        limit = (ctypes.c_ulong * 2)(1 << 40, 1 << 40)
        old = (ctypes.c_ulong * 2)()
        return {
            "clone3": raw(435, bytes(88), 88),
            "new limit": raw(302, 0, resource.RLIMIT_AS, ctypes.byref(limit), None),
            "limit of the parent": raw(302, 1, resource.RLIMIT_AS, None, ctypes.byref(old)),
            "own limit": raw(302, 0, resource.RLIMIT_CORE, None, ctypes.byref(old)),
            "signals by descriptor": raw(72, 3, 8, os.getpid()),
            "flags of the socket": raw(72, 3, 4, 0o2000),
            "close on exec": raw(72, 3, 2, 1),
            "limits": [resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NPROC)],
        }
        """,
        ATTACKER,
    )
    assert sandbox.result(source) == {
        "clone3": "ENOSYS",
        "new limit": "EPERM",
        "limit of the parent": "EPERM",
        "own limit": 0,
        "signals by descriptor": "EPERM",
        "flags of the socket": "EPERM",
        "close on exec": 0,
        "limits": [[0, 0], [0, 0]],
    }


@x86_64_only
@pytest.mark.parametrize(
    "attack",
    [
        pytest.param("raw(0x40000000 | 39)", id="x32"),
        pytest.param("raw(0x40000000 | 41, 2, 1, 0)", id="x32 socket"),
        pytest.param("code()", id="the 32-bit entry"),
    ],
)
def test_another_numbering_of_system_calls_kills_the_worker(sandbox: Sandbox, attack: str) -> None:
    before = (
        ATTACKER
        + """
import mmap

def code():
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # mov eax, 20 (getpid of i386); int 0x80; ret
    memory.write(bytes.fromhex("b814000000cd80c3"))
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()
"""
    )
    answer = sandbox.call(tool(f"return {attack}", before))
    assert answer["error"] == "ToolExecutionError"
    assert "SIGSYS" in answer["message"] or "SIGSEGV" in answer["message"]
    assert sandbox.result(tool("return 'well'")) == "well"


def test_a_tool_has_no_environment_and_no_descriptor_but_its_own(sandbox: Sandbox) -> None:
    source = tool(
        """
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
        opened = [number for number in range(1024) if attempt(os.fstat, number) != "OSError"]
        return [dict(os.environ), bool(environ and environ[0]), opened, os.read(0, 1).decode()]
        """,
        ATTACKER,
    )
    assert sandbox.result(source) == [{}, False, [0, 1, 2, 3], ""]


def test_a_tool_finds_nothing_of_the_call_before(sandbox: Sandbox) -> None:
    source = tool(
        """
        import builtins, json, random, sys
        seen = getattr(builtins, "mark", None) or getattr(json, "mark", None)
        builtins.mark = json.mark = "was here"
        return [seen, random.random(), os.urandom(4).hex()]
        """,
        "import os",
    )
    results = [sandbox.result(source) for _ in range(4)]
    assert [seen for seen, _, _ in results] == [None] * 4
    assert len({number for _, number, _ in results}) == 4
    assert len({text for _, _, text in results}) == 4


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("return len(bytearray(1 << 30))", id="one block"),
        pytest.param(
            "blocks = []\nwhile True: blocks.append(bytearray(1 << 20))", id="many blocks"
        ),
        pytest.param("blocks = []\nwhile True: blocks.append([None] * 999)", id="small blocks"),
        pytest.param(
            "import mmap\nblocks = []\ntry:\n"
            "    while True: blocks.append(mmap.mmap(-1, 1 << 24))\n"
            "except OSError:\n    blocks.clear()\n    raise MemoryError",
            id="shared mappings",
        ),
    ],
)
def test_a_tool_gets_no_more_memory_than_its_limit(sandbox: Sandbox, body: str) -> None:
    answer = sandbox.call(tool(body))
    assert answer["error"] == "LimitExceededError"
    assert answer["metadata"]["limit"] == "memory_bytes"
    assert answer["message"] == "The tool needed more than 256 MiB of memory."


def test_native_code_gets_no_more_memory_than_its_limit(sandbox: Sandbox) -> None:
    source = tool(
        """
        libc.mmap.restype = ctypes.c_long
        count = 0
        while libc.mmap(None, ctypes.c_size_t(1 << 24), 3, 0x22, -1, ctypes.c_long(0)) != -1:
            count += 1
        return count
        """,
        ATTACKER,
    )
    assert 1 <= sandbox.result(source) <= 16


def test_a_result_that_is_too_large_is_refused(sandbox: Sandbox) -> None:
    answer = sandbox.call(tool("return 'x' * 2_000_000"))
    assert answer["error"] == "LimitExceededError"
    assert answer["metadata"] == {"limit": "output_bytes", "limitValue": "1048576"}


@pytest.mark.parametrize("code", ["os._exit(0)", "os._exit(7)"])
def test_a_worker_that_ends_itself_fails_its_call_only(sandbox: Sandbox, code: str) -> None:
    answer = sandbox.call(tool(code, "import os"))
    assert answer["error"] == "ToolExecutionError"
    assert "ended by itself" in answer["message"]
    assert sandbox.result(tool("return 'well'")) == "well"


def test_a_worker_that_crashes_fails_its_call_only(sandbox: Sandbox) -> None:
    answer = sandbox.call(tool("ctypes.string_at(0)", "import ctypes"))
    assert answer["error"] == "ToolExecutionError"
    assert "SIGSEGV" in answer["message"]
    assert sandbox.result(tool("return 'well'")) == "well"


def test_the_self_test_passes_again(sandbox: Sandbox) -> None:
    before = sandbox.status["checked_at_ms"]
    status = sandbox.check()
    assert status["available"]
    assert status["missing"] == []
    assert status["checked_at_ms"] >= before


def test_without_the_tier_that_is_asked_for_nothing_runs() -> None:
    with sandbox_in("user_who_insists_on_namespaces") as sandbox:
        assert not sandbox.status["available"]
        assert sandbox.status["tier"] == "none"
        answer = sandbox.call(tool("return 1"))
        assert answer["error"] == "SandboxUnavailableError"
        assert "missing: namespaces" in answer["message"]
        assert "user.max_user_namespaces" in answer["metadata"]["remedy"]
        assert not sandbox.check()["available"]
