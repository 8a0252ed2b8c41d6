"""The work of `agent-executor backup` and `restore`."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent_executor import __version__
from agent_executor.cli.backup_archive import (
    FORMAT,
    ArchiveError,
    Manifest,
    part_of,
    read_archive,
    write_archive,
)
from agent_executor.cli.service_databases import SERVICE_DATABASES, missing_files
from agent_executor.errors import AgentExecutorError
from agent_executor.storage.migrations import known_revisions
from agent_executor.storage.sqlite_files import copy_file, revision_of, same_instant

# Everything of a data folder that was made at random and cannot be made again.
KEY_FOLDERS: Final = (Path("keys"), Path("certificates"))
KEY_FILES: Final = (Path("executor", "encryption.key"), Path("tool_runner", "encryption.key"))


class BackupError(Exception):
    """A backup cannot be made or restored; the message is a sentence for a person."""


def make_backup(
    data_dir: Path, target: Path, *, with_keys: bool, tell: Callable[[str], None] = lambda _: None
) -> Manifest:
    """Writes a backup of a data folder, while its platform runs or not.

    Args:
        data_dir: The data folder.
        target: The backup's file. As much room as the databases take is needed beside it.
        with_keys: Whether the keys are in it.
        tell: Told what is being done.

    Raises:
        BackupError: It cannot be made; there is no file then.
    """
    for path in missing_files(data_dir):
        raise BackupError(f"{path} does not exist. Databases in PostgreSQL are not backed up here.")
    if target.exists():
        raise BackupError(f"{target} exists already.")
    try:
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".backup-") as name:
            folder = Path(name)
            with same_instant([data_dir / each.file for each in SERVICE_DATABASES]) as sources:
                # A little after the instant, so that nobody expects more in it than there is.
                taken_at = datetime.now(UTC).isoformat(timespec="milliseconds")
                revisions = {}
                for database, source in zip(SERVICE_DATABASES, sources, strict=True):
                    revisions[database.name] = revision_of(source)
                    tell(f"copying the database of the {database.name}")
                    copy_file(source, folder / database.file)
            parts = [part_of(folder, folder / database.file) for database in SERVICE_DATABASES]
            if with_keys:
                for key in _keys(data_dir):
                    copy = folder / key.relative_to(data_dir)
                    copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    shutil.copyfile(key, copy)
                    parts.append(part_of(folder, copy))
            manifest = Manifest(FORMAT, __version__, taken_at, revisions, with_keys, tuple(parts))
            tell(f"writing {target}")
            write_archive(target, folder, manifest)
            return manifest
    except AgentExecutorError as error:
        raise BackupError(error.message) from error
    except sqlite3.Error as error:
        raise BackupError(f"A database cannot be read: {error}.") from error
    except FileExistsError as error:
        raise BackupError(f"{target} exists already.") from error
    except OSError as error:
        raise BackupError(f"The backup cannot be written: {error.strerror}.") from error


def restore_backup(source: Path, data_dir: Path) -> Manifest:
    """Makes a data folder of a backup. The folder appears when all of it is there and checked.

    Args:
        source: The backup's file.
        data_dir: The new data folder, which does not exist or is empty.

    Raises:
        BackupError: It cannot be restored; there is no folder then.
    """
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise BackupError(f"{data_dir} exists and is not empty.")
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        with _new_folder(data_dir) as folder:
            manifest = read_archive(source, folder)
            _check_revisions(manifest)
            for database in SERVICE_DATABASES:
                _check_database(folder / database.file, manifest.revisions[database.name])
    except ArchiveError as error:
        raise BackupError(str(error)) from error
    except sqlite3.Error as error:
        raise BackupError(f"A database of the backup cannot be read: {error}.") from error
    except OSError as error:
        raise BackupError(f"The backup cannot be restored: {error.strerror}.") from error
    return manifest


def _keys(data_dir: Path) -> Iterator[Path]:
    for folder in KEY_FOLDERS:
        # What begins with a dot is being written.
        yield from sorted(path for path in (data_dir / folder).glob("[!.]*") if path.is_file())
    yield from (path for file in KEY_FILES if (path := data_dir / file).is_file())


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Makes a folder (mode 0700) that has its name once the block has ended well."""
    unfinished = Path(tempfile.mkdtemp(dir=path.absolute().parent, prefix=f".{path.name}-"))
    try:
        yield unfinished
        _sync_folders(unfinished)
        # It takes the place of an empty folder, and of nothing else.
        unfinished.rename(path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _sync_folders(path.absolute().parent, deep=False)


def _sync_folders(folder: Path, *, deep: bool = True) -> None:
    """Writes the lists of files to the disk."""
    for each in [folder, *(folder.rglob("*") if deep else ())]:
        if each.is_dir():
            descriptor = os.open(each, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _check_revisions(manifest: Manifest) -> None:
    for database in SERVICE_DATABASES:
        found, known = manifest.revisions.get(database.name), known_revisions(database.migrations)
        if found not in known:
            raise ArchiveError(
                f"The backup's database of the {database.name} is at revision {found}, and this "
                f"version of agent-executor knows none after {known[-1]}. It was written by version "
                f"{manifest.version}."
            )


def _check_database(path: Path, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as it:
        if it.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok" or revision_of(it) != revision:
            raise ArchiveError(f"The backup's {path.name} is not sound.")
