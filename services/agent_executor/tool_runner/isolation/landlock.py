"""Landlock: which files a worker may read, and that it may do nothing else with any file.

It may read the interpreter's standard library, entry by entry, so that neither installed packages
nor the service's own source are among it. The folder itself cannot be listed: the interpreter's
import system knows its content from the launcher. Looking at a file's metadata is not something
that Landlock can forbid; only a mount namespace hides it.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agent_executor.tool_runner.isolation.kernel import syscall

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1

_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
# How many rights over files, over TCP and how many scopes there are, from which version on.
_FILE_RIGHTS_OF_ABI: Final = ((1, 13), (2, 14), (3, 15), (5, 16))
_NETWORK_RIGHTS_OF_ABI: Final = ((4, 2),)
_SCOPES_OF_ABI: Final = ((6, 2),)

NOT_OF_THE_LIBRARY: Final = frozenset({"site-packages", "dist-packages"})


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_abi() -> int:
    """Returns the version of Landlock that the kernel has; 0 for none."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def create_ruleset(folders: Iterable[str]) -> int:
    """Returns a descriptor of a ruleset that forbids all but reading what is in the folders.

    Raises:
        OSError: The kernel has no Landlock, or a folder cannot be read.
    """
    abi = landlock_abi()
    attributes = _RulesetAttributes(
        handled_access_fs=_mask(_FILE_RIGHTS_OF_ABI, abi),
        handled_access_net=_mask(_NETWORK_RIGHTS_OF_ABI, abi),
        scoped=_mask(_SCOPES_OF_ABI, abi),
    )
    # An older kernel refuses a structure with fields that it does not know.
    size = 8 * (1 + (abi >= _NETWORK_RIGHTS_OF_ABI[0][0]) + (abi >= _SCOPES_OF_ABI[0][0]))
    ruleset = syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    try:
        for folder in folders:
            _allow_entries(ruleset, folder)
    except OSError:
        os.close(ruleset)
        raise
    return ruleset


def restrict_self(ruleset: int) -> None:
    """Puts this process under a ruleset for good; it must have given up new privileges."""
    syscall(_RESTRICT_SELF, ruleset, 0)


def _mask(count_of_abi: tuple[tuple[int, int], ...], abi: int) -> int:
    count = max((count for since, count in count_of_abi if since <= abi), default=0)
    return (1 << count) - 1


def _allow_entries(ruleset: int, folder: str) -> None:
    parent = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for entry in Path(folder).iterdir():
            if entry.name not in NOT_OF_THE_LIBRARY:
                _allow_entry(ruleset, parent, entry.name)
    finally:
        os.close(parent)


def _allow_entry(ruleset: int, parent: int, name: str) -> None:
    # A link may lead out of the library, to a configuration file for example.
    entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        mode = os.fstat(entry).st_mode
        if stat.S_ISDIR(mode):
            rights = _READ_FILE | _READ_DIR
        elif stat.S_ISREG(mode):
            rights = _READ_FILE
        else:
            return
        rule = _PathBeneath(allowed_access=rights, parent_fd=entry)
        syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(entry)
