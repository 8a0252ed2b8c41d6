from __future__ import annotations

import subprocess
import sys

from agent_executor.tool_runner.isolation.launcher_process import _SOURCE_ROOT


def test_a_launcher_loads_the_standard_library_and_nothing_heavy() -> None:
    program = (
        "import sys; sys.path.append(sys.argv[1]); "
        "import agent_executor.tool_runner.isolation.launcher; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, _SOURCE_ROOT],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"asyncio", "logging", "socket", "ssl", "subprocess", "threading", "site"}
    others = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert others <= {
        "agent_executor",
        "__main__",
        "_frozen_importlib",
        "_frozen_importlib_external",
    }
    services = {name.split(".")[1] for name in loaded if name.startswith("agent_executor.")}
    assert services == {"errors", "tool_runner"}
