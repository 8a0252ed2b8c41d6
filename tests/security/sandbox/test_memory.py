"""Attacks: more memory than a tool may have. Both tiers stop all of them.

After a bomb has gone off the tool makes an HTTP request, on which the tool-runner looks at the
peaks of its processes, as the kernel counts them.
"""

from __future__ import annotations

import pytest

from tests.security.sandbox.arena import Arena, attack

_LIMIT_KIB = 256 * 1024

# Each fills the list ``hoard`` until it may not any more; the reserve is for the request.
PYTHON_BOMBS = {
    "one block": "hoard.append(bytearray(1 << 30))",
    "many blocks": "while True: hoard.append(bytearray(1 << 20))",
    "many small objects": "while True: hoard.append([None] * 99)",
    "a string that doubles": "hoard.append('x' * 9)\nwhile True: hoard[0] += hoard[0]",
    "an integer": "hoard.append(1 << (1 << 33))",
    "private mappings": "while True: hoard.append(mmap.mmap(-1, 1 << 22, flags=0x22))",
    "shared mappings": "while True: hoard.append(mmap.mmap(-1, 1 << 22))",
    "a decompression": "hoard.append(zlib.decompress(zlib.compress(bytes(1 << 27)), 15, 1 << 29))",
}

# Each is a system call that gives memory which the limit on the address space does not count.
UNCOUNTED = {
    "memfd_create": "raw(319, b'x', 0)",
    "memfd_create with huge pages": "raw(319, b'x', 4)",
    "memfd_secret": "raw(447, 0)",
    "a System V segment": "raw(29, 0, 1 << 30, 0o1600)",
    "a System V queue": "raw(68, 0, 0o1600)",
    "a POSIX queue": "raw(240, b'x', 0o102, 0o600, 0)",
    "a file in shared memory": "attempt(open, '/dev/shm/witness', 'wb')",
    "a temporary file": "attempt(__import__('tempfile').TemporaryFile)",
    "a file without a name": "attempt(os.open, '/dev/shm', os.O_TMPFILE | os.O_RDWR)",
    "a pipe": "attempt(os.pipe)",
    "a pair of sockets": "raw(53, 1, 1, 0, bytes(8))",
    "an eventfd": "raw(290, 0, 0)",
    "an epoll": "raw(291, 0)",
    "an inotify": "raw(294, 0)",
    "a key": "raw(248, b'user', b'x', b'x', 1, -3)",
    "a bpf map": "raw(321, 0, bytes(64), 64)",
    "a userfaultfd": "raw(323, 0)",
    "locked memory": "raw(149, 0, 4096)",
    "a program in memory": "raw(317, 1, 0, bytes(16))",
}


@pytest.mark.parametrize("name", PYTHON_BOMBS)
def test_a_bomb_of(arena: Arena, name: str) -> None:
    body = """
    hoard = []
    try:
        exec(arguments["bomb"], {**globals(), "hoard": hoard})
    except (MemoryError, OverflowError, OSError):
        went_off = True
    else:
        went_off = False
    hoard.clear()
    self.http.request("GET", "memory")
    return went_off
    """
    arena.state()
    arena.result(
        attack(body, "import zlib\n"), arguments={"bomb": PYTHON_BOMBS[name]}, timeout_seconds=60
    )
    _assert_limit_held(arena)


def test_a_bomb_of_native_mappings_that_are_touched(arena: Arena) -> None:
    body = """
    libc.mmap.restype = ctypes.c_void_p
    size, pages = 1 << 22, []
    while (page := libc.mmap(None, ctypes.c_size_t(size), 3, 0x22, -1, ctypes.c_long(0))) not in (
        None, (1 << 64) - 1,
    ):
        ctypes.memset(page, 1, size)
        pages.append(page)
    for page in pages[:2]:
        libc.munmap(ctypes.c_void_p(page), ctypes.c_size_t(size))
    self.http.request("GET", "memory")
    return len(pages) << 22
    """
    arena.state()
    taken = arena.result(attack(body), timeout_seconds=60)
    assert 100 << 20 < taken < 256 << 20
    _assert_limit_held(arena, least_kib=100 * 1024)


@pytest.mark.parametrize("flags", [0x40000 | 0x22, 0x8000 | 0x22, 0x2000 | 0x22, 0x100 | 0x22])
def test_a_bomb_of_mappings_of_another_kind(arena: Arena, flags: int) -> None:
    # Huge pages, populated, locked, a stack that grows.
    body = f"""
    libc.mmap.restype = ctypes.c_void_p
    count = 0
    while libc.mmap(None, ctypes.c_size_t(1 << 23), 3, {flags}, -1, ctypes.c_long(0)) not in (
        None, (1 << 64) - 1,
    ):
        count += 1
    return count
    """
    assert arena.result(attack(body), timeout_seconds=60) < 256 / 8


def test_a_bomb_that_duplicates_a_shared_mapping(arena: Arena) -> None:
    # An old size of 0 maps the same pages once more.
    body = """
    libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
    page = libc.mmap(None, ctypes.c_size_t(1 << 23), 3, 0x21, -1, ctypes.c_long(0))
    count = 0
    while libc.mremap(ctypes.c_void_p(page), ctypes.c_size_t(0), ctypes.c_size_t(1 << 23), 1) not in (
        None, (1 << 64) - 1,
    ):
        count += 1
    return count
    """
    assert arena.result(attack(body), timeout_seconds=60) < 256 / 8


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            "def f(): return f()\nsys.setrecursionlimit(1 << 30)\nreturn f()", id="frames"
        ),
        pytest.param(
            "sys.setrecursionlimit(1 << 30)\nx = []\nfor _ in range(10**6): x = [x]\nreturn repr(x)",
            id="native frames",
        ),
    ],
)
def test_a_bomb_of_the_stack(arena: Arena, body: str) -> None:
    arena.failure(attack(body), timeout_seconds=60)


@pytest.mark.parametrize("name", UNCOUNTED)
def test_memory_that_is_not_counted_from(arena: Arena, name: str) -> None:
    outcome = arena.result(attack(f"return {UNCOUNTED[name]}"))
    assert outcome in ("EPERM", "PermissionError", "FileNotFoundError")


def _assert_limit_held(arena: Arena, least_kib: int = 0) -> None:
    state = arena.state()
    assert state["requests_seen"] == ["memory"]
    assert state["memory_seen"]
    # Only workers have a limit; the launcher never comes near it.
    peaks = [max(each["VmPeak"], each["VmHWM"]) for each in state["memory_seen"]]
    assert least_kib <= max(peaks) <= _LIMIT_KIB
