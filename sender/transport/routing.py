"""Which transport a mail leaves by: the one that its document names, or else the one whose domains its author is in.

What is chosen when the mail is written travels in its envelope, so that writing and sending can't differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sender.document.fields import describe
from sender.net import host_patterns
from sender.transport.envelope import DEFAULT_TRANSPORT, Envelope, Receipt, Transport
from shared.deadline import Deadline
from shared.errors import ErrorCode, Misconfigured, NotSendable


@dataclass(frozen=True, slots=True)
class Routes:
    """The names of the transports, and whose mail goes by which without being told: name by host pattern."""

    names: frozenset[str]
    by_domain: Mapping[str, str]

    @classmethod
    def of(cls, domains: Mapping[str, frozenset[str]]) -> Routes:
        """From each named transport's patterns; raises `Misconfigured` where two have the same."""
        by_domain: dict[str, str] = {}
        for name, patterns in domains.items():
            for pattern in patterns:
                if (other := by_domain.setdefault(pattern, name)) != name:
                    raise Misconfigured(f"TRANSPORTS: '{other}' and '{name}' both have the domain {pattern!r}")
        return cls(frozenset({DEFAULT_TRANSPORT, *domains}), by_domain)

    def choose(self, wish: object, domain: str) -> str:
        """The transport's name for a document's field `transport` and the domain (in lower case) of its author.

        Raises `NotSendable` where there is none of that name.
        """
        if wish is None:
            found = (self.by_domain.get(pattern) for pattern in host_patterns.patterns_for(domain))
            return next(filter(None, found), DEFAULT_TRANSPORT)
        if isinstance(wish, str) and wish in self.names:
            return wish
        found_kind = "another string" if isinstance(wish, str) else describe(wish)
        text = f"Field 'transport': expected one of {', '.join(sorted(self.names))}; found {found_kind}."
        raise NotSendable(ErrorCode.VALIDATION, text)


class RoutedTransport:
    """A `Transport` that hands each mail to the one that it was written for."""

    def __init__(self, transports: Mapping[str, Transport]) -> None:
        self._transports = transports

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
        """See `Transport.send`."""
        return self._transports[envelope.transport].send(envelope, data, deadline)

    def close(self) -> None:
        """See `Transport.close`."""
        for transport in self._transports.values():
            transport.close()
