"""Hold the contracts against buf's rules, and against main: ``python -m protos.lint``.

A change that would break a client of main fails. Where there is nothing to compare with (no git,
no history of main, no contracts in it) a sentence says so.
"""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from protos.compiler import ROOT, compile_image

_BUF = Path(sysconfig.get_path("scripts")) / "buf"
# A fork's clone may have the project's main only as the remote's.
_MAIN_BRANCHES = ("origin/main", "main")


def lint(image: Path) -> bool:
    """Returns whether an image keeps buf's lint rules; buf says on stdout what does not."""
    return _buf("lint", str(image))


def breaking(image: Path, base: Path) -> bool:
    """Returns whether clients of ``base`` can use ``image``; buf says on stdout what breaks."""
    return _buf("breaking", str(image), "--against", str(base))


def write_image(target: Path, protos: Path) -> Path:
    """Writes the image of the contracts under ``protos`` to ``target`` and returns ``target``."""
    target.write_bytes(compile_image(protos).SerializeToString())
    return target


def base_revision() -> str | None:
    """Returns the commit of main that the working tree goes back to, or None if there is none.

    On main itself that is the commit before the present one.
    """
    for branch in _MAIN_BRANCHES:
        base = _git("merge-base", "HEAD", branch)
        if base is not None:
            head = _git("rev-parse", "HEAD")
            return base if base != head or _is_changed() else _git("rev-parse", "--verify", "HEAD^")
    return None


def _is_changed() -> bool:
    return bool(_git("status", "--porcelain", "--", "protos"))


def _extract_protos(revision: str, folder: Path) -> bool:
    """Writes a commit's protos below ``folder``; returns whether it has any."""
    archive = subprocess.run(
        ["git", "archive", revision, "protos"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode != 0:
        return False
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return True


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _buf(*arguments: str) -> bool:
    done = subprocess.run(
        [_BUF, *arguments, "--config", str(ROOT / "buf.yaml")], cwd=ROOT, check=False
    )
    return done.returncode == 0


def main() -> int:
    """Checks the working tree; returns the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = write_image(folder / "image.binpb", ROOT / "protos")
        if not lint(image):
            return 1
        revision = base_revision()
        if revision is None or not _extract_protos(revision, folder):
            print("buf breaking: nothing to compare with; main has no earlier contracts here")
            return 0
        if breaking(image, write_image(folder / "base.binpb", folder / "protos")):
            print(f"buf breaking: nothing breaks the clients of {revision[:12]}")
            return 0
    print("the contracts break clients of main", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
