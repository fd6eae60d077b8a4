"""Chooses a mail's transport: by the document's field `transport`, otherwise by the domain of its author.

The choice is made when the mail is encoded and stored in its envelope, so encoding and sending always agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sender.document.fields import describe
from sender.net import host_patterns
from sender.transport.envelope import DEFAULT_TRANSPORT, Begin, Envelope, Receipt, Transport, at_once
from shared.deadline import Deadline
from shared.errors import ErrorCode, Misconfigured, NotSendable


@dataclass(frozen=True, slots=True)
class Routes:
    """The names of all transports, and the transport's name by host pattern of the author's domain."""

    names: frozenset[str]
    by_domain: Mapping[str, str]

    @classmethod
    def of(cls, domains: Mapping[str, frozenset[str]]) -> Routes:
        """From the patterns of each named transport; raises `Misconfigured` if two share a pattern."""
        by_domain: dict[str, str] = {}
        for name, patterns in domains.items():
            for pattern in patterns:
                if (other := by_domain.setdefault(pattern, name)) != name:
                    raise Misconfigured(f"TRANSPORTS: '{other}' and '{name}' both have the domain {pattern!r}")
        return cls(frozenset({DEFAULT_TRANSPORT, *domains}), by_domain)

    def choose(self, requested: object, domain: str) -> str:
        """The name of the transport for a document's field `transport` and its author's domain (in lower case).

        Raises `NotSendable` if no transport has the requested name.
        """
        if requested is None:
            found = (self.by_domain.get(pattern) for pattern in host_patterns.patterns_for(domain))
            return next(filter(None, found), DEFAULT_TRANSPORT)
        if isinstance(requested, str) and requested in self.names:
            return requested
        found_kind = "another string" if isinstance(requested, str) else describe(requested)
        text = f"Field 'transport': expected one of {', '.join(sorted(self.names))}; found {found_kind}."
        raise NotSendable(ErrorCode.VALIDATION, text)


class RoutedTransport:
    """A `Transport` that passes each mail to the transport named in its envelope."""

    def __init__(self, transports: Mapping[str, Transport]) -> None:
        self._transports = transports

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
        """See `Transport.send`."""
        return self._transports[envelope.transport].send(envelope, data, deadline, begin)

    @property
    def capacity(self) -> int:
        """See `Transport.capacity`."""
        return sum(transport.capacity for transport in self._transports.values())

    def close(self) -> None:
        """See `Transport.close`."""
        for transport in self._transports.values():
            transport.close()
