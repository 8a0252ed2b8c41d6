"""Linux system calls that Python has no function for.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any, Final

# By the machine's name as uname(2) gives it; numbers from 424 on are the same everywhere.
_PIVOT_ROOT_OF_MACHINE: Final = {"x86_64": 155, "aarch64": 41}
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432
_CLOSE_RANGE: Final = 436
_MOUNT_SETATTR: Final = 442

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAPBSET_DROP: Final = 24
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUTS: Final = 0x0400_0000
CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWPID: Final = 0x2000_0000
CLONE_NEWNET: Final = 0x4000_0000

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8

_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000
_MNT_DETACH: Final = 2
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE: Final = 1
_OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_CAPABILITY_VERSION_3: Final = 0x2008_0522
_CAPABILITIES_MAX: Final = 64

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def syscall(number: int, *arguments: Any) -> int:
    """Makes a system call; integers are passed as longs, so that no upper half is left over.

    Raises:
        OSError: As the kernel says.
    """
    return _checked(
        _libc.syscall(
            ctypes.c_long(number),
            *(ctypes.c_long(value) if isinstance(value, int) else value for value in arguments),
        )
    )


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    """Sets a property of this process.

    Raises:
        OSError: As the kernel says.
    """
    return _checked(
        _libc.prctl(
            option,
            ctypes.c_ulong(argument),
            ctypes.c_ulong(second),
            ctypes.c_ulong(0),
            ctypes.c_ulong(0),
        )
    )


def close_from(descriptor: int) -> None:
    """Closes a descriptor and all above it."""
    syscall(_CLOSE_RANGE, descriptor, 0xFFFF_FFFF, 0)


def unshare(flags: int) -> None:
    """Puts this process, or its children for a process namespace, into new namespaces.

    Raises:
        OSError: The kernel forbids it; then nothing has changed.
    """
    _checked(_libc.unshare(flags))


def set_host_name(name: str) -> None:
    """Names the host, in this process's UTS namespace."""
    encoded = name.encode()
    _checked(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))))


def make_mounts_private() -> None:
    """Lets no mount of this mount namespace propagate to another."""
    _checked(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))


def new_tmpfs(*, size_bytes: int, attributes: int) -> int:
    """Returns a descriptor of a new, empty, detached file system in memory."""
    context = syscall(_FSOPEN, b"tmpfs", _FSOPEN_CLOEXEC)
    try:
        for key, value in ((b"size", b"%d" % size_bytes), (b"mode", b"0755")):
            syscall(_FSCONFIG, context, _FSCONFIG_SET_STRING, key, value, 0)
        syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return syscall(_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def clone_tree(path: str, *, attributes: int) -> int:
    """Returns a descriptor of a detached bind mount of a folder and what is mounted below it."""
    tree = syscall(
        _OPEN_TREE,
        _AT_FDCWD,
        os.fsencode(path),
        _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE,
    )
    try:
        set_mount_attributes(tree, attributes, recursive=True)
    except OSError:
        os.close(tree)
        raise
    return tree


def set_mount_attributes(mount: int, attributes: int, *, recursive: bool = False) -> None:
    """Adds attributes to a mount."""
    wanted = _MountAttributes(attr_set=attributes)
    syscall(
        _MOUNT_SETATTR,
        mount,
        b"",
        _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0),
        ctypes.byref(wanted),
        ctypes.sizeof(wanted),
    )


def attach_mount(mount: int, folder: int, path: str) -> None:
    """Mounts a detached mount on a path below an open folder, or on an absolute path."""
    syscall(_MOVE_MOUNT, mount, b"", folder, os.fsencode(path), _MOVE_MOUNT_F_EMPTY_PATH)


def pivot_into(root: int) -> None:
    """Makes an attached mount the root of this process, and lets go of the old one."""
    os.fchdir(root)
    syscall(_PIVOT_ROOT_OF_MACHINE[os.uname().machine], b".", b".")
    # The old root lies over the new one now.
    _checked(_libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def drop_bounding_set() -> None:
    """Lets no program file give this process a capability again; needs the right to do so."""
    for capability in range(_CAPABILITIES_MAX):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:
                # The kernel has no more.
                return
            raise


def drop_capabilities() -> None:
    """Gives up every capability that this process has."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    _checked(_libc.capset(header, none))


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
