"""The namespaces of a launcher: a root that holds the interpreter's library and nothing else.

Of the mounts, the network, the processes, the host's name and System V's objects the launcher and
its workers see their own only. Root makes them as root; anyone else makes a user namespace first.
Whoever made them is user 65534 without a capability afterwards.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent_executor.tool_runner.isolation import kernel
from agent_executor.tool_runner.isolation.landlock import NOT_OF_THE_LIBRARY

# "nobody", by convention everywhere.
NOBODY_ID: Final = 65_534
# Room for the folders on the way to the library.
_ROOT_BYTES: Final = 65_536
_HOST_NAME: Final = "sandbox"
_OWN_NAMESPACES: Final = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWPID
)
_UNTRUSTED: Final = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV


def enter_namespaces(*, as_root: bool) -> None:
    """Puts this process into namespaces of its own, and its next child into one of processes.

    Args:
        as_root: What ``is_root`` says.

    Raises:
        OSError: The kernel forbids it. The process may be in some of them, and of no further use.
    """
    if as_root:
        kernel.unshare(_OWN_NAMESPACES)
        return
    user_id, group_id = os.geteuid(), os.getegid()
    kernel.unshare(_OWN_NAMESPACES | kernel.CLONE_NEWUSER)
    # The kernel wants this file denied before it lets an ordinary user map a group.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY_ID} {user_id} 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY_ID} {group_id} 1")


def build_root(folders: Sequence[str]) -> None:
    """Makes a root that holds the folders, read-only at their paths, without installed packages.

    Raises:
        OSError: The kernel forbids it.
    """
    kernel.make_mounts_private()
    kernel.set_host_name(_HOST_NAME)
    libraries = [(folder, kernel.clone_tree(folder, attributes=_UNTRUSTED)) for folder in folders]
    root = kernel.new_tmpfs(size_bytes=_ROOT_BYTES, attributes=kernel.MOUNT_ATTR_NOSUID)
    kernel.attach_mount(root, root, "/")
    for folder, library in libraries:
        _mount_library(root, folder.strip("/"), library)
    kernel.set_mount_attributes(root, _UNTRUSTED | kernel.MOUNT_ATTR_NOEXEC)
    kernel.pivot_into(root)
    os.close(root)


def become_nobody(*, as_root: bool) -> None:
    """Gives up root and every capability for good.

    Root of a user namespace without the user 65534 keeps its number, which is an ordinary user's
    outside, and has no power that is not a capability.

    Args:
        as_root: What ``is_root`` said; the new root has no file to tell it by.

    Raises:
        OSError: This process is root and may not become someone else.
    """
    if as_root:
        os.setgroups([])
        os.setresgid(NOBODY_ID, NOBODY_ID, NOBODY_ID)
        # Without root the bounding set could not be reduced any more.
        kernel.drop_bounding_set()
        os.setresuid(NOBODY_ID, NOBODY_ID, NOBODY_ID)
    kernel.drop_capabilities()


def is_root() -> bool:
    """Tells whether this process is root and could become user 65534."""
    if os.geteuid() != 0:
        return False
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = (int(number) for number in line.split())
        if first <= NOBODY_ID < first + count:
            return True
    return False


def _mount_library(root: int, path: str, library: int) -> None:
    parts = path.split("/")
    for length in range(1, len(parts) + 1):
        try:
            os.mkdir("/".join(parts[:length]), 0o755, dir_fd=root)
        except FileExistsError:
            # On the way to another folder, too.
            continue
    kernel.attach_mount(library, root, path)
    for name in NOT_OF_THE_LIBRARY:
        _cover(library, name)
    os.close(library)


def _cover(library: int, name: str) -> None:
    """Mounts an empty folder over a folder of a library, if there is one."""
    cover = kernel.new_tmpfs(
        size_bytes=_ROOT_BYTES, attributes=_UNTRUSTED | kernel.MOUNT_ATTR_NOEXEC
    )
    try:
        kernel.attach_mount(cover, library, name)
    except FileNotFoundError:
        return
    finally:
        os.close(cover)
