"""Attacks: what a worker writes to the tool-runner out of turn. Both tiers stop all of them.

The worker's socket is the one way to the tool-runner's process, so anything may come from it. What
a tool writes there can be its own answer, and nothing else.
"""

from __future__ import annotations

import time

import pytest

from agent_executor import errors
from tests.security.sandbox.arena import LIMITS, Arena, attack

# Types of frames.
_RESULT, _ERROR, _HTTP_REQUEST, _DESCRIPTION = 2, 3, 4, 5

# Each writes to the tool-runner and then does what it can; its call must fail.
REFUSED = {
    "garbage": "os.write(3, os.urandom(4096))",
    "text": "os.write(3, b'GET / HTTP/1.1\\r\\n\\r\\n')",
    "zeros": "os.write(3, bytes(4096))",
    "a result of 4 GiB": "send(2, b'x' * 99, length=0xFFFF_FFFF)",
    "an error of 4 GiB": "send(3, b'x' * 99, length=0xFFFF_FFFF)",
    "a request of 4 GiB": "send(4, b'x' * 99, length=0xFFFF_FFFF)",
    "a result of one byte too many": "send(2, b'x', length=(1 << 20) + 1)",
    "a result without length": "send(2)",
    "an error without length": "send(3)",
    "a request without length": "send(4)",
    "that it is ready": "send(1)",
    "a description in place of a result": "send(5, b'{}')",
    "a call": "send(16, b'{}')",
    "an inspection": "send(17, b'{}')",
    "the answer to a request": "send(18, b'{}')",
    "type 0": "send(0)",
    "type 255": "send(255, b'{}')",
    "small frames without end": "[send(4, b'{}') for _ in range(10**6)]",
    "empty frames without end": "[send(1) for _ in range(10**6)]",
    "a header and its end": "os.write(3, b'\\0\\0'), os._exit(0)",
    "a part and its end": "send(2, b'[1, 2', length=9), os._exit(0)",
    "a request and its end": "send(4, request()), os._exit(0)",
    "a hang-up": "os.close(3)",
    "a hang-up and a loop": "os.close(3)\nwhile True: pass",
    "a hang-up of everything": "os.closerange(0, 99)\ntime.sleep(9)",
    "a request that is a list": "send(4, b'[]')",
    "a request with less": 'send(4, b\'{"method": "GET"}\')',
    "a request with more": "send(4, request(more=1))",
    "a request of an infinite time": "send(4, request(timeout=float('inf')))",
    "a request of no time": "send(4, request(timeout=float('nan')))",
    "a request of a negative time": "send(4, request(timeout=-1))",
    "a request of a true time": "send(4, request(timeout=True))",
    "a request with a list of headers": "send(4, request(headers=[['a', 'b']]))",
    "a request with a header of bytes": "send(4, request(headers={'a': [1]}))",
    "a request to a number": "send(4, request(url=1))",
    "a request by half a character": "send(4, request(url='\\ud800'))",
    "a deep request": "send(4, request(json=eval('[' * 80 + ']' * 80)))",
}


@pytest.mark.parametrize("name", REFUSED)
def test_writing(arena: Arena, name: str) -> None:
    arena.state()
    arena.failure(attack(f"{REFUSED[name]}\ntime.sleep(0.2)\nos._exit(0)"), timeout_seconds=5)
    assert len(arena.state()["requests_seen"]) <= 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("send(2, b'[1', length=99)", id="of a result"),
        pytest.param("os.write(3, bytes(3))", id="of a header"),
        pytest.param("send(4, b'{', length=1 << 20)", id="of a request"),
        pytest.param("while True: time.sleep(0.01) or os.write(3, b'\\0')", id="byte by byte"),
        pytest.param("[os.read(3, 1) for _ in range(99)]", id="of nothing, and reading"),
        pytest.param("signal.pthread_sigmask(0, range(1, 65))", id="with all signals blocked"),
    ],
)
def test_hanging_after_a_part(arena: Arena, body: str) -> None:
    # Of a frame of 1 MiB that comes byte by byte the deadline is the end.
    before = "send(2, b'', length=1 << 20)\n" if "sleep(0.01)" in body else ""
    began = time.monotonic()
    answer = arena.failure(attack(f"{before}{body}\ntime.sleep(60)"), timeout_seconds=0.5)
    assert answer["error"] == "DeadlineExceededError"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("before", "body"),
    [
        pytest.param("send(2, b'\"mine\"')\nos._exit(0)", "pass", id="when it is loaded"),
        pytest.param("", "send(2, b'\"mine\"')\nreturn 'late'", id="before it returns"),
        pytest.param("", "send(2, b'\"mine\"')\nsend(2, b'\"two\"')", id="twice"),
        pytest.param(
            "",
            "os.write(3, struct.pack('>IB', 6, 2) + b'\"mine\"' + b'\\xff' * 999)",
            id="and more",
        ),
        pytest.param(
            "",
            "send(2, b'\"mine\"')\nwhile True: send(4, request('after the result'))",
            id="and requests",
        ),
        pytest.param("", "send(2, b'\"mine\"')\nwhile True: pass", id="and going on"),
        pytest.param(
            "",
            "for byte in struct.pack('>IB', 6, 2) + b'\"mine\"': os.write(3, bytes([byte]))",
            id="byte by byte",
        ),
        pytest.param(
            "",
            "from agent_executor.tool_runner.isolation import frames, worker\n"
            "worker.answer_of = None\nframes.write_frame(3, 2, b'\"mine\"')\n"
            "frames.write_frame = None",
            id="with the worker's own modules",
        ),
        pytest.param(
            "",
            "from agent_executor.tool_runner.isolation import worker\n"
            "worker.ENCODER.encode = lambda _: '\"mine\"'\nreturn 'another'",
            id="by replacing the encoder",
        ),
    ],
)
def test_forging_its_own_result(arena: Arena, before: str, body: str) -> None:
    arena.state()
    assert arena.result(attack(body, before), timeout_seconds=5) == "mine"
    assert arena.state()["requests_seen"] == []
    # The worker that comes next is none the wiser.
    assert arena.result(attack("return 'another'")) == "another"


def test_requests_beyond_the_cap(arena: Arena) -> None:
    arena.state()
    body = """
    for _ in range(99):
        send(4, request())
        read_back = os.read(3, 1 << 16)
    """
    answer = arena.failure(attack(body))
    assert answer["metadata"]["limit"] == "http_requests"
    assert len(arena.state()["requests_seen"]) == LIMITS["http_requests"]


def test_requests_all_at_once(arena: Arena) -> None:
    arena.state()
    answer = arena.failure(attack("for _ in range(99): send(4, request())\nos._exit(0)"))
    assert answer["error"] in ("LimitExceededError", "ToolExecutionError")
    assert len(arena.state()["requests_seen"]) <= LIMITS["http_requests"]


def test_not_reading_large_answers(arena: Arena) -> None:
    arena.settle()
    before = arena.memory_kib()
    source = attack("for _ in range(5): send(4, request('large'))\ntime.sleep(60)")
    numbers = [arena.begin(source, timeout_seconds=0.7) for _ in range(8)]
    # Others are served meanwhile.
    arena.assert_well_behaved_call_works()
    for number in numbers:
        assert arena.finish(number)["error"] == "DeadlineExceededError"
    arena.settle()
    # Not eight answers of 8 MB, of which each is kept more than once.
    assert arena.memory_kib() - before < 64 * 1024


def test_answers_to_a_request_are_the_callers_own(arena: Arena) -> None:
    source = attack("return self.http.request('GET', arguments['url'])['body']")
    numbers = [arena.begin(source, arguments={"url": url}) for url in ["small", "large"] * 4]
    sizes = [len(arena.finish(number)["result"]) for number in numbers[::2]]
    assert sizes == [5] * 4
    # 8 MB are more than a result may be.
    for number in numbers[1::2]:
        assert arena.finish(number)["error"] == "LimitExceededError"


def test_endless_output(arena: Arena) -> None:
    arena.settle()
    before = arena.memory_kib()
    body = """
    for number in (0, 1, 2):
        attempt(lambda: [os.write(number, bytes(1 << 20)) for _ in range(50)])
    print("x" * 1_000_000, file=sys.stderr)
    send(2, b"", length=1 << 20)
    while True:
        os.write(3, b"[" * 65536)
    """
    numbers = [arena.begin(attack(body), timeout_seconds=5) for _ in range(8)]
    for number in numbers:
        assert "error" in arena.finish(number)
    arena.settle()
    assert arena.memory_kib() - before < 64 * 1024


def test_an_error_in_the_platforms_words(arena: Arena) -> None:
    body = """
    send(3, json.dumps({"reason": arguments["reason"], "message": "forged", **arguments}).encode())
    time.sleep(60)
    """
    for each in _all_errors(errors.AgentExecutorError):
        answer = arena.failure(attack(body), arguments={"reason": each.reason})
        assert answer["error"] not in {
            "SandboxUnavailableError", "OutcomeUnknownError", "UnauthenticatedError",
            "BudgetExceededError", "LeaseLostError", "CancelledRunError",
        }  # fmt: skip


# Each is the text of an error frame, or makes one.
ERRORS = {
    "nothing": "b''",
    "a list": "b'[]'",
    "an empty object": "b'{}'",
    "a reason that is an object": "b'{\"reason\": {}}'",
    "a limit that is an object": "b'{\"limit\": {}}'",
    "a limit that there is not": 'b\'{"limit": "x"}\'',
    "a message that is an object": 'b\'{"message": {"a": [1, 2]}}\'',
    "a large message": "json.dumps({'message': 'x' * 2_000_000}).encode()",
    "metadata that is a list": "b'{\"metadata\": [1]}'",
    "much metadata": "json.dumps({'metadata': {str(n): 'x' * 999 for n in range(999)}}).encode()",
    "a wait of an endless number": "json.dumps({'retry_after_seconds': 10**400}).encode()",
    "a wait of ages": "json.dumps({'retry_after_seconds': 1e300}).encode()",
    "a wait that is negative": "json.dumps({'retry_after_seconds': -1}).encode()",
    "a wait that is text": "json.dumps({'retry_after_seconds': '1'}).encode()",
    "half a character": 'b\'{"message": "\\\\ud800"}\'',
    "control characters": "json.dumps({'message': ''.join(map(chr, range(32)))}).encode()",
}


@pytest.mark.parametrize("reason", ["RATE_LIMIT_EXCEEDED", "INVALID_ARGUMENT", "TOOL_FAILED"])
@pytest.mark.parametrize("name", ERRORS)
def test_forging_an_error_with(arena: Arena, name: str, reason: str) -> None:
    body = f"""
    text = {ERRORS[name]}
    if text[:1] == b"{{":
        text = b'{{"reason": "{reason}"' + (b", " if len(text) > 2 else b"") + text[1:]
    send(3, text)
    time.sleep(60)
    """
    answer = arena.failure(attack(body), timeout_seconds=10)
    assert len(answer["message"]) <= 2_500
    assert len(str(answer["metadata"])) <= 8_000
    # What a caller is told to wait has to be something that a caller can be told.
    assert answer["retry_after_seconds"] is None or 0 <= answer["retry_after_seconds"] <= 1e6


def _all_errors(
    root: type[errors.AgentExecutorError],
) -> list[type[errors.AgentExecutorError]]:
    return [root, *(each for child in root.__subclasses__() for each in _all_errors(child))]
