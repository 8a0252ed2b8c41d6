"""Whatever a caller shows, it is admitted only if it is what was issued, and never breaks."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.errors import UnauthenticatedError
from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.grants import ServiceKey
from agent_executor.serving.settings import LOCAL_ISSUER
from agent_executor.serving.telemetry import format_traceparent, parse_traceparent
from tests.unit.serving.grant_factory import AUDIENCE, NOW, bound_grant, service_key
from tests.unit.serving.tokens import FixedKeySet, Issuer

ISSUER = Issuer()
TOKEN = ISSUER.token()
SIGNED = service_key().sign_grant(bound_grant())


def verify_token(authorization: str) -> object:
    verifier = TokenVerifier({LOCAL_ISSUER: FixedKeySet(ISSUER)}, clock_skew_seconds=0)
    return asyncio.run(verifier.verify(authorization))


@given(position=st.integers(0, len(SIGNED.grant) - 1), mask=st.integers(1, 255))
def test_a_grant_with_any_byte_changed_is_refused(position: int, mask: int) -> None:
    changed = bytearray(SIGNED.grant)
    changed[position] ^= mask
    forged = grant_pb2.SignedGrant(grant=bytes(changed), signature=SIGNED.signature)
    with pytest.raises(UnauthenticatedError):
        service_key().verify_grant(forged, AUDIENCE, NOW)


@given(signature=st.binary(max_size=64))
def test_a_grant_with_another_signature_is_refused(signature: bytes) -> None:
    assume(signature != SIGNED.signature)
    forged = grant_pb2.SignedGrant(grant=SIGNED.grant, signature=signature)
    with pytest.raises(UnauthenticatedError):
        service_key().verify_grant(forged, AUDIENCE, NOW)


@given(suffix=st.binary(min_size=1, max_size=64))
def test_nothing_can_be_appended_to_a_grant(suffix: bytes) -> None:
    # Appended fields would override those before them, if the signature did not cover all bytes.
    forged = grant_pb2.SignedGrant(grant=SIGNED.grant + suffix, signature=SIGNED.signature)
    with pytest.raises(UnauthenticatedError):
        service_key().verify_grant(forged, AUDIENCE, NOW)


@given(secret=st.binary(min_size=32, max_size=32))
def test_only_the_platforms_own_key_signs(secret: bytes) -> None:
    assume(secret != b"k" * 32)
    forged = ServiceKey(secret).sign_grant(bound_grant())
    with pytest.raises(UnauthenticatedError):
        service_key().verify_grant(forged, AUDIENCE, NOW)


@given(expires_in_seconds=st.floats(-1e6, 1e6))
def test_a_grant_holds_until_its_expiry_and_no_longer(expires_in_seconds: float) -> None:
    grant = bound_grant()
    grant.expires_at_unix_ms = int((NOW + expires_in_seconds) * 1000)
    signed = service_key().sign_grant(grant)
    if grant.expires_at_unix_ms > NOW * 1000:
        assert service_key().verify_grant(signed, AUDIENCE, NOW) == grant
    else:
        with pytest.raises(UnauthenticatedError):
            service_key().verify_grant(signed, AUDIENCE, NOW)


@given(
    authorization=st.text(max_size=200) | st.text(max_size=200).map(lambda text: f"Bearer {text}")
)
def test_any_text_as_a_token_is_refused_and_breaks_nothing(authorization: str) -> None:
    with pytest.raises(UnauthenticatedError):
        verify_token(authorization)


@given(
    position=st.integers(0, len(TOKEN) - 1),
    character=st.sampled_from("ABCZabcz0159-_.=+/ \n\x00"),
)
def test_a_token_with_any_character_changed_is_refused(position: int, character: str) -> None:
    assume(TOKEN[position] != character)
    # The last character of base64 holds bits that stand for nothing.
    assume(position not in {TOKEN.index(".") - 1, TOKEN.rindex(".") - 1, len(TOKEN) - 1})
    with pytest.raises(UnauthenticatedError):
        verify_token(f"Bearer {TOKEN[:position]}{character}{TOKEN[position + 1 :]}")


@given(
    trace_id=st.integers(1, 2**128 - 1), span_id=st.integers(1, 2**64 - 1), sampled=st.booleans()
)
def test_a_trace_context_travels_unchanged(trace_id: int, span_id: int, *, sampled: bool) -> None:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    original = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
    assert parse_traceparent(format_traceparent(original)) == original


@given(st.text(max_size=80))
def test_any_text_as_a_trace_context_breaks_nothing(text: str) -> None:
    parsed = parse_traceparent(text)
    assert parsed is None or parsed.is_valid
