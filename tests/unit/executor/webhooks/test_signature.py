"""Signatures, against a vector of our own and the specification's own library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.webhooks.signature import signed_headers, signing_key

RAW = "a secret that is not base64 é"
ENCODED = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"type":"run.completed","é":1}'.encode()


def test_the_signature_is_of_id_time_and_body() -> None:
    headers = signed_headers("msg_1", 1_700_000_000, BODY, b"k" * 16)
    expected = hmac.digest(b"k" * 16, b"msg_1.1700000000." + BODY, hashlib.sha256)
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1," + base64.b64encode(expected).decode(),
    }


def test_a_fixed_vector() -> None:
    # The example of the specification.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [ENCODED, ENCODED.rstrip("=")])
def test_the_specifications_library_verifies_a_secret_of_its_own_form(secret: str) -> None:
    headers = signed_headers("msg_1", int(time.time()), BODY, signing_key(secret))
    assert Webhook(secret).verify(BODY, headers)["type"] == "run.completed"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers)


def test_the_specifications_library_verifies_a_raw_secret_as_bytes() -> None:
    headers = signed_headers("msg_1", int(time.time()), BODY, signing_key(RAW))
    assert Webhook(RAW.encode()).verify(BODY, headers)["é"] == 1


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "x" * 15,
        "x" * 257,
        "é" * 129,
        "whsec_not base64 at all!",
        "whsec_" + "A" * 13,  # no whole number of bytes
        "whsec_" + base64.b64encode(b"short").decode() + "=" * 8,
        "whsec_" + base64.b64encode(bytes(15)).decode(),
    ],
)
def test_what_is_no_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        signing_key(secret)
    assert not secret or secret not in refused.value.message


@pytest.mark.parametrize("secret", ["x" * 16, "x" * 256, "é" * 128, " " * 16])
def test_other_secrets_are_the_key_itself(secret: str) -> None:
    assert signing_key(secret) == secret.encode()
