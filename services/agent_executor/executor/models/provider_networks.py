"""Where a model's provider may be."""

from __future__ import annotations

from dataclasses import dataclass

from agent_executor.egress.addresses import Network
from agent_executor.egress.interfaces import own_addresses
from agent_executor.egress.policy import EgressPolicy
from agent_executor.egress.urls import Target, parse_url
from agent_executor.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class ProviderNetworks:
    """Which networks a provider may be in.

    Attributes:
        allowed: Internal networks that the operator admits, such as loopback for mock Claude.
        denied: Networks that are never reached, in addition to all internal ones.
    """

    allowed: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()

    def policy(self, target: Target) -> EgressPolicy:
        """Returns what may be reached of a provider: nothing but its own origin."""
        return EgressPolicy(
            allowed_domains=None,
            allowed_origins=frozenset({target.origin}),
            allowed_networks=self.allowed,
            denied_networks=self.denied,
        )

    def check_base_url(self, base_url: str) -> None:
        """Decides on a base URL as far as can be told without asking for its host's addresses.

        These are checked at every connection, since they may change.

        Raises:
            InvalidArgumentError: It is none, or has a query.
            PermissionDeniedError: It may not be reached.
        """
        target = parse_url(base_url)
        if target.url.query:
            raise InvalidArgumentError("A base URL has no query.")
        policy = self.policy(target)
        policy.check_target(target)
        if target.address is not None:
            policy.check_addresses(target, (target.address,), own_addresses())
