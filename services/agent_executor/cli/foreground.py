"""Runs a platform in the foreground of a terminal: progress, signals and the exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from rich.console import Console

from agent_executor.cli.environment import DOTENV_FILE, inherited_environment
from agent_executor.cli.platform import Platform, PlatformError, PlatformOptions
from agent_executor.cli.ports import PlatformPorts, PortError
from agent_executor.cli.progress import Progress
from agent_executor.cli.supervisor import CrashLoopError
from agent_executor.serving.startup import StartupError


def run_in_foreground(data_dir: Path, ports: PlatformPorts, *, tls: bool = False) -> int:
    """Runs a platform until a signal ends it.

    Args:
        data_dir: Where everything is kept.
        ports: The ports it uses.
        tls: Whether its processes talk to each other over mutual TLS.

    Returns:
        The command's exit code: 0 after a clean stop, 1 if the platform cannot run, and 128 plus
        the signal's number if it was killed.
    """
    console = Console(stderr=True)
    options = PlatformOptions(
        data_dir=data_dir,
        ports=ports,
        environment=inherited_environment(for_people=console.is_terminal),
        dotenv_file=DOTENV_FILE,
        tls=tls,
    )
    return asyncio.run(_run(options, console))


async def _run(options: PlatformOptions, console: Console) -> int:
    progress = Progress(console)
    try:
        platform = Platform(options, on_event=progress.on_event, on_waiting=progress.on_waiting)
        signals = _Signals(platform, progress)

        def on_ready() -> None:
            progress.ready()
            sys.stdout.write(f"ready {platform.url}\n")
            sys.stdout.flush()

        await platform.run(signals.stop, on_ready)
    except (CrashLoopError, PlatformError, PortError, StartupError, ValueError) as error:
        progress.close()
        console.print(
            f"agent-executor: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        return 1
    finally:
        progress.close()
    return signals.exit_code


class _Signals:
    """Turns the first signal into a request to stop and the second one into a kill.

    Attributes:
        stop: Is set by the first signal.
        exit_code: What the command exits with.
    """

    def __init__(self, platform: Platform, progress: Progress) -> None:
        self._platform = platform
        self._progress = progress
        self.stop = asyncio.Event()
        self.exit_code = 0
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signal_number, self._on_signal, signal_number)

    def _on_signal(self, signal_number: signal.Signals) -> None:
        if self.stop.is_set():
            self.exit_code = 128 + signal_number
            self._platform.kill()
        else:
            self.stop.set()
            self._progress.stopping()
