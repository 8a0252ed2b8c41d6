"""What a person sees of a run as it goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from agent_executor.cli.figures import usd

_SHOWN_CHARACTERS: Final = 200
_COMPLETED: Final = "completed"
# What steers a terminal, but for the line feed and the tab.
_CONTROLS: Final = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10})

Message = Mapping[str, Any]


class RunDisplay:
    """Shows updates of a streamed run, or events of its log: text, tool calls, what is waited for.

    Where a person looks, the answer is shown as it is written. Elsewhere it is printed once it is
    whole, so that a pipe gets the answer and nothing else; all else goes to the notes.

    Args:
        answer: Where the answer goes.
        notes: Where all else goes.

    Attributes:
        run_id: The run; empty before the first message.
        last_sequence: Where to resume.
        is_ended: Whether the run has ended.
    """

    def __init__(self, answer: Console, notes: Console) -> None:
        self.run_id = ""
        self.last_sequence = 0
        self.is_ended = False
        self._answer = answer
        self._notes = notes
        self._told: Counter[str] = Counter()
        self._is_line_open = False
        self._shown: dict[str, Callable[[Message], None]] = {
            "run_started": self._started,
            "text_delta": self._text,
            "model_call_completed": self._answered,
            "model_call_failed": self._failed,
            "tool_call_started": self._tool_started,
            "tool_call_completed": self._tool_completed,
            "approval_requested": self._approval,
            "run_paused": lambda paused: self._note(f"paused: {paused['error']}", "yellow"),
            "run_continued": lambda _: self._note("goes on"),
            "run_resumed": lambda _: self._note("taken over by another executor", "yellow"),
        }

    def show(self, message: Message) -> None:
        """Shows an update or an event."""
        name = message["type"]
        self.run_id = message["run_id"]
        self.last_sequence = max(self.last_sequence, int(message["sequence"]))
        self.is_ended = self.is_ended or name in ("done", "run_finished")
        show = self._shown.get(name)
        if show is not None:
            show(message[name])

    def show_end(self, run: Message) -> bool:
        """Shows how a run has ended and what it cost, and returns whether it completed."""
        output, state = run["output"], run["state"]
        self._end_line()
        if not self._answer.is_terminal and output["response"]:
            self._answer.print(
                output["response"], markup=False, highlight=False, soft_wrap=True, emoji=False
            )
        if run.get("error"):
            self._note(str(run["error"]), "red")
        calls = len(output["tool_results"])
        self._note(
            f"{state} · {calls} tool call{'' if calls == 1 else 's'} · {run['tokens_used']} tokens · "
            f"{usd(int(run['cost_nano_usd']))} · run {self.run_id}",
            "green" if state == _COMPLETED else "red",
        )
        return bool(state == _COMPLETED)

    def note(self, text: str) -> None:
        """Tells something beside the run."""
        self._note(text)

    def _started(self, started: Message) -> None:
        self._note(f"run {self.run_id} · {started['model']}")

    def _text(self, delta: Message) -> None:
        self._told[delta["model_call_id"]] += 1
        if not self._answer.is_terminal or not delta["text"]:
            return
        style = "dim italic" if delta["is_thinking"] else ""
        self._answer.print(Text(_printable(delta["text"]), style), end="", soft_wrap=True)
        self._is_line_open = not delta["text"].endswith("\n")

    def _answered(self, answered: Message) -> None:
        """Shows an answer of the log, unless it was shown as it was written."""
        if self._told[answered["model_call_id"]]:
            return
        text = "".join(block["text"] for block in answered["content"] if block["type"] == "text")
        self._text({"text": text, "is_thinking": False, **answered})

    def _failed(self, failed: Message) -> None:
        what = (
            "The model call failed and is tried again"
            if failed["will_retry"]
            else "The model call failed"
        )
        self._note(f"{what}: {failed['error']}", "yellow")

    def _tool_started(self, call: Message) -> None:
        self._note(f"→ {call['tool_name']} {_short(call['arguments_json'])}", "cyan")

    def _tool_completed(self, completed: Message) -> None:
        result = completed["tool_result"]
        if result["success"]:
            self._note(f"✓ {result['tool_name']} {_short(json.dumps(result['result']))}", "green")
        else:
            self._note(f"✗ {result['tool_name']} {result['code']}: {result['error']}", "red")

    def _approval(self, request: Message) -> None:
        self._note(
            f"waits for a decision on {request['tool_name']} {_short(request['arguments_json'])}: "
            f"{request['reason']} (tool call {request['tool_call_id']}, "
            f"until {request['expires_at']})",
            "yellow",
        )

    def _note(self, text: str, style: str = "dim") -> None:
        self._end_line()
        self._notes.print(Text(_printable(text), style), soft_wrap=True)

    def _end_line(self) -> None:
        if self._is_line_open:
            self._answer.print()
        self._is_line_open = False


def _printable(text: str) -> str:
    return text.translate(_CONTROLS)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
