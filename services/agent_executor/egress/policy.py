"""Where a request may go: schemes, ports, domains, origins and networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_executor.egress.addresses import Address, Network, is_permitted, is_within
from agent_executor.egress.domains import is_within as is_allowed_domain
from agent_executor.egress.urls import Target
from agent_executor.errors import PermissionDeniedError

DEFAULT_PORTS_ALLOWED: Final = frozenset({443, 80})
ADDRESS_REFUSAL: Final = "The host has an address that may not be reached."


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be reached.

    Attributes:
        allowed_domains: Normalised, as ``api.example.com`` or ``*.example.com``. None: any host,
            also one that is named by its address.
        allowed_origins: If not None, nothing but these origins, which must be within the domains.
        allowed_networks: Networks that an operator admits although they are internal. A host all
            of whose addresses lie there may also be reached on any port and by plain http.
        denied_networks: Networks that are never reached, in addition to all internal ones.
        allow_http: Whether plain http is allowed everywhere.
        ports: The ports that are allowed everywhere.
    """

    allowed_domains: frozenset[str] | None
    allowed_origins: frozenset[str] | None = None
    allowed_networks: tuple[Network, ...] = ()
    denied_networks: tuple[Network, ...] = ()
    allow_http: bool = False
    ports: frozenset[int] = DEFAULT_PORTS_ALLOWED

    def check_target(self, target: Target) -> None:
        """Decides on a URL, before anything is resolved.

        Raises:
            PermissionDeniedError: It may not be reached. ``metadata`` has the ``rule`` and
                the ``host``.
        """
        domains = self.allowed_domains
        if domains is not None and not is_allowed_domain(target.host, domains):
            raise denied(
                target.host, "domain", f'The host "{target.host}" is not an allowed domain.'
            )
        if self.allowed_origins is not None and target.origin not in self.allowed_origins:
            raise denied(
                target.host, "origin", f'The origin "{target.origin}" is not one of the tool\'s.'
            )
        if self._is_ordinary(target) or self.allowed_networks:
            return
        if target.port not in self.ports:
            raise denied(target.host, "port", f"The port {target.port} is not allowed.")
        raise denied(target.host, "scheme", "Only https is allowed.")

    def check_addresses(
        self, target: Target, addresses: tuple[Address, ...], own: frozenset[Address]
    ) -> None:
        """Decides on everything that a host was resolved to; one bad address refuses all.

        Raises:
            PermissionDeniedError: The host may not be reached.
        """
        needs_admission = not self._is_ordinary(target)
        for address in addresses:
            if not is_permitted(
                address, own=own, allowed=self.allowed_networks, denied=self.denied_networks
            ) or (needs_admission and not is_within(address, self.allowed_networks)):
                raise denied(target.host, "address", ADDRESS_REFUSAL)

    def _is_ordinary(self, target: Target) -> bool:
        return target.port in self.ports and (target.scheme == "https" or self.allow_http)


def denied(host: str, rule: str, message: str) -> PermissionDeniedError:
    """Returns the refusal of a host by a rule."""
    return PermissionDeniedError(message, metadata={"rule": rule, "host": host})
