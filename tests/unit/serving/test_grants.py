from __future__ import annotations

from pathlib import Path

import pytest

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.ledger.v1 import usage_service_pb2
from agent_executor.api.tool_runner.v1 import tool_call_service_pb2
from agent_executor.errors import UnauthenticatedError
from agent_executor.serving.grants import GrantVerifier, ServiceKey, check_binding
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.startup import StartupError
from tests.unit.serving.grant_factory import (
    ARGUMENTS_JSON,
    AUDIENCE,
    NOW,
    bound_grant,
    grant,
    service_key,
)


class CountingKey(ServiceKey):
    """A service key that counts what it verifies."""

    verified = 0

    def verify_grant(
        self, signed: grant_pb2.SignedGrant, audience: str, now: float
    ) -> grant_pb2.Grant:
        self.verified += 1
        return super().verify_grant(signed, audience, now)


class TestSignedGrant:
    def test_a_signed_grant_comes_back_as_it_was(self) -> None:
        original = bound_grant()
        signed = service_key().sign_grant(original)
        assert service_key().verify_grant(signed, AUDIENCE, NOW) == original

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            (grant(audience="ledger"), "meant for another service"),
            (grant(expires_at=NOW), "expired"),
            (grant(organization_id=""), "no organization or no user"),
            (grant(user_id=""), "no organization or no user"),
            (grant_pb2.Grant(audience=AUDIENCE), "expired"),
        ],
    )
    def test_what_does_not_hold_is_refused(self, wrong: grant_pb2.Grant, sentence: str) -> None:
        with pytest.raises(UnauthenticatedError, match=sentence):
            service_key().verify_grant(service_key().sign_grant(wrong), AUDIENCE, NOW)

    def test_a_grant_of_another_key_is_refused(self) -> None:
        signed = service_key(b"x").sign_grant(grant())
        with pytest.raises(UnauthenticatedError, match="signature"):
            service_key().verify_grant(signed, AUDIENCE, NOW)

    def test_an_empty_signed_grant_is_refused(self) -> None:
        with pytest.raises(UnauthenticatedError, match="signature"):
            service_key().verify_grant(grant_pb2.SignedGrant(), AUDIENCE, NOW)

    def test_something_else_that_was_signed_is_refused(self) -> None:
        key = service_key()
        signed = grant_pb2.SignedGrant(grant=b"\xff", signature=key._signature(b"\xff"))
        with pytest.raises(UnauthenticatedError, match="cannot be read"):
            key.verify_grant(signed, AUDIENCE, NOW)


class TestGrantVerifier:
    def test_the_caller_is_the_one_that_the_grant_names(self) -> None:
        verifier = GrantVerifier(service_key(), AUDIENCE, lambda: NOW)
        verified = verifier.verify(service_key().sign_grant(grant()))
        expected = SecurityContext("organization-1", "user-1", frozenset({"tool:*"}))
        assert verified.security == expected

    def test_a_grant_that_is_shown_again_is_verified_once_until_it_expires(self) -> None:
        key, now = CountingKey(b"k" * 32), [NOW]
        verifier = GrantVerifier(key, AUDIENCE, lambda: now[0])
        signed = key.sign_grant(grant())
        verifier.verify(signed)
        verifier.verify(grant_pb2.SignedGrant.FromString(signed.SerializeToString()))
        assert key.verified == 1
        now[0] += 30
        with pytest.raises(UnauthenticatedError, match="expired"):
            verifier.verify(signed)

    def test_a_verified_grant_with_another_signature_is_verified_anew(self) -> None:
        verifier = GrantVerifier(service_key(), AUDIENCE, lambda: NOW)
        signed = service_key().sign_grant(grant())
        verifier.verify(signed)
        forged = grant_pb2.SignedGrant(grant=signed.grant, signature=bytes(32))
        with pytest.raises(UnauthenticatedError, match="signature"):
            verifier.verify(forged)

    def test_a_grant_for_one_tool_call_is_not_kept(self) -> None:
        key = CountingKey(b"k" * 32)
        verifier = GrantVerifier(key, AUDIENCE, lambda: NOW)
        signed = key.sign_grant(bound_grant())
        verifier.verify(signed)
        verifier.verify(signed)
        assert key.verified == 2

    def test_a_service_without_a_key_accepts_no_grant(self) -> None:
        verifier = GrantVerifier(None, AUDIENCE, lambda: NOW)
        with pytest.raises(UnauthenticatedError, match="accepts no grants"):
            verifier.verify(service_key().sign_grant(grant()))


class TestBinding:
    def request(
        self, tool_call_id: str = "toolu_1", tool_name: str = "calculator", arguments: str = ""
    ) -> tool_call_service_pb2.ExecuteToolCallRequest:
        return tool_call_service_pb2.ExecuteToolCallRequest(
            tool_call_id=tool_call_id,
            tool_name=tool_name,
            arguments_json=arguments or ARGUMENTS_JSON,
        )

    def test_the_very_call_is_admitted(self) -> None:
        check_binding(bound_grant(), self.request())

    def test_an_unbound_grant_is_good_for_a_request_without_a_tool_call(self) -> None:
        check_binding(grant(), usage_service_pb2.ReserveUsageRequest())

    def test_another_call_another_tool_and_other_arguments_are_refused(self) -> None:
        for request in (
            self.request(tool_call_id="toolu_2"),
            self.request(tool_name="http_request"),
            self.request(arguments="{}"),
        ):
            with pytest.raises(UnauthenticatedError):
                check_binding(bound_grant(), request)

    def test_an_unbound_grant_runs_no_tool_call(self) -> None:
        with pytest.raises(UnauthenticatedError, match="not for this tool call"):
            check_binding(grant(), self.request())

    def test_a_bound_grant_is_good_for_nothing_but_a_tool_call(self) -> None:
        with pytest.raises(UnauthenticatedError, match="not for this tool call"):
            check_binding(bound_grant(), usage_service_pb2.ReserveUsageRequest())


class TestServiceKeyFile:
    def write(self, folder: Path, content: bytes, mode: int) -> Path:
        path = folder / "service.key"
        path.write_bytes(content)
        path.chmod(mode)
        return path

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o440])
    def test_a_closed_file_is_loaded(self, tmp_path: Path, mode: int) -> None:
        key = ServiceKey.load(self.write(tmp_path, b"k" * 32, mode))
        assert key.verify_grant(service_key().sign_grant(grant()), AUDIENCE, NOW) == grant()

    @pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o666])
    def test_a_file_that_is_open_to_others_is_refused(self, tmp_path: Path, mode: int) -> None:
        with pytest.raises(StartupError, match="0600"):
            ServiceKey.load(self.write(tmp_path, b"k" * 32, mode))

    def test_a_missing_file_is_refused_by_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(StartupError, match=r"service\.key cannot be read: No such file"):
            ServiceKey.load(tmp_path / "service.key")

    def test_a_key_of_another_length_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(StartupError, match="32 bytes, not 31"):
            ServiceKey.load(self.write(tmp_path, b"k" * 31, 0o600))

    def test_a_key_is_not_shown(self) -> None:
        assert "kkkk" not in repr(service_key())
