"""Between batches of inputs and their contract. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from agent_executor.api.executor.v1 import run_service_pb2
from agent_executor.executor.convert import execution_to_proto
from agent_executor.executor.runs.batches import BatchResult, StartedRun


def batch_to_proto(results: Sequence[BatchResult]) -> run_service_pb2.ExecuteAgentBatchResponse:
    """Returns what came of the inputs of a batch, and the sums."""
    states = [result.view.state for result in results if result.view is not None]
    return run_service_pb2.ExecuteAgentBatchResponse(
        results=[_result_to_proto(index, result) for index, result in enumerate(results)],
        completed_count=sum(state.state == "completed" for state in states),
        tokens_used=sum(state.tokens_used for state in states),
        cost_nano_usd=sum(state.cost_nano_usd for state in states),
    )


def started_to_proto(results: Sequence[StartedRun]) -> run_service_pb2.StartRunBatchResponse:
    """Returns the runs that were started for the inputs of a batch, and how many they are."""
    return run_service_pb2.StartRunBatchResponse(
        results=[
            run_service_pb2.StartedRun(
                index=index,
                run_id=result.run_id,
                error=result.error.message if result.error is not None else None,
                code=result.error.reason if result.error is not None else None,
            )
            for index, result in enumerate(results)
        ],
        started_count=sum(bool(result.run_id) for result in results),
    )


def _result_to_proto(index: int, result: BatchResult) -> run_service_pb2.BatchResult:
    error = result.error
    return run_service_pb2.BatchResult(
        index=index,
        execution=execution_to_proto(result.view) if result.view is not None else None,
        error=error.message if error is not None else None,
        code=error.reason if error is not None else None,
    )
