"""The platform keeps what its OpenAPI document says, whatever it is asked: schemathesis asks."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.platforms import Client, RunningPlatform, command_environment

COMMAND = Path(sysconfig.get_path("scripts")) / "schemathesis"

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "use_after_free",
    # Not `positive_data_acceptance`: no schema can say which page tokens were given out, or that an
    # end is after a start. Not `negative_data_rejection`: JSON is read as protobuf reads it, for
    # which null is no value and 1 may be written "1".
)

# QUERY is refused by Envoy with 400 before there is a route, unless it has a content type.
SETTINGS = """\
[phases.coverage]
unexpected-methods = ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"]
"""

# The whole of it takes minutes.
FULL_SECONDS_MAX = 3600


@pytest.mark.timeout(FULL_SECONDS_MAX + 60)
def test_every_answer_is_one_that_the_document_knows(
    platform: RunningPlatform, client: Client, tmp_path: Path, full: bool
) -> None:
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS, encoding="utf-8")
    size = (
        ("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "50")
        if full
        else ("--phases", "fuzzing", "--max-examples", "1")
    )
    done = subprocess.run(
        [
            *(COMMAND, "--config-file", settings, "run"),
            f"http://127.0.0.1:{platform.http_port}/openapi.json",
            *("--header", f"Authorization: Bearer {client.token}"),
            *("--checks", ",".join(CHECKS)),
            *("--request-timeout", "30", "--warnings", "off", "--continue-on-failure"),
            *size,
        ],
        cwd=tmp_path,
        env=command_environment(NO_COLOR="1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=FULL_SECONDS_MAX if full else 110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
