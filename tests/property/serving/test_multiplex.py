"""However calls, cancellations and lost streams interleave: one right answer for each call."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.api.ledger.v1 import usage_service_pb2
from agent_executor.errors import BudgetExceededError
from agent_executor.serving import multiplex_client
from agent_executor.serving.multiplex_client import MultiplexedStream, StreamCall
from agent_executor.serving.multiplex_server import MultiplexedServer
from tests.integration.serving.multiplex_peer import GRANT, Peer, make_pipeline, make_request, until

TIMEOUT_SECONDS = 60.0


class Loopback:
    """A stream to a server in the same process, which a test can break.

    Attributes:
        calls: How often each call was sent on it, by its id.
        cancellations: How many calls were cancelled on it.
    """

    def __init__(self, server: MultiplexedServer) -> None:
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self._responses: asyncio.Queue[Any] = asyncio.Queue()
        self.calls: Counter[int] = Counter()
        self.cancellations = 0
        self._serving = asyncio.create_task(self._serve(server))

    async def _serve(self, server: MultiplexedServer) -> None:
        async def requests() -> AsyncIterator[Any]:
            while True:
                yield await self._requests.get()

        async with contextlib.aclosing(server.serve(requests())) as responses:
            async for response in responses:
                self._responses.put_nowait(response)

    async def wait_for_connection(self) -> None:
        await asyncio.sleep(0)

    async def write(self, request: Any) -> None:
        # Long enough for other things to happen meanwhile.
        for _ in range(4):
            await asyncio.sleep(0)
        for frame in request.frames:
            if frame.HasField("cancel"):
                self.cancellations += 1
            else:
                self.calls[frame.header.id] += 1
        # As over a wire: what is sent is a copy.
        self._requests.put_nowait(type(request).FromString(request.SerializeToString()))

    async def read(self) -> Any:
        response = await self._responses.get()
        if response is None:
            metadata = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, metadata, metadata)
        return response

    def break_off(self) -> None:
        """Lose the stream, and with it all that is under way."""
        while not self._responses.empty():
            self._responses.get_nowait()
        self._responses.put_nowait(None)
        self._serving.cancel()

    def cancel(self) -> None:
        self._serving.cancel()


@dataclass(frozen=True)
class Call:
    """Makes a call; its behaviour is that of ``Peer``."""

    behaviour: Literal["call", "hang", "refuse"]


@dataclass(frozen=True)
class Cancel:
    """Cancels one of the calls made so far."""

    which: int


@dataclass(frozen=True)
class Pause:
    """Lets the event loop turn."""

    turns: int


Step: TypeAlias = Call | Cancel | Pause | Literal["break", "release"]

STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.builds(Call, behaviour=st.sampled_from(["call", "hang", "refuse"])),
        st.builds(Call, behaviour=st.sampled_from(["call", "hang", "refuse"])),
        st.builds(Cancel, which=st.integers(0, 100)),
        st.builds(Pause, turns=st.integers(1, 20)),
        st.sampled_from(["break", "release"]),
    ),
    max_size=40,
)


class Run:
    """Carries out the steps and holds what came of them."""

    def __init__(self) -> None:
        self.peer = Peer(make_pipeline())
        self.loopbacks: list[Loopback] = []
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.cancelled: set[str] = set()
        self.stream = MultiplexedStream(
            self._open, usage_service_pb2.StreamUsageRequest, name="ledger"
        )

    def _open(self) -> StreamCall:
        self.loopbacks.append(Loopback(self.peer.multiplexed))
        return cast(StreamCall, self.loopbacks[-1])

    async def do(self, step: Step) -> None:
        match step:
            case Call(behaviour):
                reservation_id = f"{behaviour}-{len(self.tasks)}"
                self.tasks[reservation_id] = asyncio.create_task(
                    self.stream.call(
                        "reserve",
                        make_request(reservation_id),
                        timeout_seconds=TIMEOUT_SECONDS,
                        grant=GRANT,
                    )
                )
            case Cancel(which) if self.tasks:
                reservation_id = list(self.tasks)[which % len(self.tasks)]
                if self.tasks[reservation_id].cancel():
                    self.cancelled.add(reservation_id)
            case Pause(turns):
                for _ in range(turns):
                    await asyncio.sleep(0)
            case "break" if self.loopbacks:
                self.loopbacks[-1].break_off()
            case "release":
                self.peer.release.set()

    async def finish(self) -> dict[str, Any]:
        self.peer.release.set()
        outcomes = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert not self.stream._pending
        await self.stream.close()
        await until(lambda: not self.peer.multiplexed.streams)
        return dict(zip(self.tasks, outcomes, strict=True))


@given(STEPS)
def test_every_call_gets_its_one_right_answer(steps: list[Step]) -> None:
    async def main() -> None:
        run = Run()
        for step in steps:
            await run.do(step)
        for reservation_id, outcome in (await run.finish()).items():
            if isinstance(outcome, asyncio.CancelledError):
                assert reservation_id in run.cancelled
            elif reservation_id.startswith("refuse"):
                assert isinstance(outcome, BudgetExceededError)
            else:
                assert outcome.id == reservation_id
        for loopback in run.loopbacks:
            assert set(loopback.calls.values()) <= {1}
            assert loopback.cancellations <= len(run.cancelled)
        begun = Counter(run.peer.begun)
        assert max(begun.values(), default=0) <= len(run.loopbacks)
        assert run.tasks.keys() - run.cancelled <= begun.keys()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiplex_client, "RECONNECT_SECONDS_MIN", 0.0)
        patch.setattr(multiplex_client, "RECONNECT_SECONDS_MAX", 0.001)
        asyncio.run(main())
