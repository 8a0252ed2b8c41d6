"""What is generated and checked in is what the contracts give today."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pb2

from protos.compiler import ROOT
from protos.generate import changes, generate


def test_generated_files_are_up_to_date(tmp_path: Path) -> None:
    generate(tmp_path)
    assert changes(tmp_path) == [], "run `make generate`"


def test_an_outdated_file_and_a_stale_one_would_be_found(tmp_path: Path) -> None:
    generate(tmp_path)
    (tmp_path / "gateway" / "openapi.json").write_text("{}")
    stale = next((tmp_path / "services" / "agent_executor" / "api").rglob("*_pb2.py"))
    stale.unlink()
    assert changes(tmp_path) == ["gateway/openapi.json", stale.relative_to(tmp_path).as_posix()]


def test_the_descriptor_holds_what_envoy_needs_and_no_comments() -> None:
    descriptor = descriptor_pb2.FileDescriptorSet.FromString(
        (ROOT / "gateway" / "descriptor.binpb").read_bytes()
    )
    names = {file.name for file in descriptor.file}
    # The details of an error can be transcoded only if their types are here.
    assert {"google/rpc/error_details.proto", "agent_executor/api/error/v1/error.proto"} <= names
    assert {name for file in descriptor.file for name in file.dependency} <= names
    assert not any(file.HasField("source_code_info") for file in descriptor.file)
