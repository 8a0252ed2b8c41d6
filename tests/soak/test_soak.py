"""The platform at a steady rate for a long time: it does not grow, and nothing fails.

    make test PYTEST_ARGS='tests/soak --full --numprocesses 0 -s'

takes 20 minutes and prints what it measured. Without `--full` it takes seconds, and only looks
whether everything that the long one does can be done.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.platforms import PROCESSES, RunningPlatform, running_platform, until
from tests.soak.processes import Sample, sample, slope_mib_per_hour
from tests.soak.workload import Work, Workload

CALLERS = 16
# What the machine's memory tells is read so often.
SAMPLE_SECONDS = 5.0
FULL_SECONDS, CI_SECONDS = 20 * 60.0, 5.0
WORK_PER_SECOND = 12.0
# Caches of databases and of connections fill first, which takes some ten thousand pieces of work; only
# then does memory tell of something that grows for ever.
WARM_UP_SECONDS, WARM_UP_PER_SECOND = 240.0, 60.0
# Of all processes together, noise included. A leak of 100 bytes with each piece of work would be 4.
MAX_GROWTH_MIB_PER_HOUR = 12.0


@dataclass
class Soak:
    """What has happened so far."""

    kinds: Sequence[Work]
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, work: Work) -> None:
        """Does one piece of work and counts it."""
        try:
            work.do()
        except Exception as error:  # noqa: BLE001  # whatever fails is what is looked for
            with self.lock:
                self.failures.append(f"{work.name}: {error!r:.500}")
            return
        with self.lock:
            self.done[work.name] += 1


def soaked(
    platform: RunningPlatform,
    seconds: float,
    say: Callable[[str], None],
    work_per_second: float = WORK_PER_SECOND,
) -> Soak:
    """Works at a steady rate for so long, and looks at the processes meanwhile."""
    workload = Workload(platform.client(platform.token(ttl_seconds=86_400)))
    soak, chance = Soak(workload.kinds), random.Random(7)
    started, next_sample, number = time.monotonic(), 0.0, 0
    with ThreadPoolExecutor(CALLERS) as callers:
        while (now := time.monotonic() - started) < seconds:
            if now >= next_sample:
                next_sample += SAMPLE_SECONDS
                soak.samples.append(sample(platform, now))
                if len(soak.samples) % 12 == 0:
                    say(line(soak))
            callers.submit(soak.work, workload.chosen(chance))
            number += 1
            # The rate is what is tried, not what is measured: nothing waits for a result.
            time.sleep(max(0.0, number / work_per_second - (time.monotonic() - started)))
    return soak


def line(soak: Soak) -> str:
    """Returns how far it is, for whoever waits."""
    last = soak.samples[-1]
    sizes = " ".join(f"{name} {size:.0f}" for name, size in sorted(last.memory_mib.items()))
    return (
        f"{last.at_seconds:6.0f} s: {sum(soak.done.values())} done, {len(soak.failures)} failed; "
        f"MiB {sizes}; descriptors {sum(last.descriptors.values())}, processes {last.processes}"
    )


def report(soak: Soak) -> dict[str, float]:
    """Returns the growth of each process in MiB an hour."""
    return {name: slope_mib_per_hour(soak.samples, name) for name in soak.samples[0].memory_mib}


@pytest.mark.timeout(FULL_SECONDS * 2)
def test_a_platform_at_a_steady_rate_does_not_grow(
    *, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(text: str) -> None:
        if full:
            with capsys.disabled():
                print(text, flush=True)

    with running_platform() as platform:
        if full:
            warm_up = soaked(platform, WARM_UP_SECONDS, say, WARM_UP_PER_SECOND)
            assert not warm_up.failures, (len(warm_up.failures), warm_up.failures[:5])
            say("warm")
        before = sample(platform, 0)
        soak = soaked(platform, FULL_SECONDS if full else CI_SECONDS, say)
        say(line(soak))
        assert not soak.failures, (len(soak.failures), soak.failures[:5])
        # Nobody calls any more, so that only what was left behind is there beside what was before.
        until(
            lambda: sample(platform, 0).processes == before.processes,
            what=f"that there are {before.processes} processes again",
        )
        assert set(platform.pids()) == set(PROCESSES)
        if full:
            growth = report(soak)
            say("MiB an hour: " + ", ".join(f"{k} {v:+.1f}" for k, v in sorted(growth.items())))
            say(f"descriptors {before.descriptors} -> {sample(platform, 0).descriptors}")
            assert all(soak.done[work.name] for work in soak.kinds), soak.done
            assert sum(growth.values()) < MAX_GROWTH_MIB_PER_HOUR
