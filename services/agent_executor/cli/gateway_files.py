"""Where the gateway's files are: in a checkout and in an installed package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GatewayFiles:
    """The files that every gateway is made of.

    Attributes:
        template: Envoy's configuration with the renderer's notations.
        error_shape: The Lua filter that gives errors their REST shape.
        server_sent_events: The Lua filter that completes the events of streams.
        request_fields: The Lua filter that refuses unknown fields of requests.
        descriptor: The contracts as a serialized FileDescriptorSet.
        openapi: The REST surface as an OpenAPI document.
    """

    template: Path
    error_shape: Path
    server_sent_events: Path
    request_fields: Path
    descriptor: Path
    openapi: Path


def gateway_files() -> GatewayFiles:
    """Finds the gateway's files.

    Raises:
        FileNotFoundError: If the installation is incomplete.
    """
    package = Path(__file__).resolve().parents[1]
    folders = (package / "gateway", package.parents[1] / "gateway")
    for folder in folders:
        if (folder / "envoy.yaml").is_file():
            return GatewayFiles(
                template=folder / "envoy.yaml",
                error_shape=folder / "error_shape.lua",
                server_sent_events=folder / "server_sent_events.lua",
                request_fields=folder / "request_fields.lua",
                descriptor=folder / "descriptor.binpb",
                openapi=folder / "openapi.json",
            )
    msg = f"no envoy.yaml in {' or '.join(str(folder) for folder in folders)}"
    raise FileNotFoundError(msg)
