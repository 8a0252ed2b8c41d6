"""What happens in a run, as the messages of progress notifications."""

from __future__ import annotations

from agent_executor.api.executor.v1 import run_service_pb2
from agent_executor.web.run_wording_convert import happening_to_sentence


def update_to_message(update: run_service_pb2.RunUpdate) -> str | None:
    """Returns what a client is told, in words, or None if it is told nothing.

    Text of the answer is told as it is, piece by piece.
    """
    match update.WhichOneof("update"):
        case "run_started":
            return f"The run {update.run_id} has begun."
        case "text_delta" if not update.text_delta.is_thinking:
            return update.text_delta.text
        case _:
            return happening_to_sentence(update)
