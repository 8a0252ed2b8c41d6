"""A peer in a process of its own, under uvloop, made to be killed; it tells what it has served."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from tests.integration.serving.multiplex_peer import RunningPeer


async def serve(port: int, *, hangs: bool) -> None:
    running = RunningPeer()
    running.port = port
    await running.start()
    if not hangs:
        running.peer.release.set()
    print("ready", flush=True)  # noqa: T201 -- read by the test
    told = 0
    while True:
        await asyncio.sleep(0.01)
        for reservation_id in running.peer.begun[told:]:
            print(reservation_id, flush=True)  # noqa: T201 -- as above
        told = len(running.peer.begun)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), hangs=sys.argv[2] == "hangs"))
