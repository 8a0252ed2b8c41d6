"""Which module may import which, and what importing the library costs."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]

# Where protobuf and gRPC may be met: what serves, what converts, what calls a peer. Everything
# else, the use cases above all, takes and returns plain objects.
WIRE_MODULES = re.compile(
    r"agent_executor\.(api|serving|cli|client|error_status)(\..+)?"
    r"|agent_executor(\.\w+){1,2}\.(bootstrap|convert|servicer|\w+_(convert|servicer|grpc))"
)
WIRE = ("grpc", "google", "agent_executor.api")

HEAVY = {
    *("alembic", "anthropic", "google", "grpc", "openai", "opentelemetry", "pydantic", "sqlalchemy")
}


def test_imports_keep_their_contracts() -> None:
    done = subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "lint-imports", "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_edges_know_the_wire() -> None:
    graph = grimp.build_graph("agent_executor", include_external_packages=True, cache_dir=None)
    wire = {
        name
        for name in graph.modules
        if any(name == at or name.startswith(f"{at}.") for at in WIRE)
    }
    importers = {
        importer for name in wire for importer in graph.find_modules_that_directly_import(name)
    }
    assert [name for name in sorted(importers) if not WIRE_MODULES.fullmatch(name)] == []


@pytest.mark.parametrize("module", ["agent_executor", "agent_executor.errors"])
def test_importing_is_cheap(module: str) -> None:
    program = f"import sys, {module}; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & HEAVY == set()
