"""The OpenAPI document passes a public linter, and is valid."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.platforms import command_environment

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "gateway" / "openapi.json"
LINTER = ROOT / ".tools" / "node_modules" / ".bin" / "redocly"


def test_the_document_is_valid() -> None:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


@pytest.mark.skipif(not LINTER.exists(), reason="redocly is not installed; .ci/run does it by npm")
def test_a_public_linter_finds_nothing() -> None:
    done = subprocess.run(
        [LINTER, "lint", "--extends", "recommended", "--max-problems", "20", DOCUMENT],
        cwd=ROOT,
        env=command_environment(REDOCLY_TELEMETRY="off", REDOCLY_SUPPRESS_UPDATE_NOTICE="true"),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Not even a warning.
    assert "warning" not in (done.stdout + done.stderr).replace("Deprecation warning", "")
