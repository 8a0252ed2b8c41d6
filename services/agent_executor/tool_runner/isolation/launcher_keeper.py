"""Keeps one launcher running: it starts it, tests it, and replaces it when it is dead or used up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, cast

from agent_executor.tool_runner.isolation import canaries
from agent_executor.tool_runner.isolation.landlock import landlock_abi
from agent_executor.tool_runner.isolation.launcher_messages import UnfitError
from agent_executor.tool_runner.isolation.launcher_process import (
    LauncherDiedError,
    LauncherProcess,
)
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.status import SandboxStatus, Tier, WantedTier

_LOGGER: Final = logging.getLogger(__name__)

# A launcher that is not ready by then never will be.
_START_SECONDS_MAX: Final = 20.0
_BACKOFF_SECONDS_MIN: Final = 0.05
_BACKOFF_SECONDS_MAX: Final = 5.0
# So many failed starts in a row are taken for the host's fault.
_FAILURES_MAX: Final = 5


class LauncherKeeper:
    """One place for a launcher.

    Attributes:
        verdict: Whether the host is fit for it, as was found last.
        launcher: The one to ask for workers, if there is one.
    """

    def __init__(
        self,
        limits: SandboxLimits,
        tier: WantedTier,
        spawn: Callable[[str], LauncherProcess],
        *,
        on_verdict: Callable[[], None],
        on_replaced: Callable[[LauncherProcess], None],
    ) -> None:
        """See the class.

        Args:
            limits: Of the launcher's workers.
            tier: The tier to use.
            spawn: Starts a launcher with a tier.
            on_verdict: Called after ``verdict`` or ``launcher`` has changed.
            on_replaced: Called with a launcher that is not to be used any more.
        """
        self._limits = limits
        self._tier: str = tier
        self._spawn = spawn
        self._on_verdict = on_verdict
        self._on_replaced = on_replaced
        self._alive: set[LauncherProcess] = set()
        self._used_up = asyncio.Event()
        self._judged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.verdict = SandboxStatus(available=False, tier="none")
        self.launcher: LauncherProcess | None = None

    async def start(self) -> None:
        """Begins, and waits until the host is found fit or not."""
        self.begin()
        await self._judged.wait()

    def begin(self) -> None:
        """Begins to keep a launcher, unless it is at it."""
        if self._task is None or self._task.done():
            self._judged.clear()
            self._task = asyncio.create_task(self._keep())
            self._task.add_done_callback(self._on_kept)

    async def close(self) -> None:
        """Ends the launcher, its workers, and the keeping."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        # The task may have been cancelled while it was at it.
        await self._end_launchers()

    async def check(self) -> None:
        """Attacks the launcher's workers again, or looks again whether the host is fit."""
        launcher = self.launcher
        if launcher is None:
            await self.start()
            return
        try:
            missing = await canaries.attack(launcher, self._limits)
        except LauncherDiedError:
            # Whatever is started in its place is tested before anything else.
            return
        if missing:
            self._judge_unfit(missing, canaries.REMEDY)
        else:
            self._judge_fit(*launcher.started.result())

    def note_use(self) -> None:
        """Has the launcher replaced if it has forked as many workers as it may."""
        if self.launcher is not None and self.launcher.forked >= self._limits.calls_per_launcher:
            self._used_up.set()

    async def _keep(self) -> None:
        failures = 0
        try:
            while True:
                try:
                    launcher = await self._start_launcher()
                except (LauncherDiedError, TimeoutError) as error:
                    _LOGGER.warning("A launcher of the sandbox did not start: %s", error)
                else:
                    failures = 0
                    await self._until_gone_or_used_up(launcher)
                    continue
                failures += 1
                if failures >= _FAILURES_MAX:
                    self._judge_unfit(
                        ("a launcher that survives its start",),
                        "Give the tool-runner more memory, and look for what kills its processes.",
                    )
                backoff_seconds = _BACKOFF_SECONDS_MIN * 2**failures
                await asyncio.sleep(min(backoff_seconds, _BACKOFF_SECONDS_MAX))
        except UnfitError as error:
            self._judge_unfit(error.missing, error.remedy)
        finally:
            await self._end_launchers()

    async def _end_launchers(self) -> None:
        self.launcher = None
        ends = [launcher.ended for launcher in self._alive]
        for launcher in tuple(self._alive):
            launcher.kill()
        if ends:
            await asyncio.wait(ends)

    def _on_kept(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _LOGGER.error("A launcher of the sandbox is not kept any more.", exc_info=error)
            self._judge_unfit(("a launcher",), "Look into the log of the tool-runner.")

    async def _start_launcher(self) -> LauncherProcess:
        """Returns a launcher that has passed its test, and is in use.

        Raises:
            UnfitError: The host is unfit.
            LauncherDiedError: It died.
            TimeoutError: It took too long.
        """
        launcher = self._new(self._tier)
        try:
            async with asyncio.timeout(_START_SECONDS_MAX):
                try:
                    tier, abi = await launcher.started
                except UnfitError as error:
                    if not error.next_tier:
                        raise
                    launcher = self._new(error.next_tier)
                    tier, abi = await self._started_after(error, launcher)
                missing = await canaries.attack(launcher, self._limits)
        except (LauncherDiedError, TimeoutError):
            launcher.kill()
            raise
        if missing:
            raise UnfitError(missing, canaries.REMEDY)
        # A restart must not end up in a lesser tier than before.
        self._tier = tier
        previous, self.launcher = self.launcher, launcher
        self._used_up.clear()
        self._judge_fit(tier, abi)
        if previous is not None:
            self._on_replaced(previous)
            previous.retire()
        return launcher

    async def _started_after(self, first: UnfitError, launcher: LauncherProcess) -> tuple[str, int]:
        """Waits for a launcher of the next tier; if the host is unfit for that too, says both."""
        try:
            return await launcher.started
        except UnfitError as second:
            raise UnfitError(
                (*first.missing, *second.missing), f"{first.remedy} Or: {second.remedy}"
            ) from None

    async def _until_gone_or_used_up(self, launcher: LauncherProcess) -> None:
        used_up = asyncio.create_task(self._used_up.wait())
        try:
            await asyncio.wait((used_up, launcher.ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            used_up.cancel()
        if launcher.ended.done():
            self.launcher = None

    def _new(self, tier: str) -> LauncherProcess:
        launcher = self._spawn(tier)
        self._alive.add(launcher)
        launcher.ended.add_done_callback(lambda _: self._alive.discard(launcher))
        return launcher

    def _judge_fit(self, tier: str, abi: int) -> None:
        self._judge(
            SandboxStatus(
                available=True,
                tier=cast("Tier", tier),
                landlock_abi=abi,
                checked_at_ms=_now_ms(),
            )
        )

    def _judge_unfit(self, missing: tuple[str, ...], remedy: str) -> None:
        self._judge(
            SandboxStatus(
                available=False,
                tier="none",
                landlock_abi=landlock_abi(),
                missing=missing,
                remedy=remedy,
                checked_at_ms=_now_ms(),
            )
        )

    def _judge(self, verdict: SandboxStatus) -> None:
        self.verdict = verdict
        self._judged.set()
        self._on_verdict()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
