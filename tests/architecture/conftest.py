from __future__ import annotations

import re

import pytest
from google.protobuf import descriptor_pb2

from protos.compiler import compile_image
from protos.contracts import Contracts


@pytest.fixture(scope="session")
def image() -> descriptor_pb2.FileDescriptorSet:
    """The contracts as they are in the working tree, compiled."""
    return compile_image()


@pytest.fixture(scope="session")
def contracts(image: descriptor_pb2.FileDescriptorSet) -> Contracts:
    return Contracts(image)


@pytest.fixture(scope="session")
def reason_codes(contracts: Contracts) -> dict[str, str]:
    """The gRPC code of each error reason: the last word of the reason's comment."""
    reasons = contracts.enum("agent_executor.api.error.v1.ErrorReason")
    return {
        value.name.removeprefix("ERROR_REASON_"): re.findall(
            r"[A-Z_]+", contracts.comment(f"{reasons.full_name}.{value.name}")
        )[-1]
        for value in reasons.values
        if value.number != 0
    }
