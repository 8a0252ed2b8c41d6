"""What an attempt makes of a delivery, and when the next one is."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.executor.webhooks.delivery import Delivery
from agent_executor.executor.webhooks.retries import Outcome, RetryPolicy, outcome_of

DELIVERY = Delivery(
    "run", "acme", "msg", "https://a.test/x", "https://a.test", b"secret", attempts=1
)
POLICY = RetryPolicy()
ENDED = 1_000_000
DAY_MS = 86_400_000


def concluded(
    outcome: Outcome, *, now_ms: int = ENDED, jitter: float = 0.0, attempts: int = 1
) -> Delivery:
    delivery = msgspec.structs.replace(DELIVERY, attempts=attempts)
    return POLICY.concluded(delivery, outcome, now_ms=now_ms, ended_at_ms=ENDED, jitter=jitter)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_delivers(status: int) -> None:
    after = concluded(outcome_of(status, {}))
    assert (after.state, after.status_code, after.error) == ("delivered", status, "")
    assert (after.due_at_ms, after.secret_ciphertext) == (0, b"")


@pytest.mark.parametrize("status", [100, 301, 302, 307, 400, 401, 404, 429, 500, 503, 599])
def test_anything_else_is_tried_again(status: int) -> None:
    after = concluded(outcome_of(status, {}))
    assert (after.state, after.status_code) == ("pending", status)
    assert str(status) in after.error
    assert after.due_at_ms == ENDED + 5_000
    assert after.secret_ciphertext == b"secret"


def test_gone_ends_it() -> None:
    after = concluded(outcome_of(410, {"retry-after": "1"}))
    assert (after.state, after.status_code, after.due_at_ms) == ("failed", 410, 0)
    assert after.secret_ciphertext == b""


def test_waits_grow_to_four_hours() -> None:
    waits = [POLICY.wait_seconds(attempts, 0) for attempts in range(1, 9)]
    assert waits == [5, 20, 80, 320, 1280, 5120, 14_400, 14_400]
    assert POLICY.wait_seconds(10_000, 0) == 14_400


def test_the_day_has_about_a_dozen_attempts() -> None:
    now_ms, attempts = ENDED, 0
    while True:
        attempts += 1
        after = concluded(outcome_of(500, {}), now_ms=now_ms, attempts=attempts)
        if after.state == "failed":
            break
        assert after.due_at_ms > now_ms
        now_ms = after.due_at_ms
    # The last one is at the end of the day itself.
    assert now_ms == ENDED + DAY_MS
    assert attempts == 13


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({"retry-after": "120"}, 120_000),
        ({"retry-after": " 120 "}, 120_000),
        ({"retry-after": "1"}, 5_000),
        ({"retry-after": "-5"}, 5_000),
        ({"retry-after": "1e9"}, 5_000),
        ({"retry-after": "soon"}, 5_000),
        ({"retry-after": ""}, 5_000),
        ({"retry-after": "²"}, 5_000),
        ({"retry-after": "9" * 400}, DAY_MS),
        (
            {
                "retry-after": "Fri, 01 Jan 2027 00:02:00 GMT",
                "date": "Fri, 01 Jan 2027 00:00:00 GMT",
            },
            120_000,
        ),
        ({"retry-after": "Fri, 01 Jan 2027 00:02:00 GMT"}, 5_000),
        (
            {"retry-after": "Fri, 01 Jan 2027 00:02:00 GMT", "date": "Fri, 01 Jan 2027 00:02:00"},
            5_000,
        ),
    ],
)
def test_a_receiver_is_left_alone_as_it_asks(
    status: int, headers: dict[str, str], wait_ms: int
) -> None:
    assert concluded(outcome_of(status, headers)).due_at_ms == ENDED + wait_ms


def test_others_do_not_say_when() -> None:
    assert concluded(outcome_of(500, {"retry-after": "120"})).due_at_ms == ENDED + 5_000


@given(
    attempts=st.integers(1, 10_000),
    jitter=st.floats(-1, 1),
    now_ms=st.integers(ENDED, ENDED + 2 * DAY_MS),
    retry_after_seconds=st.floats(0, 1e9),
)
def test_the_next_attempt_is_later_and_within_the_day(
    attempts: int, jitter: float, now_ms: int, retry_after_seconds: float
) -> None:
    outcome = Outcome(503, "no", retry_after_seconds)
    after = concluded(outcome, now_ms=now_ms, jitter=jitter, attempts=attempts)
    if after.state == "failed":
        assert now_ms >= ENDED + DAY_MS
        assert after.due_at_ms == 0
    else:
        assert now_ms < after.due_at_ms <= ENDED + DAY_MS
        assert after.due_at_ms >= min(now_ms + 3_999, ENDED + DAY_MS)
