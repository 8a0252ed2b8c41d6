"""The methods of the descriptor set that the gateway serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

FILE = Path(__file__).parents[3] / "gateway" / "descriptor.binpb"


def methods_of_the_gateway() -> dict[str, MethodDescriptor]:
    """Returns every method, as `AgentService/GetAgent`."""
    pool = descriptor_pool.DescriptorPool()
    image = descriptor_pb2.FileDescriptorSet.FromString(FILE.read_bytes())
    for file in image.file:
        pool.Add(file)
    return {
        f"{service.name}/{method.name}": method
        for file in image.file
        for service in pool.FindFileByName(file.name).services_by_name.values()
        for method in service.methods
    }


def rule_of(method: MethodDescriptor) -> Any:
    """Returns its route over REST."""
    options = descriptor_pb2.MethodOptions.FromString(method.GetOptions().SerializeToString())
    extensions: Any = options.Extensions
    return extensions[annotations_pb2.http]


def reads_only(method: MethodDescriptor) -> bool:
    """Tells whether it is a GET."""
    return bool(rule_of(method).get)
