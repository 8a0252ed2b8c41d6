"""Write everything that is generated from the contracts: ``python -m protos.generate``.

With ``--check`` nothing is written: the files that would change are listed, and the exit code is
1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import tomllib
from pathlib import Path

from protos.compiler import ROOT, compile_image, without_comments, write_python
from protos.contracts import Contracts
from protos.openapi import build_document

# Folders that hold nothing but generated files: what is in them and not generated any more goes.
GENERATED_FOLDERS = ("services/agent_executor/api", "services/buf")


def generate(output: Path) -> None:
    """Writes every generated file below ``output``, at its path in the repository."""
    services, gateway = output / "services", output / "gateway"
    services.mkdir(parents=True)
    gateway.mkdir()
    image = compile_image()
    write_python(services)
    descriptor = without_comments(image).SerializeToString(deterministic=True)
    (gateway / "descriptor.binpb").write_bytes(descriptor)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    document = build_document(Contracts(image), project["version"])
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (gateway / "openapi.json").write_text(text, encoding="utf-8")


def changes(output: Path) -> list[str]:
    """Returns the paths at which the repository differs from what was generated, sorted."""
    generated = {path.relative_to(output) for path in output.rglob("*") if path.is_file()}
    present = {
        path.relative_to(ROOT)
        for folder in GENERATED_FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    stale = present - generated
    changed = {path for path in generated if not _same(output / path, ROOT / path)}
    return sorted(path.as_posix() for path in stale | changed)


def _same(left: Path, right: Path) -> bool:
    return right.is_file() and left.read_bytes() == right.read_bytes()


def _write(output: Path, paths: list[str]) -> None:
    for path in paths:
        source, target = output / path, ROOT / path
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        else:
            target.unlink()


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write what is generated from the contracts.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        generate(output)
        paths = changes(output)
        for path in paths:
            print(f"{'differs' if arguments.check else 'written'}: {path}")
        if arguments.check:
            if paths:
                print("run `make generate` and commit the result", file=sys.stderr)
            return 1 if paths else 0
        _write(output, paths)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
