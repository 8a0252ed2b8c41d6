"""Attacks: reading, listing and changing the host's files.

Both tiers stop all of them but one: a look at the metadata of a file by its path (its size, its
owner, that it exists) is stopped by the namespaces only, in which the path does not exist.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.security.sandbox.arena import Arena, attack
from tests.security.sandbox.conftest import HOST_SECRET

_LIBRARY = os.path.dirname(os.__file__)  # noqa: PTH120 -- as tools write it

# Each is an expression with the absolute path of a file that everyone may read.
READS = {
    "its absolute path": "open(path).read()",
    "a path with dots": "open(library + '/../' * 20 + path).read()",
    "a path with dots from a package": "open(library + '/json' + '/..' * 20 + path).read()",
    "the root of its process": "open('/proc/self/root' + path).read()",
    "the root of the first process": "open('/proc/1/root' + path).read()",
    "the root of a thread": "open('/proc/thread-self/root' + path).read()",
    "a folder's descriptor": "os.read(os.open('..' + '/..' * 20 + path, 0, dir_fd=folder()), 99)",
    "the root's descriptor": "os.read(os.open(path[1:], 0, dir_fd=os.open('/', os.O_PATH)), 99)",
    "its own descriptor by path": "open(f'/proc/self/fd/{os.open(path, os.O_PATH)}').read()",
    "a descriptor that only names it": "os.read(os.open(path, os.O_PATH), 99)",
    "a descriptor opened anew": "os.read(os.open('', 0o10000000, dir_fd=os.open(path, os.O_PATH)), 9)",
    "a mapping": "mmap.mmap(os.open(path, os.O_RDONLY), 0, prot=1)[:]",
    "a mapping of a name": "mmap.mmap(os.open(path, os.O_PATH), 5, prot=1)[:]",
    "the old open": "raw(2, path.encode(), 0)",
    "openat2": "raw(437, -100, path.encode(), bytes(24), 24)",
    "a file handle": "raw(304, -100, bytes(128), 0)",
    "the handle of its name": "raw(303, -100, path.encode(), bytes(128), bytes(4), 0)",
    "open for a tree of mounts": "raw(428, -100, path.encode(), 0)",
    "sendfile": "raw(40, 3, os.open(path, os.O_PATH), 0, 99)",
    "splice": "raw(275, os.open(path, os.O_PATH), 0, 3, 0, 99, 0)",
    "the C library's streams": "libc.fopen(path.encode(), b'r') or raising()",
    "importing it": "importing(path)",
    "running it": "__import__('runpy').run_path(path)",
    "linecache": "__import__('linecache').getlines(path) or raising()",
    "codecs": "__import__('codecs').open(path).read()",
    "a URL": "__import__('urllib.request').request.urlopen('file://' + path).read()",
    "an extended attribute": "os.getxattr(path, 'user.secret')",
    "a new root": "os.chroot(os.path.dirname(path))",
    "a new working folder": "os.chdir(os.path.dirname(path))",
}

LISTINGS = {
    "listdir": "os.listdir(folder)",
    "scandir": "[entry.name for entry in os.scandir(folder)]",
    "glob": "__import__('glob').glob(folder + '/*') or raising()",
    "walk": "list(os.walk(folder)) or raising()",
    "a descriptor": "os.listdir(os.open(folder, os.O_PATH))",
    "an opened descriptor": "os.listdir(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))",
    "getdents of a name": "raw(217, os.open(folder, os.O_PATH), ctypes.create_string_buffer(999), 999)",
    "inotify": "raw(254, 3, folder.encode(), 0xfff)",
    "the importer": "__import__('pkgutil').iter_modules([folder]).__next__()",
}

# Each changes a file of which everybody is the master, or makes one beside it.
WRITES = {
    "open to write": "open(path, 'w')",
    "open to append": "open(path, 'a')",
    "open to update": "open(path, 'r+')",
    "creating a file": "open(beside, 'x')",
    "the C library's streams": "libc.fopen(path.encode(), b'w') or raising()",
    "creat": "raw(85, beside.encode(), 0o600)",
    "openat2 to write": "raw(437, -100, path.encode(), struct.pack('3Q', 2, 0, 0), 24)",
    "truncate": "os.truncate(path, 0)",
    "ftruncate of a name": "os.ftruncate(os.open(path, os.O_PATH), 0)",
    "unlink": "os.unlink(path)",
    "rename": "os.rename(path, beside)",
    "exchange": "raw(316, -100, path.encode(), -100, path.encode(), 2)",
    "link": "os.link(path, beside)",
    "linking a descriptor": "raw(265, os.open(path, os.O_PATH), b'', -100, beside.encode(), 0x1000)",
    "symlink": "os.symlink('/etc/passwd', beside)",
    "mkdir": "os.mkdir(beside)",
    "rmdir": "os.rmdir(os.path.dirname(path))",
    "mknod": "os.mknod(beside)",
    "a fifo": "os.mkfifo(beside)",
    "a device": "os.mknod(beside, 0o20600, os.makedev(1, 3))",
    "chmod": "os.chmod(path, 0o4777)",
    "fchmodat2": "raw(452, -100, path.encode(), 0o777, 0)",
    "chown": "os.chown(path, os.getuid(), os.getgid())",
    "times": "os.utime(path, (0, 0))",
    "an attribute": "os.setxattr(path, 'user.mark', b'1')",
    "a file without a name": "os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR)",
    "a database": "__import__('sqlite3').connect(beside).execute('create table t (x)')",
    "a mount": "raw(165, b'x', os.path.dirname(path).encode(), b'tmpfs', 0, 0)",
    "a mapping to write": "mmap.mmap(os.open(path, os.O_RDONLY), 0)",
    "fallocate": "raw(285, os.open(path, os.O_PATH), 0, 0, 9)",
    "copy_file_range": "raw(326, os.open(path, os.O_PATH), 0, os.open(path, os.O_PATH), 0, 9, 0)",
    "a bytecode file": "__import__('py_compile').compile(os.__file__, cfile=beside)",
    "a log": "__import__('logging').FileHandler(beside).emit(None)",
    "a trace": "__import__('faulthandler').enable(open(beside, 'w'))",
}

_HELPERS = """
library = os.path.dirname(os.__file__)

def folder():
    return os.open(library + "/json", os.O_RDONLY | os.O_DIRECTORY)

def raising():
    raise OSError

def importing(path):
    sys.path.insert(0, os.path.dirname(path))
    return __import__("hidden").secret
"""


@pytest.mark.parametrize("name", READS)
def test_reading_a_file_through(arena: Arena, open_folder: Path, name: str) -> None:
    (open_folder / "hidden.py").write_text(f"secret = {HOST_SECRET!r}")
    arguments = {"path": str(open_folder / "secret.txt")}
    source = attack(
        f"path = arguments['path']\nreturn attempt(lambda: {READS[name]})",
        _HELPERS,
    )
    answer = arena.call(source, arguments=arguments)
    assert HOST_SECRET not in str(answer)
    if answer.get("result") not in ("'EPERM'", "'EBADF'"):
        assert answer["result"] in REFUSALS, answer


# What a refused attempt raises in Python; a module that is not there cannot be imported.
REFUSALS = frozenset(
    {
        "AttributeError", "FileNotFoundError", "ImportError", "ModuleNotFoundError",
        "NotADirectoryError", "OSError", "PermissionError", "StopIteration", "URLError",
        "ValueError",
    }
)  # fmt: skip


@pytest.mark.parametrize("name", LISTINGS)
def test_listing_a_folder_by(arena: Arena, open_folder: Path, name: str) -> None:
    source = attack(
        f"folder = arguments['folder']\nreturn attempt(lambda: {LISTINGS[name]})", _HELPERS
    )
    for folder in (open_folder, Path("/"), Path("/proc"), Path(_LIBRARY)):
        outcome = arena.result(source, arguments={"folder": str(folder)})
        assert outcome in REFUSALS | {"'EPERM'", "'EBADF'"}, folder


@pytest.mark.parametrize("name", WRITES)
def test_changing_a_file_by(arena: Arena, open_folder: Path, name: str) -> None:
    file = open_folder / "secret.txt"
    before = file.stat()
    source = attack(
        "path, beside = arguments['path'], arguments['path'] + '.new'\n"
        f"return attempt(lambda: {WRITES[name]})",
        _HELPERS,
    )
    outcome = arena.result(source, arguments={"path": str(file)})
    assert outcome in REFUSALS | {"'EPERM'", "'EBADF'"}
    after = file.stat()
    assert file.read_text() == HOST_SECRET
    assert [entry.name for entry in open_folder.iterdir()] == ["secret.txt"]
    assert (after.st_mode, after.st_uid, after.st_nlink) == (
        before.st_mode, before.st_uid, before.st_nlink,
    )  # fmt: skip
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    assert os.listxattr(file) == []


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/var/tmp", "/run", "/", ".", _LIBRARY])
def test_leaving_a_file_in(arena: Arena, folder: str) -> None:
    name = f"{folder}/witness-of-{os.getpid()}"
    source = attack("return attempt(open, arguments['name'], 'w')")
    assert arena.result(source, arguments={"name": name}) in REFUSALS
    assert not Path(name).exists()


def test_leaving_bytecode_in_the_library(arena: Arena) -> None:
    # Modules that nothing else imports, so that their bytecode need not be there yet.
    names = ["this", "antigravity", "tabnanny", "chunk", "sndhdr"]
    cache = Path(_LIBRARY) / "__pycache__"
    before = set(cache.iterdir())
    body = """
    sys.dont_write_bytecode = False
    return [attempt(__import__, name) for name in arguments["names"]]
    """
    arena.result(attack(body), arguments={"names": names})
    made = {entry.name.partition(".")[0] for entry in set(cache.iterdir()) - before}
    assert made.isdisjoint(names)


def test_reading_what_belongs_to_the_service(arena: Arena) -> None:
    paths = [
        *("/etc/passwd", "/etc/shadow", "/etc/hosts", "/etc/machine-id", "/proc/cpuinfo"),
        *("/proc/sys/kernel/hostname", "/proc/net/tcp", "/proc/mounts", "/proc/kallsyms"),
        *("/sys/class/net/lo/address", "/dev/mem", "/dev/kmsg", "/dev/random", "/dev/tty"),
        *("/proc/self/maps", "/proc/self/mem", "/proc/self/environ", "/proc/self/auxv"),
        *(sys.executable, __file__, pytest.__file__),
    ]
    source = attack("return [attempt(lambda: open(p, 'rb').read(1)) for p in arguments['paths']]")
    outcomes = arena.result(source, arguments={"paths": paths})
    assert {p: o for p, o in zip(paths, outcomes, strict=True) if o not in REFUSALS} == {}


@pytest.mark.parametrize(
    "look",
    [
        "os.stat(path).st_size", "os.lstat(path).st_size", "os.stat('/proc/self/root' + path).st_size",
        "os.stat(path[1:], dir_fd=os.open('/', os.O_PATH)).st_size",
        "os.fstat(os.open(path, os.O_PATH)).st_size", "os.path.exists(path) and len(path)",
        "os.access(path, os.R_OK) and len(path)",
    ],
)  # fmt: skip
def test_looking_at_the_metadata_of_a_hidden_file(
    arena: Arena, open_folder: Path, look: str
) -> None:
    source = attack(f"path = arguments['path']\nreturn attempt(lambda: {look})")
    outcome = arena.result(source, arguments={"path": str(open_folder / "secret.txt")})
    if arena.tier == "namespaces":
        assert outcome in ("FileNotFoundError", "False")
    else:
        # Not stopped: Landlock has no say in it. Reading the file fails all the same.
        assert outcome.isdecimal() or "proc" in look
