"""Chooses a mail's transport: by the document's field `transport`, otherwise by the domain of its author.

The choice is made when the mail is encoded and stored in its envelope, so encoding and sending always agree.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sender.document.fields import describe
from sender.net import host_patterns
from sender.transport.breaker import HeldBack
from sender.transport.envelope import DEFAULT_TRANSPORT, Begin, Envelope, Receipt, Transport, at_once
from shared.deadline import Deadline
from shared.errors import Deferred, ErrorCode, Misconfigured, NotSendable, NotSent, Outage, OutcomeUnknown
from shared.observability.events import Event, log_event

_log = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class Failover:
    """The transport that takes mails in place of another, and the host patterns of the authors for whom it may."""

    transport: str
    domains: frozenset[str]

    def may_send_for(self, envelope: Envelope) -> bool:
        """Whether it may send a mail with this author."""
        domain = envelope.sender.rpartition("@")[2].lower()
        return not self.domains.isdisjoint(host_patterns.patterns_for(domain))


#: Failures about the transport, rather than the mail.
_ABOUT_THE_TRANSPORT: Final = frozenset({ErrorCode.CONNECTION, ErrorCode.THROTTLED, ErrorCode.AUTH})


def may_fail_over(failure: Exception) -> bool:
    """Whether another transport may be tried after this: the mail is surely not sent, and could be by another."""
    match failure:
        case HeldBack():
            return True
        case Outage(rejected=()):
            return True
        case NotSent(rejected=()):
            return failure.code in _ABOUT_THE_TRANSPORT
    return False


def anything(name: str) -> None:
    """No transport is paused."""


class RoutedTransport:
    """A `Transport` that passes each mail to the transport named in its envelope, and perhaps to another after that."""

    def __init__(
        self,
        transports: Mapping[str, Transport],
        failovers: Mapping[str, Failover] | None = None,
        check: Callable[[str], None] = anything,
    ) -> None:
        """`failovers` has, by name, the transports that have another one to fail over to, of the same kind.

        `check` raises `Deferred` for the name of a transport that gets no mail for now, because it is paused. The
        caller has checked the envelope's own.
        """
        self._transports = transports
        self._failovers = failovers or {}
        self._check = check

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
        """See `Transport.send`. If two transports fail, the error is the first one's, unless the outcome is unknown."""
        other = self._failovers.get(envelope.transport)
        if other is None or not other.may_send_for(envelope):
            return self._transports[envelope.transport].send(envelope, data, deadline, begin)
        try:
            return self._transports[envelope.transport].send(envelope, data, deadline, begin)
        except (NotSent, Deferred) as failure:
            if not may_fail_over(failure):
                raise
            fields = {
                "transport": envelope.transport,
                "failover": other.transport,
                "reason": failure.code if isinstance(failure, NotSent) else ErrorCode.THROTTLED,
            }
            log_event(_log, Event.FAILOVER, "the mail goes through another transport", fields)
            return self._send_by(other.transport, failure, envelope, data, deadline, begin)

    def _send_by(
        self, name: str, first: Exception, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin
    ) -> Receipt:
        def checked_begin() -> None:
            self._check(name)
            begin()

        try:
            self._check(name)  # before a connection is made
            return replace(self._transports[name].send(envelope, data, deadline, checked_begin), transport=name)
        except OutcomeUnknown as unknown:
            unknown.transport = name
            raise
        except (NotSent, Deferred):
            raise first from None  # which may still take the mail, and this one perhaps may not

    @property
    def most(self) -> int:
        """See `Transport.most`."""
        return sum(transport.most for transport in self._transports.values())

    def capacity(self, waiting: int) -> int:
        """See `Transport.capacity`."""
        return sum(transport.capacity(waiting) for transport in self._transports.values())

    def close(self) -> None:
        """See `Transport.close`."""
        for transport in self._transports.values():
            transport.close()
