"""The Message Batches API over mock Claude: batches that take a settable time."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from agent_executor.executor.models.mock_http.answer import message
from agent_executor.executor.models.mock_http.api_error import (
    MESSAGES,
    ApiError,
    fault_error,
    invalid_request,
)
from agent_executor.executor.models.mock_http.calls import Calls
from agent_executor.executor.models.mock_http.faults import FAULT_HEADER, Fault, FaultPlan
from agent_executor.executor.models.mock_http.request import read_request
from agent_executor.executor.models.mock_http.server import Exchange
from agent_executor.executor.models.mock_http.wire_format import ReceivedRequest
from agent_executor.executor.models.model import ModelResponse

BATCHES: Final = "/v1/messages/batches"
REQUESTS_MAX: Final = 100_000
LIFETIME_SECONDS: Final = 86_400
_PAGE_SIZE: Final = 20
_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NEVER_BEGUN: Final = (Fault.HANG, Fault.STALL, Fault.NO_ANSWER, Fault.CUT)


@dataclass
class _Batch:
    """A batch. Its results are made when it is first looked at after its time."""

    id: str
    requests: dict[str, dict[str, Any]]
    created_at: float
    ends_at: float
    results: list[dict[str, Any]] = field(default_factory=list)
    ended_at: float | None = None
    cancelled_at: float | None = None


class MockBatches:
    """Answers the requests of the Message Batches API.

    A fault of the call that makes a batch is one of a message's: ``cut`` and ``stall`` come once it is
    made. A fault of a request in it lets that be ``errored``, or ``expired`` where a call would get no
    whole answer.

    Args:
        answer: Gives the model's answer.
        faults: What goes wrong.
        calls: Counts what is billed.

    Attributes:
        batch_seconds: How long a batch takes.
    """

    def __init__(
        self,
        answer: Callable[[ReceivedRequest, Fault | None], Awaitable[ModelResponse]],
        faults: FaultPlan,
        calls: Calls,
        batch_seconds: float = 0.0,
    ) -> None:
        self._answer = answer
        self._faults = faults
        self._calls = calls
        self._numbers = itertools.count(1)
        self._batches: dict[str, _Batch] = {}
        self._ending = asyncio.Lock()
        self.batch_seconds = batch_seconds

    def end_all(self) -> None:
        """Lets every batch end that has not."""
        for batch in self._batches.values():
            batch.ends_at = 0.0

    async def handle(self, exchange: Exchange, headers: dict[str, str]) -> None:
        """Answers one request.

        Raises:
            ApiError: The API would refuse it.
        """
        batch_id, _, action = exchange.path.removeprefix(BATCHES).lstrip("/").partition("/")
        if not batch_id:
            match exchange.method:
                case "POST":
                    await self._create(exchange, headers)
                case _:
                    await exchange.answer(200, await self._listed(exchange.query), headers)
            return
        batch = self._batches.get(batch_id)
        if batch is None:
            raise ApiError(404, "not_found_error", f"batch: {batch_id}")
        await self._end_if_due(batch)
        match exchange.method, action:
            case "GET", "":
                await exchange.answer(200, _shown(batch, exchange), headers)
            case "GET", "results":
                if batch.ended_at is None:
                    raise ApiError(404, "not_found_error", "The batch has no results yet")
                await exchange.answer_lines(batch.results, headers)
            case "POST", "cancel":
                if batch.ended_at is None and batch.cancelled_at is None:
                    batch.cancelled_at = batch.ends_at = time.time()
                await exchange.answer(200, _shown(batch, exchange), headers)
            case _:
                raise ApiError(404, "not_found_error", "Not found")

    async def _create(self, exchange: Exchange, headers: dict[str, str]) -> None:
        fault = self._faults.next_fault(exchange.headers.get(FAULT_HEADER, ""))
        if fault is not None and fault in MESSAGES:
            raise fault_error(fault, self._faults.retry_after_seconds)
        if fault is Fault.HANG:
            await asyncio.Event().wait()
        if fault is Fault.NO_ANSWER:
            exchange.abort()
            return
        now = time.time()
        batch = _Batch(
            f"msgbatch_{next(self._numbers):024d}",
            _read_requests(exchange.body),
            now,
            now + self.batch_seconds,
        )
        self._batches[batch.id] = batch
        self._calls.batches += 1
        if fault is Fault.STALL:
            await asyncio.Event().wait()
        if fault is Fault.CUT:
            exchange.abort()
            return
        await exchange.answer(200, _shown(batch, exchange), headers)

    async def _listed(self, query: str) -> dict[str, Any]:
        asked = parse_qs(query)
        limit = int(asked.get("limit", [str(_PAGE_SIZE)])[0])
        batches = list(reversed(self._batches.values()))
        if after := asked.get("after_id"):
            batches = batches[[batch.id for batch in batches].index(after[0]) + 1 :]
        page = batches[:limit]
        for batch in page:
            await self._end_if_due(batch)
        return {
            "data": [_shown(batch) for batch in page],
            "has_more": len(batches) > limit,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }

    async def _end_if_due(self, batch: _Batch) -> None:
        async with self._ending:
            if batch.ended_at is None and time.time() >= batch.ends_at:
                batch.results = [
                    {"custom_id": custom_id, "result": await self._result(batch, params)}
                    for custom_id, params in batch.requests.items()
                ]
                batch.ended_at = time.time()

    async def _result(self, batch: _Batch, params: dict[str, Any]) -> dict[str, Any]:
        if batch.cancelled_at is not None:
            return {"type": "canceled"}
        fault = self._faults.next_fault("")
        if fault in _NEVER_BEGUN:
            return {"type": "expired"}
        try:
            if fault is not None and fault in MESSAGES:
                raise fault_error(fault, 0.0)
            response = await self._answer(read_request(msgspec.json.encode(params)), fault)
        except ApiError as error:
            reported = {"type": error.error_type, "message": error.message}
            return {"type": "errored", "error": {"type": "error", "error": reported}}
        self._calls.bill(response.model, response.usage)
        answered = message(response)
        answered["usage"]["service_tier"] = "batch"
        return {"type": "succeeded", "message": answered}


def _read_requests(body: bytes) -> dict[str, dict[str, Any]]:
    try:
        requests = msgspec.json.decode(body)["requests"]
        found = {str(one["custom_id"]): dict(one["params"]) for one in requests}
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise invalid_request("requests: Field required") from None
    if not 0 < len(requests) <= REQUESTS_MAX:
        raise invalid_request(f"requests: 1 to {REQUESTS_MAX} are allowed")
    if len(found) != len(requests):
        raise invalid_request("requests: custom_id must be unique")
    if not all(map(_CUSTOM_ID.fullmatch, found)):
        raise invalid_request(f"requests: custom_id must match {_CUSTOM_ID.pattern}")
    return found


def _shown(batch: _Batch, exchange: Exchange | None = None) -> dict[str, Any]:
    kinds = [result["result"]["type"] for result in batch.results]
    counts = {kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
    status = "in_progress" if batch.cancelled_at is None else "canceling"
    host = exchange.headers.get("host", "") if exchange is not None else ""
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status if batch.ended_at is None else "ended",
        "request_counts": {"processing": len(batch.requests) - len(kinds), **counts},
        "created_at": _time(batch.created_at),
        "expires_at": _time(batch.created_at + LIFETIME_SECONDS),
        "ended_at": _time(batch.ended_at),
        "cancel_initiated_at": _time(batch.cancelled_at),
        "archived_at": None,
        "results_url": f"http://{host}{BATCHES}/{batch.id}/results" if batch.ended_at else None,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
