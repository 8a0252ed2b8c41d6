"""The file of a backup: a compressed tar, first a manifest of what follows, with digests.

Whoever has only the file knows of each database its revision, and of each part whether it is whole.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

import msgspec

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
MANIFEST_MAX_BYTES: Final = 1024 * 1024
# Event logs shrink to a fifth; a higher level takes thrice the time for a tenth less.
_COMPRESSION_LEVEL: Final = 3
_READ_BYTES: Final = 1024 * 1024
_UNFINISHED: Final = ".unfinished"
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class ArchiveError(Exception):
    """A backup cannot be used; the message says why."""


# What a person is shown of a file that anyone may have made.
_Plain = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.:+_-]{1,64}$")]


class Part(msgspec.Struct, frozen=True):
    """A file of a backup.

    Attributes:
        path: Where it is, below the data folder.
        bytes: Its size.
        sha256: Its digest, in hexadecimal.
    """

    path: Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds.

    Attributes:
        format: The version of the file's own form.
        version: The version of agent-executor that wrote it.
        taken_at: The instant whose state the databases have, as RFC 3339 in UTC.
        revisions: The revisions of the databases, by the names of their services.
        has_keys: Whether the keys are in it.
        parts: Its files, in their order.
    """

    format: int
    version: _Plain
    taken_at: _Plain
    revisions: dict[_Plain, _Plain]
    has_keys: bool
    parts: tuple[Part, ...]


def part_of(folder: Path, path: Path) -> Part:
    """Returns what a manifest says of a file below a folder."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size += len(block)
    return Part(path.relative_to(folder).as_posix(), size, digest.hexdigest())


def write_archive(target: Path, folder: Path, manifest: Manifest) -> None:
    """Writes a backup (mode 0600), which appears under its name when it is whole and on the disk.

    It is written in the folder of its parts first, which is on the same file system, so that
    whoever removes that removes an unfinished one too, and nobody else writes to it.

    Raises:
        FileExistsError: There is a file of that name.
        OSError: It cannot be written.
    """
    unfinished = folder / _UNFINISHED
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=_COMPRESSION_LEVEL) as archive:
            text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
            _add(archive, MANIFEST, len(text), io.BytesIO(text))
            for part in manifest.parts:
                with (folder / part.path).open("rb") as content:
                    _add(archive, part.path, part.bytes, content)
        file.flush()
        os.fsync(file.fileno())
    try:
        # Unlike a rename, a link does not take the place of a file that came meanwhile.
        os.link(unfinished, target)
    except OSError as error:
        if error.errno not in _NO_LINKS or target.exists():
            raise
        # File systems of USB sticks and many of networks have no links.
        unfinished.rename(target)


def read_archive(source: Path, folder: Path) -> Manifest:
    """Unpacks a backup below an empty folder, each file with mode 0600, and checks every digest.

    Raises:
        ArchiveError: It is no backup, of a newer form, cut off, or changed.
        OSError: It cannot be read, or the folder cannot be written.
    """
    try:
        with tarfile.open(source, mode="r|gz") as archive:
            members = iter(archive)
            manifest = _manifest_of(archive, next(members, None))
            for part in manifest.parts:
                member = next(members, None)
                if member is None or member.name != part.path or not member.isreg():
                    raise ArchiveError(f"The backup lacks {part.path}.")
                _unpack(archive, member, folder, part)
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{source} is no backup, or it is damaged.") from error
    return manifest


def _manifest_of(archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> Manifest:
    if member is None or member.name != MANIFEST or member.size > MANIFEST_MAX_BYTES:
        raise ArchiveError("The file is no backup of agent-executor.")
    manifest = msgspec.json.decode(b"".join(_blocks(archive, member)), type=Manifest)
    if manifest.format != FORMAT:
        raise ArchiveError(
            f"The backup has form {manifest.format}, and this version of agent-executor reads "
            f"{FORMAT}. It was written by version {manifest.version}."
        )
    _check_paths(manifest.parts)
    return manifest


def _check_paths(parts: Sequence[Part]) -> None:
    """Refuses a path that leads elsewhere than below the folder."""
    for part in parts:
        path = PurePosixPath(part.path)
        if path.is_absolute() or ".." in path.parts or str(path) != part.path:
            raise ArchiveError(f"The backup names a path that cannot be: {part.path!r}.")


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, part: Part) -> None:
    path = folder / part.path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for block in _blocks(archive, member):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != part.sha256:
        raise ArchiveError(f"{part.path} in the backup is not what was written into it.")


def _blocks(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    content = archive.extractfile(member)
    if content is None:
        raise ArchiveError(f"{member.name} in the backup is no file.")
    while block := content.read(_READ_BYTES):
        yield block


def _add(archive: tarfile.TarFile, name: str, size: int, content: io.BufferedIOBase) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    archive.addfile(member, content)
