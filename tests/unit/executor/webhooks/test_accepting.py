"""What a webhook may be when a run is started."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from agent_executor.egress.addresses import Network
from agent_executor.egress.policy import EgressPolicy
from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.webhooks.delivery import Webhook
from agent_executor.executor.webhooks.store_memory import MemoryWebhookStore
from agent_executor.executor.webhooks.webhooks import Webhooks
from agent_executor.storage.encryption import KEY_BYTES, Encryption

SECRET = "a secret of 16 bytes"
ENCRYPTION = Encryption(bytes(KEY_BYTES))


def webhooks(*allowed: str) -> Webhooks:
    networks: tuple[Network, ...] = tuple(ip_network(network) for network in allowed)
    policy = EgressPolicy(None, allowed_networks=networks)
    return Webhooks(MemoryWebhookStore(), ENCRYPTION, policy)


def accepted(url: str, *allowed: str) -> Webhook:
    webhook = webhooks(*allowed).accept(url, SECRET)
    assert webhook is not None
    return webhook


def refused(url: str, secret: str, *allowed: str) -> tuple[str, str]:
    """Returns the field that is refused, and why."""
    with pytest.raises(InvalidArgumentError) as error:
        webhooks(*allowed).accept(url, secret)
    [(field, message)] = error.value.field_violations
    assert message == error.value.message
    return field, message


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://hooks.example.com/a/b?token=x%20y#part",
        "https://EXAMPLE.com:443/",
        "https://bücher.example/",
        "https://93.184.216.34/hook",
        "https://example.com/" + "a" * 1_980,
    ],
)
def test_https_to_public_hosts_is_accepted(url: str) -> None:
    webhook = accepted(url)
    assert webhook.url == url
    assert webhook.webhook_id.startswith("msg_")
    assert ENCRYPTION.decrypt(webhook.secret_ciphertext, webhook.webhook_id) == SECRET


def test_two_are_told_apart() -> None:
    one, other = accepted("https://example.com/"), accepted("https://example.com/")
    assert one.webhook_id != other.webhook_id
    assert one.secret_ciphertext != other.secret_ciphertext


def test_the_secret_is_in_no_text_of_it() -> None:
    assert SECRET not in repr(accepted("https://example.com/"))


HOSTILE = [
    "example.com",
    "//example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "https://",
    "https:///path",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com\\@127.0.0.1/",
    "https://exa mple.com/",
    "https://example.com/\r\nhost: evil",
    "https://example.com/\0",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com:8443/",
    "http://example.com/",
    "http://example.com:443/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://[fd00:ec2::254]/",
    "https://0.0.0.0/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://%31%32%37.0.0.1/",
    "https://example.com/" + "a" * 1_981,
]


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_urls_are_refused(url: str) -> None:
    field, message = refused(url, SECRET)
    assert field == "webhook_url"
    assert SECRET not in message


def test_an_admitted_network_may_be_called_by_http_and_on_any_port() -> None:
    webhook = accepted("http://127.0.0.1:9000/x", "127.0.0.1/32")
    assert webhook.origin == "http://127.0.0.1:9000"
    accepted("http://receiver.internal:9000/x", "127.0.0.1/32")
    assert refused("http://127.0.0.2:9000/x", SECRET, "127.0.0.1/32")[0] == "webhook_url"


def test_the_secret_is_required_with_a_url_and_refused_without() -> None:
    assert webhooks().accept("", "") is None
    assert refused("", SECRET)[0] == "webhook_secret"
    assert refused("https://example.com/", "")[0] == "webhook_secret"
    field, message = refused("https://example.com/", "too short, x=9")
    assert field == "webhook_secret"
    assert "too short, x=9" not in message
