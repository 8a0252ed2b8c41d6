"""`agent-executor gateway-config`: writes Envoy's configuration, for a gateway without `up`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError

from agent_executor.cli.gateway import rendered_configuration, write_configuration
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.gateway_tls import check_tls_files
from agent_executor.serving.startup import StartupError


def gateway_config(
    output: Annotated[
        Path | None,
        typer.Option(help="The file it goes to, readable by its owner only. Default: stdout."),
    ] = None,
) -> None:
    """Write the gateway's Envoy configuration; its settings are environment variables.

    It names files of this installation (the contracts, the filters), so Envoy must run where it was
    written, or see the same paths.

    For example:

        GATEWAY_HTTP_HOST=0.0.0.0 agent-executor gateway-config --output envoy.yaml

        envoy -c envoy.yaml
    """
    try:
        settings = GatewaySettings()
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            typer.echo(f"{name}: {problem['msg']}", err=True)
        raise typer.Exit(2) from None
    try:
        check_tls_files(settings)
        _write(settings, output)
    except StartupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


def _write(settings: GatewaySettings, output: Path | None) -> None:
    """Writes the configuration.

    Raises:
        StartupError: It needs files beside it, and goes to standard output.
    """
    if output is not None:
        write_configuration(output, settings)
    elif settings.services_tls_files or settings.tls_certificate_file:
        raise StartupError("With TLS, files go beside the configuration: name it by --output.")
    else:
        yaml.safe_dump(rendered_configuration(settings, Path()), sys.stdout, sort_keys=False)
