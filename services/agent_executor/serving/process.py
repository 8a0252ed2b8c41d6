"""A Python process of the platform, whatever it serves: its start, its signals and its exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import uvloop

from agent_executor.serving.logs import configure_logs
from agent_executor.serving.settings import ProcessSettings
from agent_executor.serving.startup import StartupError
from agent_executor.serving.telemetry import Telemetry

SettingsT = TypeVar("SettingsT", bound=ProcessSettings)

FAILED_EXIT_CODE: Final = 1
FLUSH_TIMEOUT_SECONDS: Final = 5.0

# New objects that no reference count has freed; Python's default is 700.
COLLECTED_AFTER_OBJECTS: Final = 20_000

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_STOPPED_BY_SIGNAL_EXIT_CODE: Final = 128

_LOGGER = logging.getLogger(__name__)


def run_process(
    name: str,
    load_settings: Callable[[], SettingsT],
    serve: Callable[[SettingsT], Coroutine[Any, Any, None]],
) -> int:
    """Runs a process until it has served.

    Args:
        name: The name that logs know it by.
        load_settings: Reads its settings, as ``ProcessSettings.load`` does.
        serve: Serves until the process is told to stop.

    Returns:
        The exit code: 0 after an orderly stop, 1 if the process cannot start or breaks.
    """
    try:
        settings = load_settings()
        configure_logs(name, settings)
        uvloop.run(serve(settings))
    except StartupError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 -- a sentence for the operator
        return FAILED_EXIT_CODE
    except Exception:
        # Logged, so that secrets in its text are hidden as in every other line.
        _LOGGER.critical("the service broke", exc_info=True)
        return FAILED_EXIT_CODE
    return 0


def stop_on_signals() -> asyncio.Event:
    """Returns an event that the first SIGTERM or SIGINT sets; the second ends the process."""
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(_STOPPED_BY_SIGNAL_EXIT_CODE + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    return stop


def spare_the_collector() -> None:
    """Keeps Python's cycle collector from looking at what the process was built of, again and again.

    That is some hundred thousand objects, at which it would look for a tenth of a second while no
    call is served. What calls make is mostly freed without it, so it need not look often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER_OBJECTS)


async def flush(telemetry: Telemetry) -> None:
    """Sends the spans that still wait, but does not wait for a collector that is away."""
    flushing = threading.Thread(target=telemetry.shutdown, name="telemetry-flush", daemon=True)
    flushing.start()
    await asyncio.to_thread(flushing.join, FLUSH_TIMEOUT_SECONDS)
