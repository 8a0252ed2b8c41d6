from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_current_span

from agent_executor.api.tool_runner.v1.tool_call_service_pb2 import (
    ExecuteToolCallRequest,
    ExecuteToolCallResponse,
)
from agent_executor.errors import (
    AgentExecutorError,
    DeadlineExceededError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.grants import current_grant
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.observation import INTERNAL_ERROR_MESSAGE
from agent_executor.serving.pipeline import (
    CallPipeline,
    Credentials,
    remaining_seconds,
)
from agent_executor.serving.security import current_security_context
from agent_executor.serving.settings import LOCAL_ISSUER, ServiceSettings
from agent_executor.serving.telemetry import (
    CallTrace,
    Telemetry,
    configure_telemetry,
    current_traceparent,
    traceparent_of,
)
from tests.unit.serving.grant_factory import (
    ARGUMENTS_JSON,
    AUDIENCE,
    NOW,
    bound_grant,
    grant,
    service_key,
)
from tests.unit.serving.tokens import FixedKeySet, Issuer
from tests.unit.serving.trace_context import SPAN_ID, TRACE_ID, TRACEPARENT

METHOD = "/agent_executor.api.tool_runner.v1.ToolCallService/ExecuteToolCall"
ISSUER = Issuer()
TOKEN = Credentials(authorization=ISSUER.bearer())
REQUEST = ExecuteToolCallRequest(
    tool_call_id="toolu_1", tool_name="calculator", arguments_json=ARGUMENTS_JSON
)
RESPONSE = ExecuteToolCallResponse(tool_call_id="toolu_1", success=True)

Handler = Callable[[ExecuteToolCallRequest], Awaitable[ExecuteToolCallResponse]]


async def succeed(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
    """A handler that succeeds."""
    return RESPONSE


def fail_with(error: BaseException) -> Handler:
    """Returns a handler that raises."""

    async def fail(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
        raise error

    return fail


class Harness:
    """A pipeline and what it left behind."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.metrics = Metrics()
        self.telemetry = configure_telemetry("tool-runner", ServiceSettings(), self.exporter)
        self.pipeline = self.build(self.telemetry)

    def build(self, telemetry: Telemetry) -> CallPipeline:
        return CallPipeline(
            service_name=AUDIENCE,
            token_verifier=TokenVerifier({LOCAL_ISSUER: FixedKeySet(ISSUER)}, clock_skew_seconds=0),
            service_key=service_key(),
            metrics=self.metrics,
            tracer=telemetry.tracer,
            clock=lambda: NOW,
        )

    async def run(
        self,
        handler: Handler = succeed,
        *,
        request: ExecuteToolCallRequest = REQUEST,
        credentials: Credentials | None = TOKEN,
        deadline_seconds: float | None = None,
        traceparent: str = "",
        span: bool = False,
    ) -> ExecuteToolCallResponse:
        return await self.pipeline.run(
            METHOD,
            request,
            credentials,
            deadline_seconds,
            CallTrace(traceparent),
            handler,
            span=span,
        )

    def counted(self, code: str) -> float:
        labels = {"method": METHOD, "code": code}
        value = self.metrics.registry.get_sample_value("agent_executor_rpc_requests_total", labels)
        return value or 0.0

    def spans(self) -> Any:
        self.telemetry.shutdown()
        return self.exporter.get_finished_spans()


@pytest.fixture
def harness() -> Harness:
    return Harness()


class TestAdmission:
    async def test_a_token_names_the_caller(self, harness: Harness) -> None:
        async def handle(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            assert request is REQUEST
            assert current_security_context.get().user_id == "user-1"
            assert current_grant.get() is None
            return RESPONSE

        assert await harness.run(handle) is RESPONSE
        assert harness.counted("OK") == 1

    async def test_a_grant_names_the_caller_and_is_shown_to_the_handler(
        self, harness: Harness
    ) -> None:
        async def handle(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            assert current_security_context.get().permissions == frozenset({"tool:*"})
            assert current_grant.get() == bound_grant()
            return RESPONSE

        credentials = Credentials(grant=service_key().sign_grant(bound_grant()))
        assert await harness.run(handle, credentials=credentials) is RESPONSE

    @pytest.mark.parametrize(
        "credentials",
        [
            Credentials(),
            Credentials(authorization="Bearer abc"),
            Credentials(grant=service_key(b"x").sign_grant(bound_grant())),
            Credentials(grant=service_key().sign_grant(bound_grant("toolu_2"))),
            Credentials(grant=service_key().sign_grant(grant())),
            # A token does not make up for a grant that does not hold.
            Credentials(TOKEN.authorization, service_key(b"x").sign_grant(bound_grant())),
        ],
    )
    async def test_a_refused_caller_reaches_nothing_and_is_counted(
        self, harness: Harness, credentials: Credentials
    ) -> None:
        with pytest.raises(UnauthenticatedError):
            await harness.run(fail_with(AssertionError("reached")), credentials=credentials)
        assert harness.counted("UNAUTHENTICATED") == 1

    async def test_an_open_method_needs_no_credentials_and_is_counted_and_checked(
        self, harness: Harness
    ) -> None:
        async def handle(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            assert current_security_context.get(None) is None
            return RESPONSE

        assert await harness.run(handle, credentials=None) == RESPONSE
        assert harness.counted("OK") == 1
        with pytest.raises(InvalidArgumentError):
            await harness.run(credentials=None, request=ExecuteToolCallRequest())

    async def test_a_request_that_breaks_a_rule_reaches_nothing(self, harness: Harness) -> None:
        with pytest.raises(InvalidArgumentError) as refusal:
            await harness.run(
                fail_with(AssertionError("reached")), request=ExecuteToolCallRequest()
            )
        assert [path for path, _ in refusal.value.field_violations] == [
            "tool_call_id",
            "tool_name",
        ]
        assert harness.counted("INVALID_ARGUMENT") == 1

    async def test_who_is_not_known_learns_nothing_about_the_request(
        self, harness: Harness
    ) -> None:
        with pytest.raises(UnauthenticatedError):
            await harness.run(credentials=Credentials(), request=ExecuteToolCallRequest())


class TestErrors:
    async def test_an_error_of_ours_passes_as_it_is(self, harness: Harness) -> None:
        error = PermissionDeniedError("No.")
        with pytest.raises(PermissionDeniedError) as raised:
            await harness.run(fail_with(error))
        assert raised.value is error
        assert harness.counted("PERMISSION_DENIED") == 1

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("opensesame"),
            TimeoutError("opensesame"),
            ExceptionGroup("x", [ValueError()]),
        ],
    )
    async def test_any_other_becomes_a_fixed_sentence_and_is_logged(
        self, harness: Harness, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(AgentExecutorError) as raised:
            await harness.run(fail_with(error), deadline_seconds=60)
        assert type(raised.value) is AgentExecutorError
        assert raised.value.message == INTERNAL_ERROR_MESSAGE
        assert raised.value.__suppress_context__
        (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
        assert record.exc_info is not None
        assert record.exc_info[1] is error
        assert harness.counted("INTERNAL") == 1

    async def test_a_cancellation_passes_and_is_counted(self, harness: Harness) -> None:
        started = asyncio.Event()

        async def wait(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            started.set()
            await asyncio.Event().wait()
            return RESPONSE

        task = asyncio.create_task(harness.run(wait, deadline_seconds=60))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert harness.counted("CANCELLED") == 1

    async def test_work_that_is_only_observed_is_mapped_too(self, harness: Harness) -> None:
        async def work() -> None:
            raise RuntimeError("opensesame")

        with pytest.raises(AgentExecutorError, match="Something broke"):
            await harness.pipeline.observe(METHOD, work)
        assert harness.counted("INTERNAL") == 1


async def test_every_call_is_a_line_of_the_debug_log(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "agent_executor.serving.observation"):
        await harness.run()
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert f"{METHOD} ended with OK after " in caplog.text


class TestDeadline:
    async def test_a_handler_is_stopped_at_the_deadline(self, harness: Harness) -> None:
        stopped = asyncio.Event()

        async def wait(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
            return RESPONSE

        with pytest.raises(DeadlineExceededError):
            await harness.run(wait, deadline_seconds=0.01)
        assert stopped.is_set()
        assert harness.counted("DEADLINE_EXCEEDED") == 1

    @pytest.mark.parametrize("deadline_seconds", [0.0, -5.0])
    async def test_after_the_deadline_nothing_begins(
        self, harness: Harness, deadline_seconds: float
    ) -> None:
        with pytest.raises(DeadlineExceededError):
            await harness.run(
                fail_with(AssertionError("reached")), deadline_seconds=deadline_seconds
            )
        assert harness.counted("DEADLINE_EXCEEDED") == 1

    async def test_a_call_that_grpc_cancels_at_its_deadline_is_counted_as_late(
        self, harness: Harness
    ) -> None:
        async def outlive(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            loop = asyncio.get_running_loop()
            end = loop.time() + 0.02
            while loop.time() < end:
                pass
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await harness.run(outlive, deadline_seconds=0.01)
        assert harness.counted("DEADLINE_EXCEEDED") == 1

    async def test_a_handler_knows_what_is_left(self, harness: Harness) -> None:
        async def look(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            remaining = remaining_seconds()
            assert remaining is not None
            assert 50 < remaining <= 60
            return RESPONSE

        await harness.run(look, deadline_seconds=60)

    async def test_without_a_deadline_there_is_no_end(self, harness: Harness) -> None:
        async def look(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            assert remaining_seconds() is None
            return RESPONSE

        await harness.run(look, deadline_seconds=None)


class TestTelemetry:
    async def test_a_span_of_its_own_joins_the_callers_trace(self, harness: Harness) -> None:
        seen: list[str] = []

        async def look(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            seen.append(current_traceparent())
            return RESPONSE

        await harness.run(look, traceparent=TRACEPARENT, span=True)
        (span,) = harness.spans()
        assert f"{span.context.trace_id:032x}" == TRACE_ID
        assert f"{span.parent.span_id:016x}" == SPAN_ID
        assert seen == [f"00-{TRACE_ID}-{span.context.span_id:016x}-01"]
        assert span.name == METHOD.removeprefix("/")
        assert span.attributes["rpc.response.status_code"] == "OK"
        assert span.attributes["agent_executor.organization.id"] == "organization-1"
        assert span.status.status_code is StatusCode.UNSET

    async def test_without_a_span_the_trace_is_joined_all_the_same(self, harness: Harness) -> None:
        seen: list[str] = []

        async def look(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            seen.append(traceparent_of(get_current_span()))
            return RESPONSE

        await harness.run(look, traceparent=TRACEPARENT, span=False)
        assert seen == [TRACEPARENT]
        assert harness.spans() == ()

    @pytest.mark.parametrize(
        ("error", "code", "error_type", "status"),
        [
            (
                PermissionDeniedError("No."),
                "PERMISSION_DENIED",
                "PERMISSION_DENIED",
                StatusCode.UNSET,
            ),
            (RuntimeError("x"), "INTERNAL", "INTERNAL", StatusCode.ERROR),
            (
                DeadlineExceededError("x"),
                "DEADLINE_EXCEEDED",
                "DEADLINE_EXCEEDED",
                StatusCode.ERROR,
            ),
        ],
    )
    async def test_a_failure_is_on_the_span(
        self, harness: Harness, error: Exception, code: str, error_type: str, status: StatusCode
    ) -> None:
        with pytest.raises(AgentExecutorError):
            await harness.run(fail_with(error), span=True)
        (span,) = harness.spans()
        assert span.attributes["rpc.response.status_code"] == code
        assert span.attributes["error.type"] == error_type
        assert span.status.status_code is status
        assert span.status.description is None
        assert not span.events

    async def test_the_duration_has_the_trace_as_its_example(self, harness: Harness) -> None:
        await harness.run(traceparent=TRACEPARENT)
        (family,) = (
            each
            for each in harness.metrics.registry.collect()
            if each.name == "agent_executor_rpc_duration_seconds"
        )
        exemplars = [sample.exemplar for sample in family.samples if sample.exemplar]
        assert [exemplar.labels["trace_id"] for exemplar in exemplars] == [TRACE_ID]

    async def test_calls_side_by_side_do_not_see_each_other(self, harness: Harness) -> None:
        both_run = asyncio.Barrier(2)

        async def look(request: ExecuteToolCallRequest) -> ExecuteToolCallResponse:
            before = (current_security_context.get(), current_traceparent(), remaining_seconds())
            await both_run.wait()
            after = (current_security_context.get(), current_traceparent())
            assert before[:2] == after
            user = current_security_context.get().user_id
            return ExecuteToolCallResponse(tool_call_id=user, tool_name=current_traceparent())

        async def call(user: str, traceparent: str) -> ExecuteToolCallResponse:
            credentials = Credentials(authorization=ISSUER.bearer(sub=user))
            return await harness.run(look, credentials=credentials, traceparent=traceparent)

        other = TRACEPARENT.replace(TRACE_ID, "a" * 32)
        first, second = await asyncio.gather(call("ada", TRACEPARENT), call("bob", other))
        assert (first.tool_call_id, first.tool_name) == ("ada", TRACEPARENT)
        assert (second.tool_call_id, second.tool_name) == ("bob", other)

    async def test_after_a_call_nothing_of_its_trace_is_left(self, harness: Harness) -> None:
        await harness.run(traceparent=TRACEPARENT, span=True)
        assert current_traceparent() == ""
