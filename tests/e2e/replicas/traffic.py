"""Callers that use the platform by REST, each in every way, while something happens to it."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from tests.e2e.agents_and_runs import FINAL_STATES
from tests.e2e.replicas.cluster import Organization
from tests.platforms import Answer, until

CALLERS = 4
SCRIPTS = ("post_it", "post_it,put_it,get_it", "", "put_it/post_it")
READS = ("/api/v1/agents", "/api/v1/tools", "/api/v1/budgets", "/api/v1/runs", "/docs")
PAUSE_SECONDS = 0.05
POLL_SECONDS = 0.05
# So long one thing may be tried again and again.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that did not succeed, and was made again; ``status`` is 0 where nothing came."""

    what: str
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class Done:
    """Something that a caller wanted and got: when it began and ended, since the epoch."""

    what: str
    began_at: float
    ended_at: float


@dataclass
class Traffic:
    """Callers that are busy while the context is entered.

    Each executes, streams, starts and polls runs, and reads from every service, in turn. What is
    refused is noted and made again under its idempotency key, as a careful client does it; a stream
    that ends early is read on from where it was.

    Attributes:
        organization: Who calls.
        names: What each run that was asked for is called, and its script.
        refusals: Requests that did not succeed.
        resumed: How many streams were read on.
        done: What was asked for and done.
    """

    organization: Organization
    callers: int = CALLERS
    names: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    resumed: int = 0
    done: list[Done] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(number,)) for number in range(self.callers)
        ]
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self.faults, self.faults

    def go_on(self, rounds: int = 1) -> None:
        """Waits until so much more is done as the callers do in so many rounds."""
        wanted = len(self.done) + rounds * self.callers
        until(lambda: len(self.done) >= wanted or self.faults, what="that the callers get on")

    def in_flight_at(self, instant: float) -> list[float]:
        """Returns how long, in seconds, what was under way at an instant took from then on."""
        return sorted(
            one.ended_at - instant for one in self.done if one.began_at <= instant < one.ended_at
        )

    def _call(self, caller: int) -> None:
        ways: list[Callable[[str], None]] = [self._execute, self._stream, self._run, self._read]
        for number in itertools.count():
            way = ways[(caller + number) % len(ways)]
            name = f"{self.organization.name}-{caller}-{number}"
            began_at = time.time()
            try:
                way(name)
            except BaseException as fault:
                self.faults.append(fault)
                raise
            self.done.append(Done(way.__name__.strip("_"), began_at, time.time()))
            if self._stop.wait(PAUSE_SECONDS):
                return

    def _execute(self, name: str) -> None:
        answer = self._surely(
            "execute", "POST", self._agent_path("execute"), self._input(name), name
        )
        assert answer.body["state"] == "completed", answer.body

    def _run(self, name: str) -> None:
        run = self._surely("start", "POST", self._agent_path("runs"), self._input(name), name).body
        path = f"/api/v1/runs/{run['id']}"
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while run["state"] not in FINAL_STATES:
            assert time.monotonic() < give_up_at, run
            time.sleep(POLL_SECONDS)
            run = self._surely("poll", "GET", path).body
        assert run["state"] == "completed", run

    def _stream(self, name: str) -> None:
        path = self._agent_path("execute/stream")
        run_id, sequence, last = "", 0, ""
        while not run_id:
            for update in self._updates("stream", "POST", path, self._input(name), name):
                run_id, last = update.get("run_id", ""), update["type"]
                sequence = max(sequence, update.get("sequence", 0))
        if last == "done":
            return
        self.resumed += 1
        while last != "run_finished":
            events = f"/api/v1/runs/{run_id}/events?after_sequence={sequence}"
            for event in self._updates("events", "GET", events):
                last = event["type"]
                if last != "error":
                    assert event["sequence"] == sequence + 1, event
                    sequence += 1

    def _read(self, name: str) -> None:
        del name
        for path in READS:
            self._surely("read", "GET", path)

    def _input(self, name: str) -> dict[str, Any]:
        script = self.names.setdefault(name, SCRIPTS[len(self.names) % len(SCRIPTS)])
        return {"input": f"{name} {script}".strip()}

    def _agent_path(self, way: str) -> str:
        return f"/api/v1/agents/{self.organization.agent_id}/{way}"

    def _surely(self, what: str, method: str, path: str, body: Any = None, key: str = "") -> Answer:
        headers = {"idempotency-key": key} if key else {}
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self.organization.client.call(method, path, body, headers=headers)
            except (OSError, http.client.HTTPException) as error:
                self._refused(f"{what} {key}", 0, repr(error), give_up_at)
                continue
            if answer.status == 200:
                return answer
            self._refused(what, answer.status, answer.content.decode()[:400], give_up_at)

    def _updates(self, what: str, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """Yields what a stream tells until it ends, in whatever way."""
        headers = {"idempotency-key": key} if key else {}
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        try:
            with self.organization.client._request(method, path, body, headers) as response:
                if response.status != 200:
                    text = response.read().decode()[:400]
                    self._refused(what, response.status, text, give_up_at)
                for line in response:
                    if line.startswith(b"data: "):
                        yield json.loads(line.removeprefix(b"data: "))
        except (OSError, http.client.HTTPException) as error:
            self._refused(f"{what} {key}", 0, repr(error), give_up_at)

    def _refused(self, what: str, status: int, detail: str, give_up_at: float) -> None:
        self.refusals.append(Refusal(what, status, detail))
        assert status in {0, 503}, (what, detail)
        assert time.monotonic() < give_up_at, detail
        time.sleep(PAUSE_SECONDS)
