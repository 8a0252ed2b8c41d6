"""The contracts keep buf's rules, and a change that would break a client is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from protos.compiler import PROTOS
from protos.lint import breaking, lint, write_image


def write_contract(protos: Path, body: str) -> Path:
    folder = protos / "agent_executor" / "api" / "sample" / "v1"
    folder.mkdir(parents=True)
    text = f'syntax = "proto3";\npackage agent_executor.api.sample.v1;\n{body}\n'
    (folder / "sample.proto").write_text(text)
    return protos


def test_the_contracts_keep_bufs_rules(tmp_path: Path) -> None:
    assert lint(write_image(tmp_path / "image.binpb", PROTOS))


@pytest.mark.parametrize(
    "body",
    [
        "message Sample {}",
        "// A sample.\nmessage sample {}",
        "// A sample.\nenum Sample { A = 0; }",
    ],
)
def test_a_breach_of_bufs_rules_is_found(tmp_path: Path, body: str) -> None:
    protos = write_contract(tmp_path / "protos", body)
    assert not lint(write_image(tmp_path / "image.binpb", protos))


@pytest.mark.parametrize(
    ("field", "compatible"),
    [
        ("string name = 1; int32 count = 2;", True),
        ("int32 name = 1;", False),
        ("string title = 1;", False),
        ("", False),
    ],
)
def test_a_change_that_breaks_clients_is_found(
    tmp_path: Path, field: str, compatible: bool
) -> None:
    old = write_contract(tmp_path / "old", "message Sample { string name = 1; }")
    new = write_contract(tmp_path / "new", f"message Sample {{ {field} }}")
    image = write_image(tmp_path / "new.binpb", new)
    assert breaking(image, write_image(tmp_path / "old.binpb", old)) is compatible
